"""The match ladder: what a quote may differ in, and what it may not."""

import json
import random
import re
import sysconfig
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine.citations import locate
from rlm_mcp.engine.likeness import changes, likenesses
from rlm_mcp.engine.quotes import Quote, Work, spans

pytestmark = pytest.mark.anyio

SAMPLE = 600
ADVERSARIAL = 30
STDLIB = Path(sysconfig.get_path("stdlib"))
SOURCES = ("argparse", "ast", "bdb", "calendar", "cmd", "codecs", "csv", "difflib", "heapq",
           "mailbox", "queue", "shelve", "string")  # fmt: skip

TEXT = """\
def retry(count, *,
          wait=1.5):  # it's "slow"
    return able - count
The server is unable to connect -- see C:\\temp\\new or the “notes”.
{"said": "He said \\"no\\" twice.\\nThen he left."}
    12: a number of its own
The end — of 130 lines … or so, at -5 degrees.
naïve café, 数据库连接超时了请重试
"""


def found(quote, text=TEXT):
    """What a quote is found as, each place with its blanks as they are."""
    return [text[slice(*span)] for span in spans(Quote(quote), text, Work(10**9))]


@pytest.mark.parametrize(
    ("quote", "there"),
    [
        ("return able - count", "return able - count"),
        ("def retry(count, *, wait=1.5):", "def retry(count, *,\n          wait=1.5):"),
        ("def retry(count,\t*,\n\n wait=1.5):", "def retry(count, *,\n          wait=1.5):"),
        ("# it’s “slow”", "# it's \"slow\""),
        ('or the "notes".', "or the “notes”."),
        ("return able – count", "return able - count"),
        ("unable to connect — see", "unable to connect -- see"),
        ("The end - of 130 lines ... or so", "The end — of 130 lines … or so"),
        ('He said "no" twice.\nThen he left.', 'He said \\"no\\" twice.\\nThen he left.'),
        ('it\\\'s \\"slow\\"\\n    return', 'it\'s "slow"\n    return'),
        ("see C:\\temp\\new or", "see C:\\temp\\new or"),
        ("see C:\\\\temp\\\\new or", "see C:\\temp\\new or"),
        ("12: a number of its own", "12: a number of its own"),
        ("def retry(...) # it's", None),
        ("def retry(count, ... # it's", "def retry(count, *,\n          wait=1.5):  # it's"),
        ("def retry(…): # it's", "def retry(count, *,\n          wait=1.5):  # it's"),
        ("The server [...] or the “notes”", TEXT.splitlines()[3][:-1]),
        ("…nable to conn…", "nable to conn"),
        ("数据库连接", "数据库连接"),
    ],
)  # fmt: skip
def test_a_quote_may_differ_in_blanks_typography_escapes_and_what_an_ellipsis_leaves_out(
    quote, there
):
    assert found(quote) == ([] if there is None else [there])


@pytest.mark.parametrize(
    "quote",
    [
        "able to connect",
        "30 lines",
        "5 degrees",
        "wait=1",
        "5): # it's",
        "return able - counts",
        "return able - coun",
        "Return able - count",
        "return аble - count",
        "return able ‐‐ count",
        "returnable - count",
        "return a ble - count",
        "naive café",
        "naïve cafe",
        "return able + count",
        "see C:/temp/new or",
        "…0 lines",
        "of 13…",
        "or so ... The server is unable",
        "wait=1.5):\n    # ... it never ends\n    return able",
        "return\\table - count",
        'He said "no" twice. Then he left.',
        "def retry(count, *, ... 数据库连接超时了请重试 ... café",
    ],
)
def test_a_quote_with_another_word_number_or_sign_is_not_found(quote):
    assert found(quote) == []


def test_a_composed_letter_is_not_cut_in_two():
    assert found("the cafe", "the cafe\u0301 is here") == []


def test_parts_far_from_each_other_are_no_quote():
    near, far = ("alpha beta gamma\n" + "x\n" * lines + "delta epsilon\n" for lines in (10, 40))

    assert found("alpha beta ... delta epsilon", near) != []
    assert found("alpha beta ... delta epsilon", far) == []
    assert found("alpha beta ... delta epsilon", near.replace("\n", " " * 300)) == []


