"""No host cuts a result: whatever it holds, it is small, and names the call that gives the rest.

Codex takes the middle out of more than 12,000 bytes of JSON. Sizes are those of the structure and
of the text, each as JSON, because a host shows its model one of the two.
"""

import json
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm_mcp.conduct import Citation, Conduct, Covered, Plan
from rlm_mcp.errors import EndpointUnreachable
from rlm_mcp.events import (
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    Note,
    RunEnded,
    RunStarted,
)
from rlm_mcp.runs.costs import Costs, Spent
from rlm_mcp.runs.journal import FILE, Journal
from rlm_mcp.runs.standing import RunView
from rlm_mcp.runs.trace import trace
from rlm_mcp.server import leftovers, texts
from rlm_mcp.server.leftovers import MOST_MODELS
from rlm_mcp.server.results import ContextLoaded, ContextsListed, CostsSummed, LoadedContext
from rlm_mcp.server.results import RunResult as Result
from rlm_mcp.server.traces import TracePage
from rlm_mcp.types import (
    Answer,
    Budget,
    Changes,
    Completion,
    ContextInfo,
    Message,
    Skip,
    TextKind,
    Usage,
)

pytestmark = pytest.mark.anyio

MOST_BYTES = 12_000
# Each takes more bytes in JSON than it has characters, or is what most text is made of.
SIGNS = ["a", '"', "\\", "\n", "\x01", "é", "漢", "🙂"]
USAGE = Usage(calls=10**9, input_tokens=10**12, output_tokens=10**12, cost=10**6 / 3, seconds=1e6)


def size(value):
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def fits(structure, text):
    return max(size(structure.model_dump(mode="json")), size(text)) <= MOST_BYTES


def run_of(sign, *, text=200_000, places=1000, path=1000, notes=50, names=50):
    """The largest run there can be, or a smaller one, of one sign over and over."""
    place = Citation("ctx_1", sign * path, 1, 2, found=True, excerpt=sign * 400, reason=sign * path)
    covered = Covered("ctx_1", sign * path, 1, 2, missing=())
    return Answer(
        run_id="run_1",
        text=sign * text,
        stopped_by="turns",
        citations=(place,) * places,
        root=USAGE,
        sub=USAGE,
        turns=10**6,
        seconds=1e6,
        notes=(sign * path,) * notes,
        conduct=Conduct(why=sign * path, coverage=(covered,) * names, recount="differs"),
    )


def context_of(sign, *, skips=5000, name=1000):
    return ContextInfo(
        id="ctx_1",
        name=sign * name,
        documents=10**6,
        bytes=10**12,
        chars=10**12,
        lines=10**10,
        tokens_estimate=10**11,
        skipped=tuple(Skip(sign * 300, sign * 100) for _ in range(skips)),
        kind=TextKind.UCS4,
        blob=None,
        manifest=None,
        changes=Changes("ctx_0", (sign * 300,) * skips, (sign * 300,) * skips, ()),
    )


@settings(max_examples=60, deadline=None)
@given(
    sign=st.sampled_from(SIGNS),
    text=st.integers(0, 30_000),
    places=st.integers(0, 1000),
    path=st.integers(1, 2000),
    notes=st.integers(0, 50),
)
def test_a_run_fits_and_says_how_to_get_what_it_leaves_out(sign, text, places, path, notes):
    answer = run_of(sign, text=text, places=places, path=path, notes=notes)
    result = Result.of(RunView("run_1", "ses_1", answer=answer))

    assert fits(result, texts.run_text(result))
    assert (result.answer == answer.text) == ('detail="answer"' not in result.next)
    assert (len(result.citations) == places) == (
        not any("citations are listed" in note for note in result.notes)
    )
    assert "budget" in result.next


@pytest.mark.parametrize("sign", SIGNS)
def test_most_of_the_room_is_the_answer_s(sign):
    answer = replace(run_of(sign, places=0, notes=0, names=0), conduct=Conduct())
    result = Result.of(RunView("run_1", "ses_1", answer=answer))

    assert size(result.answer) > MOST_BYTES * 3 / 4


@pytest.mark.parametrize("sign", SIGNS)
def test_a_run_without_an_answer_fits(sign):
    error = EndpointUnreachable(sign * 50_000, sign * 50_000)
    running = Result.of(RunView("run_1", "ses_1", line=sign * 50_000))
    failed = Result.of(RunView("run_1", "ses_1", error=error))
    planned = Result.planned("ses_1", Plan("rlm", sign * 50_000, (1, 10**9), (1, 10**12)))

    assert fits(running, texts.run_text(running))
    assert fits(failed, texts.failed_text(failed))
    assert fits(planned, texts.plan_text(planned))


