"""Runs at work: waited for, broken, forgotten."""

import anyio
import pytest

from rlm_mcp.errors import RunBroken, UnknownContext
from rlm_mcp.runs.jobs import KEEP_ENDED, Job, Jobs
from rlm_mcp.runs.status import RunStatus
from rlm_mcp.types import Answer, Usage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def jobs():
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            yield Jobs(tasks)
            tasks.cancel_scope.cancel()


def job(run_id="run_1"):
    return Job(run_id, "ses", RunStatus(), lambda _: None)


async def answer():
    return Answer("run_1", "yes", "answer", (), Usage(), Usage(), 1, 0.1)


async def test_waiting_gives_the_answer_or_nothing_yet(jobs):
    go_on = anyio.Event()

    async def later():
        await go_on.wait()
        return await answer()

    one = job()
    jobs.start(one, later)

    assert await one.wait(0) is None
    assert jobs.working("ses") == [one]
    go_on.set()
    assert (await one.wait(5)).text == "yes"
    assert jobs.working("ses") == []


async def test_an_error_of_ours_is_the_outcome(jobs):
    async def fail():
        raise UnknownContext("no such", "load it")

    one = job()
    jobs.start(one, fail)

    assert isinstance(await one.wait(5), UnknownContext)


async def test_a_broken_run_does_not_take_the_others_with_it(jobs, caplog):
    async def break_down():
        raise ZeroDivisionError("oops")

    one, other = job("run_1"), job("run_2")
    jobs.start(one, break_down)
    jobs.start(other, answer)

    broken = await one.wait(5)
    assert isinstance(broken, RunBroken)
    assert "ZeroDivisionError" in broken.message
    assert (await other.wait(5)).text == "yes"
    assert "run run_1 broke" in caplog.text


async def test_the_oldest_ended_runs_are_forgotten(jobs):
    started = [job(f"run_{number}") for number in range(KEEP_ENDED + 5)]
    for one in started:
        jobs.start(one, answer)
        await one.wait(5)

    assert jobs.find("run_0") is None
    assert jobs.find(started[-1].run_id) is started[-1]