def test_parts_that_stand_more_than_once_are_taken_where_they_are_closest():
    text = "def alpha_of(self):\n    pass\ndef alpha_of(self):\n    return omega"

    assert found("def alpha_of(self): ... return omega", text) == [
        "def alpha_of(self):\n    return omega"
    ]


def test_small_parts_must_stand_close_by():
    text = "def open_all(paths, mode)\n" + "    pass\n" * 10 + "end of it\n"

    assert found("def open_all(paths, ... end of it", text) == []
    assert found("def open_all(paths, ... pass", text) != []


@pytest.mark.parametrize(
    ("quote", "identifies"),
    [
        ("x" * 20, True),
        ("x" * 19, False),
        ("=" * 40, False),
        ("x =" + " " * 40 + "1", False),
        ("return None\nelse:", True),
        ("}\n}", False),
        ("error ... in ... the ... database of it", False),
        ("the first of many ... and more of them", True),
    ],
)
def test_long_quotes_identify_their_place(quote, identifies):
    assert Quote(quote).identifies is identifies


@pytest.mark.parametrize(
    ("quote", "number", "plain"),
    [
        ("     7: one\n     8:   two", 7, "one\n  two"),
        ("7| one\n8| two", 7, "one\ntwo"),
        ("a/b.py:7: one\na/b.py-8- two", 7, "one\ntwo"),
        ("7: one\n\n9: two", 7, "one\n…\ntwo"),
        ("7: one\n… more: read('a.py', 8)", 7, "one"),
    ],
)
def test_numbers_in_front_of_lines_are_known(quote, number, plain):
    numbered = Quote(quote).numbered

    assert (numbered.first, numbered.plain.text) == (number, plain)
    assert numbered.is_of("src/a/b.py")
    assert numbered.is_of("other.py") is not quote.startswith("a/b.py")


@pytest.mark.parametrize(
    "quote",
    [
        "7: one\ntwo",
        "8: one\n7: two",
        "one: two",
        "7:",
        "12.5 three",
        "12:30:45 of the day",
        "12-30 of them",
        "a.py:1: one\nb.py:2: two",
    ],
)
def test_lines_without_rising_numbers_have_none(quote):
    assert Quote(quote).numbered is None


LONG = "We hold that the pump must not run dry for more than 30 s in any of the 4 wells."


@pytest.mark.parametrize(
    ("quote", "changed", "difference"),
    [
        (LONG.replace("30", "90"), 1, "the text has “30”, the quote “90”"),
        (LONG.replace("not ", ""), 1, "the quote lacks “not”"),
        (LONG.replace("dry", "fully dry"), 1, "“fully” is in the quote only"),
        (LONG.replace("pump", "рump"), 1, "the text has “pump”, the quote “рump”"),
        (LONG.replace("We hold", "They held"), 2, "the text has “We hold”, the quote “They held”"),
    ],
)
def test_one_token_in_ten_may_differ_and_is_named(quote, changed, difference):
    text = f"Before.\n{LONG}\nBehind it.\n"

    (like,) = likenesses(quote, text, Work(10**9))

    assert (text[slice(*like.span)], like.changes) == (LONG, changed)
    assert like.difference == difference


def test_more_than_one_token_in_ten_is_another_text():
    quote = LONG.replace("30", "90").replace("not ", "").replace("4", "5")

    assert likenesses(quote, LONG, Work(10**9)) == []
    assert likenesses("the pump must always run", LONG, Work(10**9)) == []


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_changes_are_the_fewest_that_make_one_a_beginning_of_the_other(words, text):
    def whole(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            last, row = row, [i]
            for j, y in enumerate(b, 1):
                row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
        return row[-1]

    fewest = min(whole(words, text[:n]) for n in range(len(text) + 1))

    for most in range(5):
        result = changes(words, text, most)
        assert (result[0] if result else None) == (fewest if fewest <= most else None)
        assert result is None or whole(words, text[: result[1]]) == fewest


def test_a_place_is_found_that_begins_within_one_which_cuts_a_word():
    assert spans(Quote("by by"), "lullaby by by day", Work(10**9)) == [(8, 13)]


words = st.lists(st.text("ab1é", min_size=1, max_size=5), min_size=1, max_size=30)
blanks = st.sampled_from([" ", "\n", "  ", "\t", "\n\n   ", "\u00a0"])


@given(words, st.data())
def test_any_blanks_may_stand_between_the_words_of_a_quote(tokens, data):
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(tokens))] * 2)))
    separated = [token + data.draw(blanks) for token in tokens]
    quote = "".join(token + data.draw(blanks) for token in tokens[first:last])

    places = spans(Quote(quote), "".join(separated), Work(10**9))

    assert all("".join(separated)[slice(*p)].split() == quote.split() for p in places)
    assert bool(places) is (first < last)


