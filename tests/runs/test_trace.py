"""Traces for reading: steps, pages, details."""

import pytest

from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.events import (
    CallEnded,
    CellEnded,
    CellStarted,
    ReplReady,
    RunEnded,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.runs.journal import Journal
from rlm_mcp.runs.pages import PAGE_BYTES
from rlm_mcp.runs.trace import trace
from rlm_mcp.types import Budget, Usage

pytestmark = pytest.mark.anyio


def call(role, turn, reply, outcome="ok", node=""):
    usage = Usage(1, 100, 20, None, 0, None, 0.5)
    return CallEnded(node, "c", turn, role, "m", outcome, reply, len(reply), 0, usage, None)


def run_of(turns, answer="done"):
    yield RunStarted("", "How many?", "ses", (("ctx_1", "src"),), "m", "m", Budget())
    yield ReplReady("", "linux", True, ("seccomp",))
    for turn in range(1, turns + 1):
        yield TurnStarted("", turn)
        yield call("root", turn, f"look {turn}")
        yield CellStarted("", f"c{turn}", turn, f"print({turn})")
        yield call("sub", turn, "leaf one")
        yield call("sub", turn, "leaf two", outcome="failed")
        yield CellEnded("", f"c{turn}", turn, "ok", "x" * 2000, 2000, None, 0.1)
    yield RunEnded("", "answer", answer, (), Usage(), Usage(), turns, 1.0)


@pytest.fixture
async def journal(tmp_path):
    async with Journal.open(tmp_path / "journal.sqlite3") as opened:
        yield opened


async def record(journal, events):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    for event in events:
        sink.emit(event)
    await sink.written()


async def test_a_short_run_reads_as_a_story(journal, golden):
    await record(journal, run_of(1))

    told = await trace(journal, "run_1")

    golden("trace.txt", told.text())


async def test_sub_calls_are_summed_unless_asked_for(journal):
    await record(journal, run_of(1))

    turns = await trace(journal, "run_1")
    calls = await trace(journal, "run_1", detail="calls")

    assert [step.kind for step in turns.steps].count("sub-calls") == 1
    assert "2 sub-calls, 200 tokens in, 40 out, 1 failed" in turns.text()
    assert [step.kind for step in calls.steps].count("sub-call") == 2


async def test_sub_calls_of_a_cell_that_has_not_ended_are_summed_too(journal):
    await record(journal, list(run_of(1))[:-2])

    last = (await trace(journal, "run_1")).steps[-1]

    assert (last.kind, last.turn) == ("sub-calls", 1)
    assert last.text.startswith("2 sub-calls")


async def test_sub_calls_are_summed_for_the_run_that_made_them(journal):
    await record(
        journal,
        [
            *list(run_of(1))[:-2],
            RunStarted("1", "Part?", "ses", (), "m", "m", Budget()),
            TurnStarted("1", 1),
            CellStarted("1", "1.c1", 1, "llm_query('x')"),
            call("sub", 1, "leaf", node="1"),
            call("sub", 1, "leaf three"),
            CellEnded("", "c1", 1, "ok", "x", 1, None, 0.1),
        ],
    )

    told = [(step.node, step.kind, step.text) for step in (await trace(journal, "run_1")).steps]

    sums = [(node, text.split(",")[0]) for node, kind, text in told if kind == "sub-calls"]
    assert sums == [("", "3 sub-calls"), ("1", "1 sub-call")]


async def test_pages_are_bounded_and_hold_every_step_once(journal):
    await record(journal, run_of(30))

    first = await trace(journal, "run_1")
    pages = [await trace(journal, "run_1", page) for page in range(1, first.pages + 1)]

    assert first.pages > 1
    assert all(len(page.text().encode()) < PAGE_BYTES + 200 for page in pages)
    steps = [step.seq for page in pages for step in page.steps]
    assert steps == sorted(steps)
    assert pages[-1].steps[-1].kind == "answer"


async def test_a_long_answer_can_be_read_to_its_end(journal):
    answer = "".join(f"line {number}\n" for number in range(5000))
    await record(journal, run_of(1, answer))

    first = await trace(journal, "run_1", detail="answer")
    parts = [await trace(journal, "run_1", n, "answer") for n in range(1, first.pages + 1)]

    assert "".join(step.text for part in parts for step in part.steps) == answer


@pytest.mark.parametrize("page", [0, 2, -1])
async def test_a_page_that_is_not_there_is_an_error_that_counts_them(journal, page):
    await record(journal, run_of(1))

    with pytest.raises(ArgumentInvalid, match="has 1 page at"):
        await trace(journal, "run_1", page)


async def test_a_run_still_at_work_has_a_trace(journal):
    await record(journal, list(run_of(3))[:-1])

    assert (await trace(journal, "run_1")).run.phase == "running"
