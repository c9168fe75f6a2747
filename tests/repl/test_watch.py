"""Threads and memory of a process are seen from outside, and too much of either is told."""

import ctypes
import mmap
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from repl_driver import Driver

from rlm_mcp.repl import watch
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.repl.watch import Excess, ResourceUsage, TaskUsage, Usage

MB = 1 << 20
SLOWLY = """
import time
kept = 1
held = []
while True:
    held.append(bytearray(1 << 20))
    time.sleep(0.02)
"""
AT_ONCE = """
import time
held = bytearray(b'x') * (400 << 20)
while True:
    pass
"""
GREEDY = """
import sys, threading
held = bytearray(96 << 20)
stop = threading.Event()
threads = [threading.Thread(target=stop.wait) for _ in range(5)]
for thread in threads:
    thread.start()
print("ready", flush=True)
sys.stdin.read()
stop.set()
"""


@pytest.mark.skipif(sys.platform not in {"linux", "darwin"}, reason="no system tells it there")
def test_a_process_is_seen_with_its_threads_and_its_memory():
    with subprocess.Popen(
        [sys.executable, "-c", GREEDY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"ready\n"
        used = watch.usage(child.pid)
        child.stdin.close()
        child.wait()

    assert used.threads == 6
    assert 96 * MB < used.memory_bytes < 160 * MB
    assert watch.usage(child.pid) is None


@pytest.mark.skipif(sys.platform != "linux", reason="another system maps differently")
def test_a_mapped_file_does_not_count(tmp_path):
    before = watch.usage(os.getpid()).memory_bytes
    (tmp_path / "book").write_bytes(bytes(64 * MB))
    with (
        (tmp_path / "book").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages,
    ):
        assert pages.find(b"needle") == -1
        after = watch.usage(os.getpid()).memory_bytes

    assert after - before < 32 * MB


@pytest.mark.parametrize(
    ("used", "limit", "expected"),
    [
        (Usage(512, 100 * MB), 100 * MB, None),
        (Usage(1, 900 * MB), None, None),
        (
            Usage(1, 101 * MB),
            100 * MB,
            Excess("it used 101 MB, and 100 MB are allowed", fatal=False),
        ),
        (
            Usage(1, 126 * MB),
            100 * MB,
            Excess("it used 126 MB, and 100 MB are allowed", fatal=True),
        ),
        (Usage(513, 0), None, Excess("it had 513 threads, and 512 are allowed", fatal=True)),
    ],
)
def test_too_much_is_first_asked_to_stop_and_then_ended(used, limit, expected):
    assert watch.excess(used, limit) == expected


def test_the_structures_of_macos_are_laid_out_as_its_headers_say():
    assert (ctypes.sizeof(ResourceUsage), ResourceUsage.physical_footprint.offset) == (96, 72)
    assert (ctypes.sizeof(TaskUsage), TaskUsage.threads.offset) == (96, 84)


@pytest.fixture
async def watched(program_cache):
    """A guest whose memory only the host bounds, as on macOS."""
    async with LocalBackend(program_cache, "plain") as backend:
        driver = Driver(backend)
        await driver.open()
        guest = backend._repls["h"]._guest
        used = watch.usage(guest._child.pid).memory_bytes
        guest._space_bytes = 0
        guest.limits = replace(guest.limits, memory_bytes=used + 100 * MB)
        yield driver


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform not in {"linux", "darwin"}, reason="no system tells it there")
async def test_a_cell_that_takes_too_much_is_interrupted_and_keeps_what_it_has(watched):
    result = await watched.run(SLOWLY)

    assert result.status == "interrupted"
    assert "MB are allowed. Variables assigned before are kept." in result.error
    assert await watched.value("del held\nkept") == "1"


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform not in {"linux", "darwin"}, reason="no system tells it there")
async def test_a_cell_that_takes_far_too_much_is_killed(watched):
    result = await watched.run(AT_ONCE)

    assert result.status == "died"
    assert "was killed: it used" in result.error
