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
from rlm_mcp.llm.scripted import serve
from rlm_mcp.resuming import resume, resume_all, seconds_at_work
from rlm_mcp.runs.journal import FILE, Recorded
from rlm_mcp.service import open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Usage

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
check = rlm_query("Is that right?", str(sum(counts)))
print(check)
```"""
FINISH = """```repl
FINAL(f"{sum(counts)} entries are bad, {check}")
```"""
TURNS = [CUT.replace("PIECES", str(PIECES)), COUNT, CHECK, FINISH]
ANSWER = f"{TEXT.count(' bad ')} entries are bad, checked {TEXT.count(' bad ')}"


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
        if "Is that right?" in messages[1].content:
            return "```repl\nFINAL('checked ' + context)\n```"
        return TURNS[sum(message.role == "assistant" for message in messages)]


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


# Held at each kind of call: the first, between, in the batch, at its end, nested, the last.
@pytest.mark.parametrize("hold_at", [1, 2, 3, 6, 2 + PIECES, 3 + PIECES, 4 + PIECES, 5 + PIECES])
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
    assert endpoint.asked.total() - answered == in_flight  # asked twice, and nothing else
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
