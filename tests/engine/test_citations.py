"""Places an answer names, found in the loaded text."""

import json

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine import citations, passages
from rlm_mcp.engine.citations import doubtful, locate
from rlm_mcp.engine.claims import claims
from rlm_mcp.events import RunEnded, from_json, to_json
from rlm_mcp.types import Usage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tree(tmp_path):
    folder = tmp_path / "src"
    (folder / "pkg").mkdir(parents=True)
    (folder / "a.py").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (folder / "pkg" / "b.py").write_text("def b():\n    return 1\n", encoding="utf-8")
    (folder / "pkg" / "c.py").write_text("c = 1\n", encoding="utf-8")
    (folder / "c.py").write_text("c = 2\n", encoding="utf-8")
    store = ContextStore(tmp_path)
    return store, await load(store, [str(folder)])


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("See a.py:2.", [("a.py", 2, 2, True, "two\n")]),
        ("See `a.py:2-3`", [("a.py", 2, 3, True, "two\nthree\n")]),
        ("(./a.py:1)", [("a.py", 1, 1, True, "one\n")]),
        ("[b.py:1-2]", [("pkg/b.py", 1, 2, True, "def b():\n    return 1\n")]),
        ("a.py:9", [("a.py", 9, 9, False, "")]),
        ("a.py:3-2", [("a.py", 3, 2, False, "")]),
        ("a.py:L2", [("a.py", 2, 2, True, "two\n")]),
        ("a.py:2, a.py:2", [("a.py", 2, 2, True, "two\n")]),
        ("pkg/c.py:1", [("pkg/c.py", 1, 1, True, "c = 1\n")]),
        ("c.py:1", [("c.py", 1, 1, True, "c = 2\n")]),
        ("at 12:30 on http://x:80, in nope.py:1", []),
    ],
)  # fmt: skip
async def test_places_that_name_a_document_become_citations(tree, text, places):
    store, info = tree

    found = locate(text, [info], store)

    assert [(c.path, c.start, c.end, c.found, c.excerpt) for c in found] == places


async def test_a_path_that_fits_two_documents_is_not_guessed(tree):
    store, info = tree

    assert locate("x/c.py:1 and y/c.py:1", [info], store) == ()


async def test_a_name_without_its_folder_is_not_guessed_where_two_have_it(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / "src" / folder).mkdir(parents=True)
        (tmp_path / "src" / folder / "same.py").write_text("x = 1\n", encoding="utf-8")
    store = ContextStore(tmp_path)
    info = await load(store, [str(tmp_path / "src")])

    assert locate("same.py:1", [info], store) == ()
    assert [c.path for c in locate("a/same.py:1", [info], store)] == ["a/same.py"]


async def test_long_answers_and_many_strange_places_are_looked_through_in_one_pass(tree):
    store, info = tree
    answer = "a" * 2_000_000 + " 12:30:45 http://host:80/x " * 50_000 + " a.py:2"

    found = await anyio.to_thread.run_sync(locate, answer, [info], store)

    assert [(c.path, c.start) for c in found] == [("a.py", 2)]


async def test_an_excerpt_of_a_giant_line_is_short(tmp_path):
    store = ContextStore(tmp_path)
    info = await load(store, (), text="x" * 5_000_000)

    assert len(locate("text:1", [info], store)[0].excerpt) <= 400


POEM = """\
The ship went down at dawn,
and no one saw her go.
The tide was high and cold,
the keeper's lamp was low.
Amen.
"""


@pytest.fixture
async def shelf(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "poem.md").write_text(POEM, encoding="utf-8")
    (folder / "conf.py").write_text("timeout = 60\nretries = 3\n" * 20, encoding="utf-8")
    (folder / "long.txt").write_text("all is well in the log\n" * 50, encoding="utf-8")
    (folder / "other.md").write_text("# Of other things\nwe sailed beyond the sunset\n", "utf-8")
    store = ContextStore(tmp_path)
    return store, await load(store, [str(folder)])


