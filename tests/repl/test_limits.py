"""Cells that never end, take too much, or kill their process."""

import resource
import sys
from dataclasses import replace

import anyio
import pytest
from repl_driver import LIMITS

from rlm_mcp.types import Cell, CellDone, Reply, SubReply

pytestmark = pytest.mark.anyio
needs = pytest.mark.needs


@pytest.fixture
async def quick(repl):
    """A REPL whose cells may compute for a quarter of a second."""
    await repl.open(limits=replace(LIMITS, cell_s=0.25))
    return repl


@needs("interrupts")
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')",
        "import time\ntime.sleep(600)",
        "import threading\nthreading.Event().wait()",
        "while True: print('again')",
        "class Endless:\n    def __repr__(self):\n        while True: pass\nEndless()",
        "9 ** 9 ** 8 > 1 and 7 ** 10 ** 8",
    ],
)
async def test_a_cell_over_its_time_is_interrupted_and_variables_are_kept(quick, code):
    with anyio.fail_after(10):
        result = await quick.run("kept = 1\n" + code)
    assert (result.status, result.lost) == ("interrupted", False)
    assert "the cell computed for 0.25 s, the limit of one" in result.error
    assert await quick.value("kept") == "1"


@needs("checkpoints")
@pytest.mark.parametrize(
    "code",
    [
        "sum(range(10**12))",
        "import itertools\n-1 in itertools.count()",
        "import time\nwhile True:\n    try: time.sleep(600)\n    except BaseException: pass",
        pytest.param(
            "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {2})\nwhile True: pass",
            marks=needs("os"),
        ),
    ],
)
async def test_a_cell_that_does_not_stop_is_killed_and_the_variables_from_before_stay(quick, code):
    await quick.run("kept = 1")
    with anyio.fail_after(10):
        result = await quick.run("kept = 2\n" + code)
    assert (result.status, result.lost) == ("died", False)
    assert "was killed: the cell computed for 0.25 s" in result.error
    assert await quick.value("kept") == "1"


@needs("interrupts")
async def test_a_hostile_preview_cannot_hang_the_repl(quick):
    with anyio.fail_after(10):
        result = await quick.run(
            "class E:\n    def __repr__(s):\n        while True: pass\nx = E()"
        )
    assert (result.status, result.lost) == ("ok", False)
    assert await quick.value("1") == "1"


async def test_the_clock_stands_still_while_a_call_is_open(quick):
    cursor = await quick.backend.submit("h", 1, Cell("asks", "llm_query('slow')"))
    batch = await quick.backend.pump("h", "asks", cursor, wait_s=5)
    (asked,) = batch.events
    nothing = await quick.backend.pump("h", "asks", batch.cursor, wait_s=1.5)
    assert nothing.events == ()
    reply = Reply(asked.call_id, (SubReply("late"),))
    batch = await quick.backend.pump("h", "asks", nothing.cursor, [reply], wait_s=5)
    (done,) = batch.events
    assert isinstance(done, CellDone)
    assert (done.result.status, done.result.output) == ("ok", "'late'\n")
    assert done.result.seconds < 0.25


@pytest.mark.parametrize(
    "code",
    [pytest.param("while True: pass", marks=needs("interrupts")), "llm_query('never answered')"],
)
async def test_interrupt_stops_a_cell_at_once(repl, code):
    await repl.run("kept = 1")
    cursor = await repl.backend.submit("h", 1, Cell("stuck", code))
    with anyio.fail_after(5):
        await repl.backend.interrupt("h", 1, "stuck")
        batch = await repl.backend.pump("h", "stuck", cursor, wait_s=5)
    result = batch.events[-1].result
    assert (result.status, result.lost) == ("interrupted", False)
    assert "the cell was interrupted" in result.error
    await repl.backend.interrupt("h", 1, "stuck")
    assert await repl.value("kept") == "1"