@pytest.mark.parametrize("sign", SIGNS)
def test_a_load_fits_and_names_where_all_skipped_and_changed_files_are(sign):
    context = LoadedContext.of(context_of(sign))
    loaded = ContextLoaded.of("ses_1", context)
    told = texts.loaded_text(loaded)

    assert fits(loaded, told)
    assert 0 < len(context.skipped.first) < context.skipped.count
    assert context.skipped.all == context.uri
    assert 0 < len(context.changes.first) < context.changes.added
    assert told.count(context.uri) == 2


@pytest.mark.parametrize("sign", SIGNS)
def test_hundreds_of_contexts_are_listed_on_pages_that_fit(sign):
    infos = [replace(context_of(sign, skips=9), id=f"ctx_{number}") for number in range(300)]
    listed = []
    for page in count(1):
        found = ContextsListed.of("ses_1", infos, page)
        assert fits(found, texts.contexts_text(found))
        listed += [context.id for context in found.contexts]
        if found.next is None:
            break
        assert f"page={page + 1}" in found.next

    assert listed == [info.id for info in infos]


@pytest.mark.parametrize("sign", SIGNS)
def test_costs_of_a_thousand_models_fit_and_none_is_lost(sign):
    spent = {
        f"{sign * 300}{number}": Spent(Usage(calls=number, cost=None), 1, 1, 1)
        for number in range(1000)
    }
    every = Spent(USAGE, 10**9, 10**9, 10**9)
    costs = Costs("all", None, every, every, every, spent, dict.fromkeys(range(9), every))
    summed = CostsSummed.of(costs)

    assert fits(summed, texts.costs_text(summed))
    assert len(summed.by_model) == MOST_MODELS + 1
    assert summed.by_model["988 other models"].failed == 988
    total = sum(bill.calls for bill in summed.by_model.values())
    assert total == sum(each.usage.calls for each in spent.values())


MIXED = '"\\\n漢🙂\x01é' * 2_000
CODE = f"```repl\nkept = {'漢' * 3000!r}  # {'🙂' * 4000}\nprint(kept)\nFINAL({MIXED!r})\n```"


async def test_every_page_of_a_trace_fits_and_pages_hold_all_that_was_said(bench, era):
    async with bench([CODE], era, max_output_tokens=50_000) as b:
        await b.call("load_context", text="alpha")
        run = await b.call("rlm_query", query="漢🙂" * 5_000)
        told = {}
        for detail in ("turns", "calls", "full", "answer", "messages"):
            pages = []
            while not pages or pages[-1]["page"] < pages[-1]["pages"]:
                asked = {"run_id": run["run_id"], "page": len(pages) + 1, "detail": detail}
                result = await b.client.call_tool("get_trace", asked)
                pages.append(result.structured_content)
                assert size(result.structured_content) <= MOST_BYTES
                assert size(result.content[0].text) <= MOST_BYTES
            told[detail] = pages

    def said(detail, kind):
        steps = [step for page in told[detail] for step in page["steps"]]
        return "".join(step["text"] for step in steps if step["kind"] == kind)

    assert run["answer"] != said("answer", "answer") == MIXED
    assert "漢🙂" * 5_000 in said("full", "question")
    assert CODE.removeprefix("```repl\n").removesuffix("\n```") in said("full", "code")
    assert len(said("turns", "code")) < len(said("calls", "code")) < len(said("full", "code"))
    assert any('detail="full") shows them whole' in page["next"] for page in told["turns"])
    assert 'detail="answer") shows them whole' in told["full"][-1]["next"]


def turn_of(text):
    """What one call sends and receives, all of it `text`."""
    sent = (Message("system", text), Message("user", text))
    came = Completion(text, text, "stop", "m", USAGE)
    return [
        CallStarted("", "r1", 1, "root", "m", text[:600], 2 * len(text), 1, sent),
        CallEnded("", "r1", 1, "root", "m", "ok", text, len(text), 0, USAGE, completion=came),
        CellStarted("", "run_1.c1", 1, text),
        CellEnded("", "run_1.c1", 1, "error", text, len(text), text, 1.0),
        Note("", text),
    ]


