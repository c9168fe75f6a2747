"""Every program and leaf through the real engine and REPL, and what is reported of it."""

import json
from dataclasses import replace
from statistics import fmean

import pytest

from rlm_mcp.errors import ArgumentInvalid, EndpointUnreachable
from rlm_mcp.evals.find import family, names
from rlm_mcp.evals.items import Item
from rlm_mcp.evals.report import Setup, as_json, as_table, silent_wrong, summaries
from rlm_mcp.evals.running import run
from rlm_mcp.llm.scripted import serve
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

CHARS, SEED = 6_000, 2
SETUP = Setup("some", "About it.", CHARS, 1_667, SEED, 0.9)


def efficiency(results):
    return fmean(each.score for each in results) / fmean(each.ceiling for each in results)


@pytest.mark.parametrize("name", ["oolong", "pairs", "niah"])
async def test_with_a_leaf_that_knows_all_every_answer_is_right(name):
    items = family(name).items(CHARS, SEED)

    results = await run(items, Settings.load(), accuracy=1.0)

    assert [each.item for each in results] == items
    assert {each.item.id: each.score for each in results} == {item.id: 1.0 for item in items}
    assert {each.answer.stopped_by for each in results} == {"answer"}


@pytest.mark.parametrize("name", ["oolong", "pairs/lexical"])
async def test_with_a_leaf_that_errs_the_engine_keeps_nearly_all_of_the_ceiling(name):
    items = family(name).items(CHARS, SEED)[::2]

    results = await run(items, Settings.load(), accuracy=0.9)

    assert fmean(each.ceiling for each in results) < 1
    assert efficiency(results) >= 0.97
    assert {each.answer.turns for each in results} == {1}


async def test_a_program_asks_again_for_what_a_leaf_left_out_and_reads_any_list():
    (asked,) = [each for each in family("oolong").items(CHARS, SEED) if each.kind == "numeric"]
    asks = []

    def careless(prompt, accuracy):
        asks.append(prompt)
        said = [line.partition(": ") for line in asked.leaf(prompt, accuracy).splitlines()]
        kept = [
            f"- **{number})** {label.title()}." for number, _, label in said if number[-1] != "5"
        ]
        return "\n".join(["Here they are:", *kept])

    (result,) = await run([replace(asked, leaf=careless)], Settings.load(), accuracy=1.0)

    assert result.score == 1
    assert result.answer.usage.calls == 1 + len(asks)
    assert len(asks[-1].splitlines()) < len(asks[0].splitlines())


def item(program="FINAL(context)", **fields):
    return Item(
        **{
            "id": "some/one",
            "kind": "one",
            "context": "the text",
            "question": "What does it say?",
            "gold": "the text",
            "score": lambda answer: float(answer == "the text"),
            "program": program,
        }
        | fields
    )


async def test_an_item_sees_nothing_of_the_one_before_it():
    programs = ["left = context\nFINAL(left)", 'FINAL("left" in globals())']

    results = await run([item(each) for each in programs], Settings.load(), accuracy=1.0)

    assert [each.answer.text for each in results] == ["the text", "False"]


async def test_documents_by_path_are_a_context_too():
    documents = {"a.txt": "the", "b/c.txt": "text"}
    asked = item("FINAL(' '.join(files.values()))", context=documents)

    (result,) = await run([asked], Settings.load(), accuracy=1.0)

    assert result.score == 1


async def test_models_of_the_settings_are_asked_without_a_ceiling():
    heard = []
    async with serve(
        ["```repl\nFINAL(context)\n```", "FINAL(nothing)", "FINAL(nothing)"]
    ) as server:
        settings = Settings.load(None, api_url=server.url)
        results = await run([item(), item()], settings, accuracy=None, told=heard.append)

    assert heard == results
    assert [(each.score, each.ceiling) for each in results] == [(1, None), (0, None)]
    assert {each.models for each in results} == {("scripted",)}
    assert [row.efficiency for row in summaries(results)] == [None, None]


async def test_a_run_that_fails_counts_as_such_unless_it_is_the_first():
    async with serve(["```repl\nFINAL(context)\n```"]) as server:
        settings = Settings.load(None, api_url=server.url)
        results = await run([item(), item()], settings, accuracy=None)
        with pytest.raises(Exception, match="The script has 1 replies"):
            await run([item()], settings, accuracy=None)

    assert results[1].answer is None
    assert "The script has 1 replies" in results[1].error
    assert summaries(results)[-1].failed == 1


