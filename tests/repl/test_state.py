"""What happens to the variables when a cell, or its process, ends badly: by value, in every box."""

from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest
from repl_driver import LIMITS, Driver

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.repl import recording
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import CallAsked, Cell, Reply, SubReply

pytestmark = [pytest.mark.anyio, pytest.mark.needs("exits")]

DIE = "\nimport os\nos._exit(9)"
SAID = "The REPL's process ended by itself (exit status 9)."


@pytest.fixture
async def copied(repl):
    """A REPL whose guest leaves a copy of itself behind before each cell."""
    if not (await repl.open()).checkpoints:
        pytest.skip("no checkpoints here")
    return repl


@pytest.fixture
async def repeated(cache, box):
    """A REPL that has to run its cells again: what a copy would take is above any limit."""
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        await driver.open(limits=replace(LIMITS, memory_bytes=512 << 20))
        await driver.run("ballast = b'x' * (320 << 20)")
        yield driver


@pytest.mark.needs("checkpoints")
async def test_what_a_lost_cell_changed_in_place_is_undone(repl):
    await repl.run("x = [1, 2]\nanswer['content'] = 'draft'")
    died = await repl.run("x.append(3); y = 1; answer['content'] = 'spoilt'" + DIE)
    assert (died.status, died.lost) == ("died", False)
    assert died.error.startswith(SAID)
    assert [variable.preview for variable in died.variables] == ["[1, 2]"]
    assert await repl.value("x, 'y' in globals(), answer['content']") == "([1, 2], False, 'draft')"


async def test_a_copy_keeps_what_cannot_be_made_again(copied):
    await copied.run(
        "import secrets\nsteps = iter(range(9)); next(steps); lucky = secrets.randbits(60)"
    )
    first = await copied.value("lucky")
    for _ in range(3):
        assert (await copied.run("next(steps); lucky = 0" + DIE)).status == "died"
    assert await copied.value("next(steps), lucky") == f"(1, {first})"


@pytest.mark.needs("checkpoints")
async def test_a_restored_repl_calls_models_and_is_interrupted_as_before(cache, box):
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        await driver.open(limits=replace(LIMITS, cell_s=0.25))
        await driver.run("x = 1" + DIE)
        assert await driver.value("llm_query('hi')") == "'<hi>'"
        assert (await driver.run("x = 2\nwhile True: pass")).status == "interrupted"
        assert await driver.value("x") == "2"
        with anyio.fail_after(20):
            stubborn = await driver.run("x = 3\nimport itertools\n-1 in itertools.count()")
        assert (stubborn.status, await driver.value("x")) == ("died", "2")


@pytest.mark.needs("checkpoints")
async def test_a_restored_repl_takes_new_contexts(repl, snapshot):
    await repl.open(contexts=[snapshot({"a": "old"})])
    await repl.run("seen = context[:]" + DIE)
    await repl.run("seen = context[:]")
    await repl.run("1" + DIE)
    await repl.open(contexts=[snapshot({"a": "new"})])
    assert await repl.value("seen, context[:]") == "('old', 'new')"


async def test_cells_run_again_have_the_answers_they_had(repeated):
    said = iter(["first", "second", "third"])

    def model(_request):
        return SubReply(next(said))

    await repeated.run("a = llm_query('same'); b = llm_query('same')", model=model)
    await repeated.run("c = llm_query_batched(['x'])\n1 / 0", model=model)
    died = await repeated.run("a = b = c = None" + DIE)
    assert "run again" in died.error
    after = await repeated.run("a, b, c")
    assert after.output == (
        "[This REPL is new. 3 cells ran again in it, with the answers had before.]\n"
        "('first', 'second', ['third'])\n"
    )
    assert len(repeated.calls) == 3
    assert not after.lost


async def test_each_cell_run_again_sees_the_contexts_it_saw(repeated, snapshot):
    small = replace(LIMITS, memory_bytes=512 << 20)
    await repeated.open(contexts=[snapshot({"a": "old"})], limits=small)
    await repeated.run("then = context[:]")
    await repeated.open(contexts=[snapshot({"a": "new"})], limits=small)
    await repeated.run("1" + DIE)
    assert (await repeated.run("then, context[:]")).output.endswith("('old', 'new')\n")


async def test_what_an_interrupted_cell_did_is_told_to_be_lost(cache, box):
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        await driver.open(limits=replace(LIMITS, cell_s=1.0, memory_bytes=256 << 20))
        await driver.run("x = 1; ballast = b'x' * (160 << 20)")
        await driver.run("x = 2\nwhile True: pass")
        await driver.run("x = 3" + DIE)
        after = await driver.run("x")
        assert after.lost
        assert "What 1 cell did could not be repeated" in after.output
        assert after.output.endswith("\n1\n")


