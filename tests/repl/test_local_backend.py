"""The five verbs: repeated, out of date, concurrent, ended."""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from repl_driver import LIMITS, Driver
from rough_cells import sessions_below

from rlm_mcp.errors import ReplUnavailable, SandboxUnavailable, StaleEpoch
from rlm_mcp.repl import boxes
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import CallAsked, Cell, ContextInfo, Cursor, ReplSpec, Reply, SubReply

pytestmark = pytest.mark.anyio
needs = pytest.mark.needs


async def gone(pid: int) -> None:
    """Wait until that process, which need not be a child of ours, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    await anyio.wait_readable(descriptor)
    os.close(descriptor)


async def test_the_state_says_what_the_box_enforces(repl, box):
    state = await repl.open()
    assert (state.handle, state.epoch, state.box) == ("h", 1, box)
    assert state.isolation == boxes.load(box).ISOLATION
    assert "memory 512 MB" in state.enforced
    assert await repl.value("import sys\nsys.version.split()[0]") == repr(state.python)


async def test_opening_again_gives_the_same_repl(repl):
    await repl.run("kept = 1")
    assert await repl.open() == await repl.open()
    assert await repl.value("kept") == "1"


async def test_a_cell_submitted_twice_runs_once(repl):
    await repl.run("n = 0")
    for _ in range(3):
        cursor = await repl.backend.submit("h", 1, Cell("once", "n += 1\nprint(n)"))
    first = await repl.backend.pump("h", "once", cursor, wait_s=5)
    again = await repl.backend.pump("h", "once", cursor, wait_s=5)
    assert first == again
    assert first.events[0].result.output == "1\n"
    assert (await repl.backend.pump("h", "once", first.cursor, wait_s=5)).events == ()
    assert await repl.value("n") == "1"


async def test_a_reply_delivered_twice_counts_once(repl):
    cursor = await repl.backend.submit("h", 1, Cell("ask", "[llm_query('a'), llm_query('b')]"))
    batch = await repl.backend.pump("h", "ask", cursor, wait_s=5)
    first = Reply(batch.events[0].call_id, (SubReply("one"),))
    batch = await repl.backend.pump("h", "ask", batch.cursor, [first, first], wait_s=5)
    second = Reply(batch.events[0].call_id, (SubReply("two"),))
    batch = await repl.backend.pump("h", "ask", batch.cursor, [first, second], wait_s=5)
    assert batch.events[0].result.output == "['one', 'two']\n"


@needs("threads")
async def test_one_reader_waits_while_others_deliver(repl):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as p: print(sum(int(x) for x in p.map(llm_query, range(40))))"
    )
    cursor = await repl.backend.submit("h", 1, Cell("many", code))

    async def deliver(asked: CallAsked) -> None:
        reply = Reply(asked.call_id, tuple(SubReply(r.prompt) for r in asked.requests))
        await repl.backend.pump("h", "many", Cursor(1, 10**6), [reply])

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            result = None
            while result is None:
                batch = await repl.backend.pump("h", "many", cursor, wait_s=5)
                cursor = batch.cursor
                for event in batch.events:
                    if isinstance(event, CallAsked):
                        group.start_soon(deliver, event)
                    else:
                        result = event.result
    assert result.output == "780\n"


async def test_a_second_cell_waits_for_the_end_of_the_first(repl):
    await repl.backend.submit("h", 1, Cell("first", "llm_query('x')"))
    with pytest.raises(ReplUnavailable, match="Cell first still runs"):
        await repl.backend.submit("h", 1, Cell("second", "1"))


@needs("interrupts")
async def test_a_newer_epoch_takes_over_and_the_older_one_is_refused(repl):
    await repl.run("kept = 1")
    old = await repl.backend.submit("h", 1, Cell("old", "while True: pass"))
    refused = []

    async def wait_as_the_old_one() -> None:
        with pytest.raises(StaleEpoch) as caught:
            await repl.backend.pump("h", "old", old, wait_s=30)
        refused.append(caught.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(wait_as_the_old_one)
            await anyio.wait_all_tasks_blocked()
            await repl.open(epoch=2)
    assert refused
    with pytest.raises(StaleEpoch, match="Epoch 1 of REPL h is over; 2 owns it"):
        await repl.backend.pump("h", "old", old)
    with pytest.raises(StaleEpoch):
        await repl.open(epoch=1)
    with pytest.raises(StaleEpoch):
        await repl.backend.submit("h", 1, Cell("late", "1"))
    with pytest.raises(StaleEpoch):
        await repl.backend.interrupt("h", 1, "old")
    assert await repl.value("kept") == "1"


async def test_an_unknown_handle_and_an_unknown_cell_are_refused(repl):
    with pytest.raises(ReplUnavailable, match="No REPL has the handle nobody"):
        await repl.backend.submit("nobody", 1, Cell("c", "1"))
    with pytest.raises(ReplUnavailable, match="Cell c is not the last one"):
        await repl.backend.pump("h", "c", Cursor(1, 0))


@needs("os", "one process")
async def test_close_ends_the_process_and_may_be_repeated(repl):
    pid = int(await repl.value("__import__('os').getpid()"))
    cursor = await repl.backend.submit("h", 1, Cell("loop", "while True: pass"))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(repl.backend.close, "h")
            with pytest.raises(ReplUnavailable, match="is closed"):
                await repl.backend.pump("h", "loop", cursor, wait_s=5)
        await repl.backend.close("h")
        await gone(pid)
    with pytest.raises(ReplUnavailable):
        await repl.backend.submit("h", 1, Cell("late", "1"))


@needs("os", "one process")
async def test_leaving_the_backend_ends_every_guest(cache, box):
    with anyio.fail_after(20):
        async with LocalBackend(cache, box) as backend:
            driver = Driver(backend)
            pids = []
            for handle in ("a", "b", "c"):
                await driver.open(handle)
                pids.append(int(await driver.value("__import__('os').getpid()", handle)))
            await backend.submit("a", 1, Cell("loop", "sum(range(10**12))"))
        for pid in pids:
            await gone(pid)


async def test_an_error_leaves_the_backend_as_it_was_raised(cache, box):
    async def fail() -> None:
        async with LocalBackend(cache, box) as backend:
            await Driver(backend).open()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_a_guest_is_gone_after_a_cancelled_open(cache, box):
    async with LocalBackend(cache, box) as backend:
        with anyio.move_on_after(0.02):
            await Driver(backend).open()
        assert await Driver(backend).open()


@pytest.fixture
def slow_context(snapshot, tmp_path):
    """A context that opens only once somebody writes to its manifest."""
    os.mkfifo(tmp_path / "slow")
    return replace(snapshot({"a": "text"}), manifest=tmp_path / "slow")


async def release(context: ContextInfo) -> None:
    """Wait until that context is being opened, and let it be."""
    while True:
        try:
            os.close(os.open(context.manifest, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            await anyio.lowlevel.checkpoint()
        else:
            return


def children() -> set[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8")
    return set(map(int, text.split()))


def sockets() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(link.readlink().name)
    return {name for name in found if name.startswith("socket:")}


async def test_a_repl_closed_while_its_first_contexts_are_mapped_does_not_open(
    cache, box, slow_context
):
    async with LocalBackend(cache, box) as backend:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:

                async def close() -> None:
                    await release(slow_context)
                    await backend.close("h")

                group.start_soon(close)
                with pytest.raises(ReplUnavailable, match="is closed"):
                    await Driver(backend).open(contexts=[slow_context])


@needs("one process")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's children")
async def test_a_guest_that_dies_while_its_first_contexts_are_mapped_is_replaced(
    cache, box, slow_context, snapshot, tmp_path
):
    os.mkfifo(tmp_path / "slower")
    slower = replace(snapshot({"b": "text"}, name="other"), manifest=tmp_path / "slower")
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)

        async def open_in_vain() -> None:
            with contextlib.suppress(ReplUnavailable):
                await driver.open(contexts=[slow_context, slower])

        with anyio.fail_after(10):
            before, held = children(), sockets()
            async with anyio.create_task_group() as group:
                group.start_soon(open_in_vain)
                await release(slow_context)
                pid = max(children() - before)  # the keeper was started before it
                os.kill(pid, signal.SIGKILL)
                while sockets() - held:
                    await anyio.lowlevel.checkpoint()
                await release(slower)
            await driver.open()
            # A death that nobody has heard of yet is the first cell's.
            first = await driver.run("1")
            assert first.status in {"ok", "died"}
            assert await driver.value("1") == "1"


HOST = """
import anyio, sys
from pathlib import Path
from rlm_mcp.repl import boxes
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Cell, ReplLimits, ReplSpec