def test_the_work_on_a_quote_grows_with_the_text_and_not_with_its_square():
    def work(lines):
        text = "".join(f"line {n} of the log, all is well, all is well\n" for n in range(lines))
        counted = Work(10**12)
        quote = "line 7 of the log, all is wrong, all is well, or so they say in the log of it"
        assert spans(Quote(quote), text, counted) == []
        likenesses(quote, text, counted)
        spans(Quote("all is well, all is well, line 7 ... of the log"), text, counted)
        return counted.done / len(text)

    assert work(40_000) < 1.2 * work(10_000)


def test_the_work_on_matches_that_overlap_is_bounded():
    counted = Work(10**12)
    text = "a" * 2_000_000

    spans(Quote("a" * 2_000), text, counted)

    assert counted.done < 2 * len(text)


def test_the_work_on_a_long_quote_that_fails_late_everywhere_is_bounded():
    counted = Work(10**12)
    text = ("0 " * 999 + "1\n") * 300

    spans(Quote("0 " * 1_500 + "1 1"), text, counted)

    assert counted.done < 20 * len(text)


# What follows goes through `locate`: quotes of real sources and of a log.


@dataclass
class Library:
    """Documents that are loaded, their lines, and where each run of words stands."""

    store: ContextStore
    info: object
    lines: dict[str, list[str]]
    words: dict[str, str]

    def passage(self, rng):
        """A true quote of one to three lines that is long enough, and its place."""
        while True:
            path = rng.choice(sorted(self.lines))
            size = rng.randint(1, 3)
            first = rng.randrange(len(self.lines[path]) - size) + 1
            quote = "\n".join(self.lines[path][first - 1 : first + size - 1])
            plain = " ".join(quote.split())
            edges = (
                self.lines[path][first - 1].strip() and self.lines[path][first + size - 2].strip()
            )
            if edges and len(plain) >= 20 and sum(map(str.isalnum, plain)) >= 8:
                return path, first, first + size - 1, quote

    def unique(self, path, quote):
        return self.words[path].count(" ".join(quote.split())) == 1

    def cite(self, answer):
        return [c for c in locate(answer, [self.info], self.store) if c.quote is not None]


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quotes")
    (folder / "src").mkdir()
    for name in SOURCES:
        source = (STDLIB / f"{name}.py").read_text(encoding="utf-8")
        (folder / "src" / f"{name}.py").write_text(source, encoding="utf-8")
    (folder / "src" / "server.log").write_text(log(random.Random(7)), encoding="utf-8")
    store = ContextStore(folder)
    info = await load(store, [str(folder / "src")])
    texts = {d.path: store.catalogue(info.id).lines(d.path, 1, d.lines)
             for d in store.catalogue(info.id).documents}  # fmt: skip
    lines = {path: text.split("\n") for path, text in texts.items()}
    return Library(store, info, lines, {path: " ".join(t.split()) for path, t in texts.items()})


def log(rng):
    deeds = ["connection to db-{} timed out after {} ms", "user {} logged in from 10.0.0.{}",
             "cache miss for key 'item:{}' (shard {})", 'retry {} of {} - the peer said "busy"',
             "worker {} is not able to read block {}"]  # fmt: skip
    return "".join(
        f"2024-03-{1 + n // 1000:02} 12:{n // 60 % 60:02}:{n % 60:02} "
        f"{rng.choice(['INFO', 'WARN'])} "
        f"{rng.choice(deeds).format(rng.randint(1, 999), rng.randint(1, 99))}\n"
        for n in range(3000)
    )