@needs("threads")
async def test_threads_of_an_interrupted_cell_stop_waiting_for_answers(repl):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(20) as pool:\n    list(pool.map(llm_query, map(str, range(20))))"
    )
    cursor = await repl.backend.submit("h", 1, Cell("threads", code))
    with anyio.fail_after(10):
        while len((await repl.backend.pump("h", "threads", cursor)).events) < 20:
            await anyio.lowlevel.checkpoint()
        await repl.backend.interrupt("h", 1, "threads")
        assert await repl.value("llm_query('in step')") == "'<in step>'"


@needs("threads")
@pytest.mark.parametrize(
    "start",
    ["threading.Thread(target=tick, daemon=True).start()", "_thread.start_new_thread(tick, ())"],
)
async def test_a_thread_left_running_ends_with_its_cell(repl, start):
    await repl.run(
        "import _thread, threading, time\nticks = []\n"
        "def tick():\n    while True: ticks.append(1); time.sleep(0.001)\n"
        + start
        + "\nwhile not ticks: time.sleep(0.001)"
    )
    first = await repl.value("len(ticks)")
    assert await repl.value("len(ticks)") == first


@needs("threads", "one process")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how many there are")
async def test_a_guest_with_a_crowd_of_threads_is_killed(repl):
    code = (
        "import _thread, threading, time\nthreading.stack_size(1 << 16)\n"
        "for _ in range(600): _thread.start_new_thread(time.sleep, (60,))\ntime.sleep(60)"
    )
    with anyio.fail_after(20):
        result = await repl.run(code)
    assert result.status == "died"
    assert "threads, and 512 are allowed" in result.error
    assert await repl.value("1") == "1"


@pytest.mark.parametrize(
    "code",
    ["b = 'x' * (4 << 30)", "b = []\nwhile True: b.append('x' * 10**6)", "list(range(10**9))"],
)
async def test_a_cell_over_its_memory_gets_an_error_and_variables_are_kept(repl, code):
    with anyio.fail_after(30):
        result = await repl.run("kept = 1\n" + code)
        assert (result.status, result.lost) == ("memory", False)
        assert "MemoryError" in result.error
        assert "The REPL's limit is 512 MB" in result.error
        assert await repl.value("b = None\nkept") == "1"


@needs("os", "one process", "checkpoints")
@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os\nos._exit(3)", "ended by itself (exit status 3)"),
        ("import os\nos.abort()", "ended by itself"),
    ],
)
async def test_a_cell_that_ends_its_process_is_reported_and_the_next_one_works(repl, code, how):
    await repl.run("kept = 1")
    result = await repl.run("kept = 2\n" + code)
    assert (result.status, result.lost) == ("died", False)
    assert how in result.error
    assert await repl.value("kept") == "1"


async def test_a_crash_in_native_code_is_reported(repl):
    result = await repl.run("x = None\nfor _ in range(10**6): x = (x,)\nhash(x)")
    assert result.status in {"died", "error", "memory"}
    assert await repl.value("1") == "1"


@needs("threads", "one process", "checkpoints")
async def test_a_death_between_two_cells_is_told_by_the_next(repl):
    process = await repl.value("import os\nos.getpid()")
    # A new process repeats the cell, and must not end of it.
    await repl.run(
        "import _thread, time\n"
        "def later():\n    try: time.sleep(0.5)\n    finally: os._exit(5)\n"
        f"if os.getpid() == {process}: _thread.start_new_thread(later, ())"
    )
    with anyio.fail_after(10):
        while "ended by itself" not in str(result := await repl.run("1")):
            pass
    assert result.status == "died" or "between two cells" in result.output
    assert (await repl.run("2")).output.endswith("2\n")


async def test_the_host_stays_small_whatever_a_guest_prints_or_answers(repl):
    await repl.run("1")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await repl.run("print('x' * (200 << 20))\nFINAL('y' * (100 << 20))")
    assert result.final.cut
    assert len(result.final.text) == LIMITS.answer_chars
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
