"""A server killed in the middle of a run: another goes on, and asks nothing twice but what flew."""

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from rlm_mcp.errors import RunElsewhere, RunInterrupted
from rlm_mcp.events import (
    CallEnded,
    CellStarted,
    Note,
    RunEnded,
    RunFailed,
    RunResumed,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.resuming import resume, resume_all, seconds_at_work
from rlm_mcp.runs.journal import FILE, Recorded
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget, Usage

pytestmark = pytest.mark.anyio

CHILD = Path(__file__).parent / "crash_child.py"
WITHIN_S = 60
PIECES = 8
TEXT = "".join(
    f"entry {n:04} {'bad' if n % 9 == 0 else 'good'} and all of it is well\n" for n in range(800)
)
CUT = """```repl
size = -(-len(context) // PIECES)
pieces = [context[n * size:(n + 1) * size] for n in range(PIECES)]
print(len(pieces))
```"""
COUNT = """```repl
counts = [int(c) for c in llm_query_batched(["Count bad:\\n" + p for p in pieces])]
print(sum(counts))
```"""
CHECK = """```repl
checks = rlm_query_batched(["Is that right?", "Is it many?"], [f"bad {c}" for c in counts[:2]])
print(checks)
```"""
FINISH = """```repl
FINAL(f"{sum(counts)} entries are bad, {checks}")
```"""
TURNS = [CUT.replace("PIECES", str(PIECES)), COUNT, CHECK, FINISH]
# Of a nested run: each report says how many calls and seconds are left.
LOOK = """```repl
print(context)
```"""
ASK = """```repl
said = llm_query("QUESTION Of these: " + context)
print(said)
```"""
SAY = """```repl
FINAL(f"QUESTION {context}, {said}")
```"""
BELOW = [LOOK, ASK, SAY]
NESTED_CALLS = 2 * (len(BELOW) + 1)
CALLS = len(TURNS) + PIECES + NESTED_CALLS
SIZE = -(-len(TEXT) // PIECES)
COUNTS = [TEXT[start : start + SIZE].count(" bad ") for start in range(0, len(TEXT), SIZE)]
ANSWERS = {
    question: f"{question} bad {count}, 1"
    for question, count in zip(("Is that right?", "Is it many?"), COUNTS, strict=False)
}
ANSWER = f"{sum(COUNTS)} entries are bad, {[*ANSWERS.values()]}"


class Endpoint:
    """A scripted model that holds its `n`-th request and every one after it, until let go."""

    def __init__(self, hold_at):
        self.hold_at = hold_at
        self.asked = Counter()
        self.reached = anyio.Event()
        self.let_go = anyio.Event()

    async def play(self, messages):
        self.asked[tuple(message.content for message in messages)] += 1
        if self.asked.total() >= self.hold_at and not self.let_go.is_set():
            self.reached.set()
            await self.let_go.wait()
        said = messages[-1].content
        if messages[0].role != "system":
            return str(said.count(" bad "))
        turn = sum(message.role == "assistant" for message in messages)
        for question in ANSWERS:
            if question in messages[1].content:
                return BELOW[turn].replace("QUESTION", question)
        return TURNS[turn]


def settings(home, url, **more):
    return Settings.load({}, home=home, api_url=url, strategy="rlm", max_depth=2, **more)


async def killed_run(endpoint, url, home, text):
    """The id of a run whose process was killed when the endpoint held it."""
    command = [sys.executable, str(CHILD), str(home), url, str(text)]
    async with await anyio.open_process(command, stderr=subprocess.DEVNULL) as child:
        run_id = (await child.stdout.receive()).decode().strip()
        await endpoint.reached.wait()
        child.kill()
        await child.wait()
    endpoint.let_go.set()
    return run_id


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "entries.log"
    path.write_text(TEXT, encoding="utf-8")
    return path


# Held at each kind of call: the first, between, in the batch, at its end; in two nested runs that
# work at the same time, at their first turns, between and at their last; the last.
@pytest.mark.parametrize(
    "hold_at",
    [1, 2, 6, *(PIECES + n for n in (2, 3, 4, 7, 9, 3 + NESTED_CALLS, 4 + NESTED_CALLS))],
)
async def test_a_killed_run_goes_on_to_the_same_answer(tmp_path, text, hold_at):
    endpoint = Endpoint(hold_at)
    with anyio.fail_after(WITHIN_S):
        async with serve(endpoint.play) as server:
            run_id = await killed_run(endpoint, server.url, tmp_path / "home", text)
            before = Counter(endpoint.asked)
            async with open_service(settings(tmp_path / "home", server.url)) as service:
                interrupted = await service.view(run_id)
                job = await resume(service, run_id)
                await job.ended.wait()
                events = [each.event for each in await service.journal.events(run_id)]
                costs = await service.costs("run", run_id)
                again = await resume(service, run_id)

    assert isinstance(interrupted.error, RunInterrupted)
    assert (job.outcome.text, job.outcome.stopped_by) == (ANSWER, "answer")
    assert again is job
    answered = costs.total.usage.calls - costs.total.cancelled
    in_flight = before.total() - sum(
        isinstance(event, CallEnded) and event.outcome == "ok" for event in told(events)
    )
    assert endpoint.asked.total() - answered == in_flight
    assert endpoint.asked.total() == CALLS + in_flight  # asked twice, and nothing else
    assert job.outcome.usage.calls == costs.total.usage.calls
    assert_told_once(events)


def told(events):
    """What was told before the run was taken over."""
    return events[: next(n for n, event in enumerate(events) if isinstance(event, RunResumed))]


def assert_told_once(events):
    for kind, name in ((RunStarted, "node"), (TurnStarted, "turn"), (CellStarted, "cell")):
        names = [(event.node, getattr(event, name)) for event in events if isinstance(event, kind)]
        assert len(set(names)) == len(names), kind
    assert sum(isinstance(event, RunEnded) and not event.node for event in events) == 1
    asked = {event.node: event.query for event in events if isinstance(event, RunStarted)}
    ended = [event for event in events if isinstance(event, RunEnded) and event.node]
    assert {asked[each.node]: each.answer for each in ended} == ANSWERS


async def test_interrupted_runs_go_on_at_start_if_that_is_set(tmp_path, text):
    endpoint = Endpoint(4)
    with anyio.fail_after(WITHIN_S):
        async with serve(endpoint.play) as server:
            run_id = await killed_run(endpoint, server.url, tmp_path / "home", text)
            async with open_service(settings(tmp_path / "home", server.url)) as service:
                await resume_all(service)
                view = await service.view(run_id, wait_s=WITHIN_S)
                assert await service.journal.unfinished() == []

    assert view.answer.text == ANSWER


async def test_a_killed_run_goes_on_though_another_process_has_its_number(tmp_path, text):
    endpoint = Endpoint(2)
    with anyio.fail_after(WITHIN_S):
        async with serve(endpoint.play) as server:
            run_id = await killed_run(endpoint, server.url, tmp_path / "home", text)
            with closing(sqlite3.connect(tmp_path / "home" / FILE, isolation_level=None)) as db:
                db.execute("UPDATE runs SET pid = ?", (os.getppid(),))
            async with open_service(settings(tmp_path / "home", server.url)) as service:
                interrupted = await service.view(run_id)
                cancelled = await service.cancel(run_id)
                phase = (await service.trace(run_id)).run.phase
                job = await resume(service, run_id)
                await job.ended.wait()

    assert isinstance(interrupted.error, RunInterrupted)
    assert isinstance(cancelled.error, RunInterrupted)
    assert phase == "failed"
    assert job.outcome.text == ANSWER


async def test_a_run_at_work_elsewhere_is_left_there(tmp_path, text):
    endpoint = Endpoint(2)
    command = [sys.executable, str(CHILD), str(tmp_path / "home")]
    with anyio.fail_after(WITHIN_S):
        async with (
            serve(endpoint.play) as server,
            await anyio.open_process([*command, server.url, str(text)]) as child,
        ):
            run_id = (await child.stdout.receive()).decode().strip()
            await endpoint.reached.wait()
            async with open_service(settings(tmp_path / "home", server.url)) as service:
                for way in (resume(service, run_id), service.cancel(run_id)):
                    with pytest.raises(RunElsewhere, match=f"another server process .{child.pid}"):
                        await way
                assert (await service.view(run_id)).running
                assert (await service.trace(run_id)).run.phase == "running"
                endpoint.let_go.set()
                await child.wait()
                view = await service.view(run_id)

    assert view.answer.text == ANSWER


PROMPTS = 4
BATCHED = f"""```repl
r = llm_query_batched([f"p{{n}}" for n in range({PROMPTS})])
print(r)
```"""
ASKS = """```repl
FINAL(r[0] + llm_query("Is it?"))
```"""
# Two turns, the batch, and the call that found no endpoint.
ASKED = 2 + PROMPTS + 1


@pytest.mark.parametrize(("left", "answer"), [(2, "yesyes"), (1, "2 turns")])
async def test_what_was_answered_is_there_however_few_calls_are_left(tmp_path, left, answer):
    is_mended = False

    def script(messages):
        turns = sum(message.role == "assistant" for message in messages)
        if messages[-1].content == "Is it?" and not is_mended:
            return ScriptedReply("Loading", status=503, headers={"retry-after": "3600"})
        if messages[0].role != "system":
            return "yes"
        return [BATCHED, ASKS, f"FINAL({turns} turns)"][turns]

    async with serve(script) as server, open_service(settings(tmp_path, server.url)) as service:
        with anyio.fail_after(WITHIN_S):
            session = await service.new_session()
            await service.load(session, (), text=TEXT)
            query = Query("Is it?", budget=Budget(calls=ASKED + left))
            job = await service.start(session, query)
            await job.ended.wait()
            is_mended = True
            again = await resume(service, job.run_id)
            await again.ended.wait()

    assert job.outcome.stopped_by == "endpoint"
    assert again.outcome.text == answer
    assert len([each for each in server.requests if "p0" in str(each)]) == 1


NOTE, RESUMED = Note("", "said"), RunResumed("")
STOPPED = RunEnded("", "endpoint", "", (), Usage(), Usage(), 1, seconds=30.0, waited_s=12.0)
LOST = RunFailed("", "Nothing answers.", "Start it.", "EndpointUnreachable")
NESTED = RunEnded("1", "answer", "", (), Usage(), Usage(), 1, seconds=3.0)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ([(0, NOTE)], 0.0),
        ([(0, NOTE), (10, NOTE), (14, NESTED)], 14.0),
        ([(0, NOTE), (10, NOTE), (-3590, NOTE), (-3585, NOTE)], 15.0),  # the clock was set back
        ([(0, NOTE), (99, STOPPED)], 18.0),
        ([(0, NOTE), (60, LOST), (5000, RESUMED), (5007, NOTE)], 7.0),  # it was answered nothing
        ([(0, NOTE), (30, STOPPED), (5000, RESUMED), (5007, NOTE)], 25.0),
        ([(0, NOTE), (10, NOTE), (5000, RESUMED), (5007, NOTE)], 17.0),
    ],
)
def test_a_resumed_run_has_used_the_time_it_was_at_work(told, seconds):
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    recorded = [
        Recorded(number, (noon + timedelta(seconds=at)).isoformat(), event)
        for number, (at, event) in enumerate(told, 1)
    ]

    assert seconds_at_work(recorded) == seconds