@pytest.mark.needs("one process")
async def test_a_cell_that_ends_the_process_when_repeated_is_left_out(repeated):
    await repeated.run("x = 1\nimport os")
    deadly = "x = 2\ntry: llm_query(str(os.getpid()))\nexcept RuntimeError: os._exit(1)"
    assert (await repeated.run(deadly)).status == "ok"
    await repeated.run("y = 3" + DIE)
    after = await repeated.run("x")
    assert (after.lost, after.output.endswith("check your variables.]\n1\n")) == (True, True)


async def test_more_than_can_be_kept_is_lost_and_said(repeated):
    await repeated.run("x = 1")
    huge = SubReply("y" * (recording.MOST_CHARS // 8))
    await repeated.run("for n in range(9): llm_query(str(n))", model=lambda _request: huge)
    died = await repeated.run("x = 2" + DIE)
    assert died.lost
    assert "All variables are gone" in died.error
    assert "NameError" in (await repeated.run("x")).error


async def test_a_repl_that_is_closed_while_its_cells_run_again_says_so(repeated):
    await repeated.run("import time\nfor _ in range(100): time.sleep(0.01)")
    await repeated.run("1" + DIE)
    async with anyio.create_task_group() as tasks:

        async def go_on():
            with pytest.raises(ReplUnavailable):
                await repeated.backend.submit("h", 1, Cell("late", "1"))

        tasks.start_soon(go_on)
        await anyio.wait_all_tasks_blocked()
        await repeated.backend.close("h")


async def test_a_call_that_is_open_when_the_process_dies_is_forgotten(copied):
    await copied.run("x = 1")
    code = (
        "import os, threading, time\nthreading.Thread(target=lambda: llm_query('late')).start()\n"
        "time.sleep(0.2)\nos._exit(1)"
    )
    backend = copied.backend
    cursor = await backend.submit("h", 1, Cell("lost", code))
    asked = None
    with anyio.fail_after(20):
        while True:
            batch = await backend.pump("h", "lost", cursor, wait_s=20)
            cursor = batch.cursor
            asked = next((e for e in batch.events if isinstance(e, CallAsked)), asked)
            if any(not isinstance(event, CallAsked) for event in batch.events):
                break
    assert asked is not None
    assert await copied.value("x, llm_query('now')") == "(1, '<now>')"


async def test_a_repl_may_be_closed_at_any_moment_of_a_take_over(cache, box):
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        for number in range(8):
            await driver.open(str(number))
            await driver.run("x = 1", str(number))
            cursor = await backend.submit(str(number), 1, Cell(f"die{number}", "x = 2" + DIE))
            for _ in range(number):
                await anyio.lowlevel.checkpoint()
            with anyio.fail_after(10):
                await backend.close(str(number))
            with pytest.raises(ReplUnavailable):
                await backend.pump(str(number), f"die{number}", cursor)


async def test_contexts_that_came_during_a_lost_cell_are_there_afterwards(copied, snapshot):
    await copied.open(contexts=[snapshot({"a": "old"})])
    await copied.run("x = context[:]")
    cursor = await copied.backend.submit("h", 1, Cell("lost", "llm_query('wait')" + DIE))
    batch = await copied.backend.pump("h", "lost", cursor, wait_s=20)
    new = [snapshot({"a": "new"})]
    await copied.open(contexts=new)
    asked = batch.events[0]
    answer = Reply(asked.call_id, (SubReply("go on"),))
    await copied.backend.pump("h", "lost", batch.cursor, (answer,), wait_s=20)
    await copied.open(contexts=new)
    assert await copied.value("x, context[:]") == "('old', 'new')"


async def test_a_cell_that_spoils_the_next_checkpoint_is_left_out_in_the_end(copied):
    await copied.run("kept = 1\nimport gc, os")
    await copied.run(
        "gc.unfreeze()\n"
        "spoilt = [o for o in gc.get_objects() if type(o) is dict"
        " and o.get('__name__') == 'guest.checkpoint'][0]\n"
        "spoilt.update({name: None for name in spoilt if not name.startswith('__')})"
    )
    with anyio.fail_after(60):
        while (result := await copied.run("kept")).status != "ok":
            pass
    assert result.output.endswith("1\n")
    assert await copied.value("kept") == "1"