def quoted(shelf, answer):
    store, info = shelf
    return [c for c in locate(answer, [info], store) if c.quote is not None]


@pytest.mark.parametrize(
    "answer",
    [
        'poem.md:2: "and no one saw her go"',
        "`poem.md:2` says “and no one saw her go,” and more.",
        '"and no one saw her go" (poem.md:2)',
        '"and no one saw her go" — poem.md:2',
        "As `and no one saw her go` in poem.md:2 shows",
        "- poem.md:2\n  > and no one saw her go",
        "poem.md:2:\n\n```text\nand no one saw her go\n```",
        "```\n# poem.md:2\nand no one saw her go\n```",
        "> and no one saw\n> her go\n> — poem.md:2",
        "> and no one saw her go (poem.md:2)",
        "```\npoem.md:2: and no one saw her go\n```",
        "poem.md:2\n```\n     2: and no one saw her go\n```",
        "| poem.md:2 | and so on | “and no one saw her go” |",
        '{"place": "poem.md:2", "quote": "and no one saw her go"}',
        'poem.md:9: "and no one saw her go"',
        'poem.md: "and no one saw her go"',
        'In `poem.md` it says "and no one saw her go".',
        '"and no one saw her go" (poem.md)',
    ],
)
async def test_a_quote_next_to_its_place_is_looked_up(shelf, answer):
    (citation,) = locate(answer, [shelf[1]], shelf[0])

    assert (citation.check, citation.path) == ("verified", "poem.md")
    assert (citation.start, citation.end, citation.found) == (2, 2, True)
    assert citation.excerpt == "and no one saw her go.\n"


async def test_each_place_takes_the_quotes_that_are_nearest_to_it(shelf):
    answer = (
        'The "ship went down at dawn" (poem.md:1), "all is well in the log" (long.txt:4).\n'
        'poem.md:3 has "The tide was high and cold" and "the keeper\'s lamp was low";\n'
        'other.md:2: "we sailed beyond the sunset"'
    )

    assert [(c.path, c.start, c.quote, c.check) for c in quoted(shelf, answer)] == [
        ("poem.md", 1, "ship went down at dawn", "verified"),
        ("long.txt", 4, "all is well in the log", "verified"),
        ("poem.md", 3, "The tide was high and cold", "verified"),
        ("poem.md", 4, "the keeper's lamp was low", "verified"),
        ("other.md", 2, "we sailed beyond the sunset", "verified"),
    ]


async def test_a_quote_that_stands_on_other_lines_gets_those(shelf):
    (citation,) = quoted(shelf, 'poem.md:1: "The tide was high ... lamp was low"')

    assert (citation.start, citation.end, citation.claimed) == (3, 4, (1, 1))
    assert citation.reason == "It stands in lines 3-4; the answer says 1."


async def test_lines_that_hold_the_quote_stay(shelf):
    (citation,) = quoted(shelf, 'poem.md:2-5: "The tide was high and cold"')

    assert (citation.start, citation.end, citation.claimed) == (2, 5, None)
    assert (citation.check, citation.reason) == ("verified", None)
    assert citation.excerpt == "The tide was high and cold,\n"


async def test_of_several_places_the_one_nearest_to_the_lines_is_meant(shelf):
    (citation,) = quoted(shelf, 'conf.py:16: "timeout = 60\\nretries = 3"')

    assert (citation.check, citation.start, citation.end) == ("verified", 15, 16)