@pytest.mark.parametrize("lenient", [None, lambda _: 1.0])
async def test_an_answer_that_breaks_its_scorer_is_wrong_and_ends_nothing(lenient):
    broken = item(score=lambda answer: float(answer.no_such_thing), lenient=lenient)

    first, second = await run([broken, item()], Settings.load(), accuracy=1.0)

    assert (first.score, first.lenient) == (0, None if lenient is None else 0)
    assert first.answer.text == "the text"
    assert "no_such_thing" in first.error
    assert (second.score, second.error) == (1, None)


async def test_an_endpoint_that_is_not_there_ends_the_evaluation_at_once(monkeypatch):
    with pytest.raises(EndpointUnreachable):
        await run([item()], Settings.load(None, api_url="http://127.0.0.1:9/v1"), accuracy=None)


@pytest.fixture
async def results():
    programs = ["FINAL(context)", "FINAL('wrong')", "FINAL('wrong')"]
    items = [item(each, id=f"some/{n}", floor=0.5) for n, each in enumerate(programs)]
    return await run(items, Settings.load(), accuracy=0.9)


async def test_a_wrong_answer_is_silent_unless_a_note_of_its_own_or_a_limit_marks_it(results):
    def with_answer(number, **fields):
        answer = replace(results[number].answer, **fields)
        return [*results[:number], replace(results[number], answer=answer), *results[number + 1 :]]

    assert silent_wrong(results) == results[1:]
    assert len(silent_wrong(with_answer(1, notes=("Beware.",)))) == 1
    assert len(silent_wrong(with_answer(1, stopped_by="turns"))) == 1
    noted = [replace(each, answer=replace(each.answer, notes=("No box.",))) for each in results]
    assert silent_wrong(noted) == noted[1:]


async def test_a_summary_holds_means_and_what_lies_above_the_floor(results):
    kind, everything = summaries(results)

    assert (kind.kind, kind.items, everything.items) == ("one", 3, 3)
    assert kind.score == kind.efficiency == pytest.approx(1 / 3)
    assert kind.over_floor == pytest.approx(fmean([1, -1, -1]))
    assert kind.silent_wrong == 2
    assert (kind.turns, kind.calls) == (1, 1)
    assert kind.lenient is None


async def test_the_table_leaves_out_columns_without_figures(results):
    lines = as_table(SETUP, results).splitlines()

    assert lines[0] == "some: About it."
    assert "1,667 tokens (6,000 characters), seed 2" in lines[1]
    heads = lines[3].split()
    assert "floor" in heads
    assert "lenient" not in heads
    assert [line.split()[:3] for line in lines[4:-2]] == [
        ["one", "3", "0.333"],
        ["all", "3", "0.333"],
    ]


async def test_the_table_says_if_there_is_no_more_text_and_what_all_took(results):
    lines = as_table(replace(SETUP, is_all=True), results).splitlines()

    assert "(6,000 characters, all there is)" in lines[1]
    tokens = sum(each.answer.usage.tokens for each in results)
    assert lines[-1] == f"3 calls and {tokens:,} tokens in all."


async def test_the_json_names_every_item_with_its_run(results):
    record = json.loads(as_json(SETUP, results))

    assert (record["family"], record["accuracy"]) == ("some", 0.9)
    assert [each["silent_wrong"] for each in record["items"]] == [False, True, True]
    assert [each["run_id"] for each in record["items"]] == [each.answer.run_id for each in results]
    assert record["all"]["score"] == pytest.approx(1 / 3)


def test_families_are_found_by_file_and_say_what_they_are():
    assert {"oolong", "pairs", "niah"} <= set(names())
    for name in names():
        assert family(name).about.endswith((".", ":"))


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("nothing", "oolong"),
        ("", "oolong"),
        ("oolong/nothing", "oolong/lexical"),
        ("niah/lexical", "niah alone"),
    ],
)
def test_an_unknown_family_or_variant_is_refused_with_those_there_are(name, offered):
    with pytest.raises(ArgumentInvalid) as caught:
        family(name)

    assert offered in caught.value.hint