def block(path, first, last, quote):
    return f"It is in {path}:{first}-{last}:\n\n```\n{quote}\n```\n\nThat is all."


def blanks_changed(quote, rng):
    return re.sub(r"\s+", lambda _: rng.choice([" ", "  ", "\t", "\n", "\n    "]), quote.strip())


def wrapped(quote, rng):
    width = rng.choice([20, 30, 60])
    return "\n".join(textwrap.wrap(" ".join(quote.split()), width, break_long_words=False,
                                   break_on_hyphens=False))  # fmt: skip


def typeset(quote, rng):
    quote = re.sub(r'"', lambda _: rng.choice("“”"), quote).replace("'", "’")
    return quote.replace(" -- ", " — ").replace(" - ", " – ")


def shortened(quote, rng):
    """Without some words in its midst, if enough is left that the quote identifies its place."""
    blanks = [blank.span() for blank in re.finditer(r"\s+", quote)]
    fits = [
        (start, end)
        for start, _ in blanks
        for _, end in blanks
        if start < end - 1
        and len(quote[:start].split()) > 1
        and len(" ".join(quote[:start].split())) >= 20
        and len(" ".join(quote[end:].split())) >= 8
    ]
    if not fits:
        return quote
    start, end = rng.choice(fits)
    mark = rng.choice(["...", "…", "[...]", " ... ", " [...] ", "\n    # ...\n", "\n...\n"])
    return quote[:start] + mark + quote[end:]


def escaped(quote, _rng):
    return json.dumps(quote, ensure_ascii=False)[1:-1]


def all_of_it(quote, rng):
    return typeset(shortened(wrapped(quote, rng), rng), rng)


PERTURBED = (blanks_changed, wrapped, typeset, shortened, escaped, all_of_it)


async def test_true_quotes_are_verified_at_their_lines_however_they_are_set(library):
    rng = random.Random(1)
    missed, wrong, unique = [], [], 0
    for n in range(SAMPLE):
        path, first, last, quote = library.passage(rng)
        perturbed = PERTURBED[n % len(PERTURBED)](quote, rng)
        off = rng.choice([0, 0, 1, -2, 5, 300])
        answer = block(path, max(first + off, 1), max(last + off, 1), perturbed)
        cited = library.cite(answer)
        if [c.check for c in cited] != ["verified"]:
            missed.append((quote, perturbed, cited))
        elif library.unique(path, quote):
            unique += 1
            # Where the claimed lines hold the quote they stay.
            if (cited[0].start, cited[0].end) != (first, last):
                wrong.append((quote, perturbed, cited))

    assert len(missed) <= 0.02 * SAMPLE
    assert unique > SAMPLE / 2
    assert len(wrong) <= 0.02 * unique


def told(citation):
    """What a citation shows as the place of its quote, with blanks and typography folded."""
    folds = str.maketrans("“”‘’–—\u00a0", "\"\"''-- ")
    return lambda text: " ".join(text.translate(folds).split())


def holds(library, citation, quote):
    """Whether the lines that are shown hold a quote, judged without the ladder."""
    fold = told(citation)
    lines = library.lines[citation.path][citation.start - 1 : citation.end]
    text, position = fold("\n".join(lines)), 0
    for part in re.split(r"\[\.\.\.\]|\.\.\.|…", fold(quote)):
        position = text.find(part.strip(), position)
        if position < 0:
            return False
    return True


WORDS = ["amber", "brisk", "cedar", "dwell", "ember", "flint", "grove", "haste", "inlet", "jolly"]
LOOK_ALIKE = {"a": "а", "e": "е", "o": "о", "p": "р", "c": "с", "i": "і", "x": "х", "s": "ѕ"}


def invented(library, rng):
    path, first, last, _ = library.passage(rng)
    return path, first, last, " ".join(rng.choices(WORDS, k=rng.randint(5, 20)))