async def pages_read(journal, detail, call=None):
    """Every page of a run, each reached by what the one before says comes next."""
    page = 1
    while page is not None:
        shown = await trace(journal, "run_1", page, detail, call)
        structure = TracePage.of(shown, detail, call)
        yield shown, structure
        page = shown.following
        assert (page is None) or f"page={page}" in structure.next


@pytest.mark.parametrize("detail", ["full", "messages", "events"])
@pytest.mark.parametrize("sign", ["a", "\n", "\x01", "🙂", "a" * 5_000 + "\x01" * 900])
async def test_a_trace_of_whatever_signs_fits_on_its_pages_and_ends(sign, detail, tmp_path):
    text = sign * (12_000 // len(sign))
    place = Citation("ctx_1", text[:2_000], 1, 2, found=True, excerpt=text[:400])
    end = RunEnded("", "answer", text, (place,) * 50, USAGE, USAGE, 1, 1.0, (text[:2_000],) * 50)
    started = RunStarted("", text, "ses_1", (("ctx_1", text[:1_000]),) * 20, "m", "m", Budget())
    turns = turn_of(text) + turn_of(text[1:3]) * 20
    async with Journal.open(tmp_path / FILE) as journal:
        sink = journal.sink("run_1", "ses_1", await journal.claim("ses_1"))
        for event in [started, *turns, end]:
            sink.emit(event)
        await sink.written()
        read = [page async for page in pages_read(journal, detail)]

    assert all(fits(structure, shown.text()) for shown, structure in read)
    steps = [step for shown, _ in read for step in shown.steps]
    if detail in {"full", "messages"}:
        kind = "code" if detail == "full" else "r1 thinking"
        told = "".join(step.text for step in steps if step.kind.startswith(kind))
        assert told == text + text[1:3] * 20
    if detail == "events":
        assert [step.seq for step in steps] == list(range(1, len(turns) + 3))
        assert all(json.loads(step.text)["event"] == step.kind for step in steps)


async def test_an_answer_s_last_page_lists_every_citation(bench, tmp_path):
    names = [f"{number:03}.txt" for number in range(40)]
    for name in names:
        (tmp_path / name).write_text("alpha\n", encoding="utf-8")
    async with bench([f"```repl\nFINAL({' '.join(f'{name}:1' for name in names)!r})\n```"]) as b:
        await b.call("load_context", source=str(tmp_path))
        run = await b.call("rlm_query", query="Where?")
        pages = await b.call("get_trace", run_id=run["run_id"], detail="answer")

    listed = pages["steps"][-1]
    assert f"{len(run['citations'])} of 40 citations are listed" in run["notes"][-1]
    assert listed["kind"] == "citations"
    assert listed["text"].splitlines() == [f"{name}:1-1 (found)" for name in names]


async def test_pages_of_contexts_are_asked_for_by_number(bench, era, monkeypatch):
    monkeypatch.setattr(leftovers, "LIST_BYTES", 10)
    async with bench((), era) as b:
        for name in ("one", "two"):
            await b.call("load_context", text=name, name=name)
        first = await b.call("list_contexts")
        second = await b.call("list_contexts", page=2)
        told = await b.refusal("list_contexts", page=3)

    assert [context["name"] for context in first["contexts"]] == ["one"]
    assert [context["name"] for context in second["contexts"]] == ["two"]
    assert "page=2" in first["next"]
    assert second["next"] is None
    assert "from 1 to 2" in told


async def test_a_refusal_fits_whatever_it_quotes(bench, era):
    async with bench((), era) as b:
        await b.call("load_context", text="alpha", name="漢" * 20_000)
        told = [
            await b.refusal("rlm_query", query="?", contexts=["🙂" * 20_000]),
            await b.refusal("load_context", source="/" + '"' * 50_000),
            await b.refusal("get_answer", run_id="\x01" * 20_000),
        ]

    assert all(size(each) <= MOST_BYTES for each in told)


async def test_all_changes_of_a_folder_are_at_its_address(bench, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.txt").write_text("alpha", encoding="utf-8")
    async with bench() as b:
        await b.call("load_context", source=str(folder))
        for number in range(12):
            (folder / f"{number:02}.txt").write_text("beta", encoding="utf-8")
        loaded = await b.call("load_context", source=str(folder))
        read = await b.client.read_resource(loaded["context"]["uri"])

    changes = json.loads(read.contents[0].text)["changes"]
    assert len(loaded["context"]["changes"]["first"]) == 10
    assert changes == [["changed", f"{number:02}.txt"] for number in range(12)]