async def test_without_lines_a_quote_must_be_the_only_one(shelf):
    (citation,) = quoted(shelf, 'long.txt: "all is well in the log"')

    assert (citation.check, citation.found) == ("unverified", False)
    assert citation.reason == (
        "The quote stands in lines 1, 2, 3 and 47 more: the answer must say which is meant."
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('poem.md:2: "and every one saw her"', "poem.md has no such text."),
        ('poem.md:9: "and every one saw her"', "poem.md has no such text."),
        ('poem.md: "and every one saw her"', "poem.md has no such text."),
        (
            'poem.md:2: "we sailed beyond the sunset"',
            "The quote stands in other.md:2, not in poem.md.",
        ),
        ("poem.md:2: `2-and no one saw her go`", "poem.md has no such text."),
        ("conf.py:1 `timeout = 30`", "Not in line 1; too short to be looked for elsewhere."),
        ('conf.py:2: "timeout = 60"', "Not in line 2; too short to be looked for elsewhere."),
        (
            'conf.py:99: "timeout = 60"',
            "conf.py has 40 lines; too short to be looked for elsewhere.",
        ),
        (f"poem.md:2: `{'word ' * 390}`\n", "poem.md has no such text."),
        (f"poem.md:2\n```\n{'word ' * 2000}\n```", "The quote is longer than 8,000 characters."),
    ],
)
async def test_what_is_not_there_is_unverified_and_says_why(shelf, answer, reason):
    (citation,) = quoted(shelf, answer)

    assert (citation.check, citation.reason) == ("unverified", reason)
    assert len(citation.quote) <= 400
    assert doubtful([citation]) == (citation,)


async def test_a_long_quote_with_a_small_change_is_near_and_says_what_differs(shelf):
    quote = "The ship went down at noon, and no one saw her go. The tide was high and cold"

    (citation,) = quoted(shelf, f'poem.md:4: "{quote}"')

    assert (citation.check, citation.start, citation.end) == ("near", 1, 3)
    assert citation.reason == (
        "The text has “dawn”, the quote “noon”. It stands in lines 1-3; the answer says 4."
    )
    assert doubtful([citation]) == ()


async def test_lines_with_other_numbers_than_they_have_are_near(shelf):
    (citation,) = quoted(shelf, "poem.md:7\n```\n     7: and no one saw her go.\n```")

    assert (citation.check, citation.start) == ("near", 2)
    assert citation.reason == (
        "The quote numbers line 2 as 7. It stands in line 2; the answer says 7."
    )


@pytest.mark.parametrize(
    ("answer", "checks"),
    [
        ("conf.py:1 sets `timeout`", ["verified"]),
        ("conf.py:2 sets `timeout`", [None]),
        ("conf.py:1 (`Config.timeout`)", [None]),
        ('conf.py:1 is the so-called "dead line"', [None]),
        ("conf.py:1 `{}`", [None]),
        ("`conf.py:1`", [None]),
    ],
)
async def test_a_name_is_a_quote_only_where_it_stands(shelf, answer, checks):
    found = locate(answer, [shelf[1]], shelf[0])

    assert [citation.check for citation in found] == checks


async def test_a_place_that_does_not_exist_is_doubtful_and_one_without_a_quote_is_not(shelf):
    missing, there = locate("poem.md:9, poem.md:1", [shelf[1]], shelf[0])

    assert (missing.found, missing.check) == (False, "unverified")
    assert missing.reason == "poem.md has 5 lines."
    assert (there.found, there.check, there.reason) == (True, None, None)
    assert doubtful([missing, there]) == (missing,)


async def test_a_place_is_listed_once_for_each_of_its_quotes_and_not_without(shelf):
    answer = 'poem.md:1 and poem.md:1 "The ship went down at dawn"; again poem.md:1, poem.md:2.'

    found = locate(answer, [shelf[1]], shelf[0])

    assert [(c.start, c.check) for c in found] == [(1, "verified"), (2, None)]


async def test_a_quote_of_the_same_path_in_another_context_is_told_apart(tmp_path):
    store = ContextStore(tmp_path)
    texts = ("The tide was high and cold", "The tide was low and warm")
    old, new = [await load(store, (), text=text) for text in texts]

    (citation,) = locate(f'text:1: "{texts[1]}"', [old, new], store)

    assert citation.context == old.id
    assert citation.reason == f"The quote stands in text:1 of {new.id}, not in text."


async def test_no_more_than_a_hundred_are_listed(shelf):
    answer = "".join(f'long.txt:{n % 50 + 1}: "all is well in the log {n}"\n' for n in range(500))

    assert len(locate(answer, [shelf[1]], shelf[0])) == 100