boxes.__path__[:] = sys.argv[4:]

async def main():
    async with LocalBackend(Path(sys.argv[1]), sys.argv[2]) as backend:
        await backend.open(ReplSpec("h", 1, (), ReplLimits()))
        cursor = await backend.submit("h", 1, Cell("pid", "import os; os.getpid()"))
        batch = await backend.pump("h", "pid", cursor, wait_s=10)
        await backend.submit("h", 1, Cell("busy", sys.argv[3]))
        print(batch.events[0].result.output, end="", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@needs("os", "one process")
@pytest.mark.parametrize("code", ["sum(range(10**12))", "while True: pass", "llm_query('x')", "1"])
async def test_no_guest_outlives_a_killed_host(cache, box, code):
    async with await anyio.open_process(
        [sys.executable, "-c", HOST, cache, box, code, *boxes.__path__], stderr=subprocess.DEVNULL
    ) as host:
        with anyio.fail_after(20):
            pid = int(await host.stdout.receive())
            os.kill(host.pid, signal.SIGKILL)
            await gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a sandbox yet")
async def test_auto_takes_the_sandbox_where_there_is_one(cache):
    async with LocalBackend(cache) as backend:
        assert (await Driver(backend).open()).isolation == "kernel"


WITHOUT_SECCOMP = """
import os, sys, anyio
from pathlib import Path
from rlm_mcp.repl.guest import kernel, seccomp
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import ReplLimits, ReplSpec
machine = os.uname().machine
number = seccomp.MACHINES[machine][1]["seccomp"]
kernel.prctl(38, 1)
seccomp._set_filter(machine, [
    (seccomp.LOAD, 0, 0, seccomp.NUMBER_AT), (seccomp.EQUAL, 0, 1, number),
    seccomp._refuse(), seccomp._return(seccomp.ALLOW),
], 0)
async def main():
    async with LocalBackend(Path(sys.argv[1])) as backend:
        state = await backend.open(ReplSpec("h", 1, (), ReplLimits()))
        print(state.box, state.isolation, state.notice, sep="|")
anyio.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="this takes the sandbox away from Linux")
async def test_where_the_kernel_refuses_auto_takes_the_language_and_says_why(cache):
    with anyio.fail_after(60):
        ended = await anyio.run_process([sys.executable, "-c", WITHOUT_SECCOMP, str(cache)])
    box, isolation, notice = ended.stdout.decode().strip().split("|")
    assert (box, isolation) == ("monty", "language")
    assert "restricted Python" in notice
    assert "The linux box cannot lock itself: PermissionError" in notice


async def test_a_proof_with_a_hole_refuses_to_start():
    hello = boxes.Hello(
        python="3",
        layers=("seccomp",),
        probes={"fork": False},
        space_bytes=0,
        checkpoints=False,
        in_place=True,
    )
    with pytest.raises(SandboxUnavailable, match="did not refuse the sandboxed process: fork"):
        boxes.load("linux").proved(hello)
    with pytest.raises(SandboxUnavailable, match="no probe"):
        boxes.load("linux").proved(replace(hello, probes={}))


async def test_a_program_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    async with LocalBackend(tmp_path / "file" / "cache", "plain") as backend:
        with pytest.raises(ReplUnavailable, match="cannot be written"):
            await backend.open(ReplSpec("h", 1, (), LIMITS))


async def two_and_two_spares(driver: Driver) -> set[str]:
    """Open two REPLs and wait for the guests that then stand ready; the processes of all four."""
    before = sessions_below()
    for handle in ("first", "second"):
        await driver.open(handle)
    with anyio.fail_after(30):
        while len(running := sessions_below() - before) < 5:  # with the keeper
            await anyio.lowlevel.checkpoint()
    return set(map(str, running))


@needs("os", "one process")
async def test_from_the_second_repl_on_guests_stand_ready(cache, box):
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        running = await two_and_two_spares(driver)
        await driver.open("third")
        assert await driver.value("__import__('os').getpid()", "third") in running


@needs("os", "one process")
async def test_a_spare_of_another_memory_limit_is_not_taken(cache, box):
    async with LocalBackend(cache, box) as backend:
        driver = Driver(backend)
        running = await two_and_two_spares(driver)
        await driver.open("third", limits=replace(LIMITS, memory_bytes=LIMITS.memory_bytes // 2))
        assert await driver.value("__import__('os').getpid()", "third") not in running