def from_the_question(library, rng):
    path, first, last, _ = library.passage(rng)
    question = f"How often does worker {rng.randint(1000, 9999)} fail to read a block in March?"
    return path, first, last, question


def own_output(library, rng):
    path, first, last, quote = library.passage(rng)
    return path, first, last, f"Out[{rng.randint(1, 9)}]: {len(quote)} matches in {path} and more"


def one_word_changed(library, rng):
    path, first, last, quote = library.passage(rng)
    word = rng.choice(list(re.finditer(r"[A-Za-z_]\w*", quote)))
    return path, first, last, quote[: word.start()] + rng.choice(WORDS) + quote[word.end() :]


def one_digit_changed(library, rng):
    while True:
        path, first, last, quote = library.passage(rng)
        if digits := [m.start() for m in re.finditer(r"[0-9]", quote)]:
            at = rng.choice(digits)
            digit = rng.choice([d for d in "0123456789" if d != quote[at]])
            return path, first, last, quote[:at] + digit + quote[at + 1 :]


def one_digit_cut(library, rng):
    while True:
        path, first, last, quote = library.passage(rng)
        if numbers := list(re.finditer(r"[0-9]{2,}", quote)):
            number = rng.choice(numbers)
            at = rng.choice([number.start(), number.end() - 1])
            return path, first, last, quote[:at] + quote[at + 1 :]


def negation_removed(library, rng):
    while True:
        path, first, last, quote = library.passage(rng)
        if re.search(r"\bnot\b ", quote):
            return path, first, last, re.sub(r"\bnot\b ", "", quote, count=1)


def one_sign_changed(library, rng):
    while True:
        path, first, last, quote = library.passage(rng)
        if signs := [m.start() for m in re.finditer(r"[=<>+*/(),.:]", quote.rstrip())]:
            at = rng.choice(signs)
            sign = rng.choice([s for s in "=<>+*%;&" if s != quote[at]])
            return path, first, last, quote[:at] + sign + quote[at + 1 :]


def look_alike(library, rng):
    while True:
        path, first, last, quote = library.passage(rng)
        if places := [n for n, char in enumerate(quote) if char in LOOK_ALIKE]:
            at = rng.choice(places)
            return path, first, last, quote[:at] + LOOK_ALIKE[quote[at]] + quote[at + 1 :]


def wrong_file(library, rng):
    path, first, last, quote = library.passage(rng)
    other = rng.choice([each for each in sorted(library.lines) if each != path])
    return other, first, last, quote


def stitched(library, rng):
    path = rng.choice(sorted(library.lines))
    ends = []
    while len(ends) < 2:
        other, first, _, quote = library.passage(rng)
        if other == path and all(abs(first - line) > 60 for line, _ in ends):
            ends.append((first, quote))
    mark = rng.choice([" ... ", "…", "\n[...]\n"])
    return path, ends[0][0], ends[0][0], mark.join(quote for _, quote in ends)


def off_by_lines(library, rng):
    path, first, last, quote = library.passage(rng)
    off = rng.choice([-50, -7, -3, 3, 8, 40, 700])
    return path, max(first + off, 1), max(last + off, 1), quote


def numbered_otherwise(library, rng):
    path, first, last, quote = library.passage(rng)
    lines = enumerate(quote.split("\n"), first + rng.choice([-3, 1, 20]))
    return path, first, last, "\n".join(f"{number:6}: {line}" for number, line in lines)


ATTACKS = (invented, from_the_question, own_output, one_word_changed, one_digit_changed,
           one_digit_cut, negation_removed, one_sign_changed, look_alike, wrong_file, stitched,
           off_by_lines, numbered_otherwise)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
async def test_nothing_is_shown_as_verified_where_the_text_does_not_hold_it(library, attack):
    rng = random.Random(attack.__name__)
    shown = Counter()
    for _ in range(ADVERSARIAL):
        path, first, last, quote = attack(library, rng)
        (citation,) = library.cite(block(path, first, last, quote))
        shown[citation.check] += 1
        assert citation.check != "verified" or holds(library, citation, quote), (quote, citation)
        assert citation.check != "verified" or citation.reason is None or citation.claimed

    assert shown.total() == ADVERSARIAL