async def test_a_document_too_large_is_looked_through_around_the_lines_only(tmp_path, monkeypatch):
    monkeypatch.setattr(passages, "WHOLE_CHARS", 1000)
    store = ContextStore(tmp_path)
    text = "".join(f"this is line number {n} of it\n" for n in range(1, 100_001))
    info = await load(store, (), text=text)
    name = store.catalogue(info.id).documents[0].path

    def cite(place):
        (citation,) = locate(f'{place}: "this is line number 60000 of it"', [info], store)
        return citation.check, citation.start, citation.reason

    assert cite(f"{name}:60000") == ("verified", 60000, None)
    assert cite(f"{name}:60100") == (
        "verified",
        60000,
        "It stands in line 60000; the answer says 60100.",
    )
    assert cite(f"{name}:5") == (
        "unverified",
        5,
        f"No such text around line 5; the rest of {name} is not looked through.",
    )
    assert cite(name) == (
        "unverified",
        0,
        f"{name} is not looked through as a whole: the lines must be named.",
    )


async def test_once_enough_was_looked_through_quotes_are_checked_around_their_lines(
    shelf, monkeypatch
):
    store, info = shelf
    monkeypatch.setattr(citations, "MOST_WORK_CHARS", 0)
    quote = "The tide was high and cold"

    there, gone, missing = locate(
        f'poem.md:2: "{quote}"; other.md:1: "{quote}"; poem.md: "{quote}"', [info], store
    )

    assert (there.check, there.start) == ("verified", 3)
    assert gone.reason == "No such text around line 1; the rest of other.md is not looked through."
    assert missing.check == "unverified"


async def test_a_quote_in_a_giant_line_has_an_excerpt_around_it(tmp_path):
    store = ContextStore(tmp_path)
    text = "x" * 3_000_000 + " here the needle lies in the hay " + "y" * 3_000_000
    info = await load(store, (), text=text)

    (citation,) = locate('text:1: "the needle lies in the hay"', [info], store)

    assert (citation.check, citation.start) == ("verified", 1)
    assert "needle" in citation.excerpt
    assert len(citation.excerpt) <= 400


@pytest.mark.parametrize(
    "piece", ['"a ', "`a ", "“a ", "'a ", "> a\n", "```\n", '"a" a.py:2 ', "\n"]
)
async def test_the_marks_of_an_answer_are_read_in_one_pass(tree, piece):
    store, info = tree

    found = await anyio.to_thread.run_sync(locate, piece * 50_000, [info], store)

    assert len(found) <= 100


PIECES = st.lists(
    st.sampled_from([
        *'"\'`“”‘’„«»>|*-(): \n\t…\\', "```", "~~~\n", "...", "\n\n", "\n> ", "[...]",
        "a.py:2", "a.py:2-9", "a.py", "pkg/b.py:1", "a.py:2: two",
        "two", "2: two", "def b():\n    return 1", "c = 1", "\\n",
    ]),
    max_size=40,
)  # fmt: skip


@given(PIECES)
def test_any_answer_can_be_read_and_names_only_what_stands_in_it(pieces):
    answer = "".join(pieces)

    for claim in claims(answer, {"a.py", "pkg/b.py"}.__contains__):
        assert claim.path in answer
        assert claim.first is None or str(claim.first) in answer
        lines = (claim.quote or "").split("\n")
        assert all(line.strip() in answer for line in lines)


async def test_a_record_of_before_has_no_check_and_one_of_now_keeps_it(shelf):
    cited = quoted(shelf, 'poem.md:1: "The tide was high and cold"')
    ended = RunEnded("", "answer", "", tuple(cited), Usage(), Usage(), 1, 1.0)
    assert from_json(to_json(ended)) == ended

    record = json.loads(to_json(ended))
    for name in ("quote", "check", "reason", "claimed"):
        del record["citations"][0][name]

    (old,) = from_json(json.dumps(record)).citations
    assert (old.start, old.quote, old.check, old.claimed) == (3, None, None, None)
