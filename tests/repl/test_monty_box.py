"""What only the Monty box has: a second process behind the one that the host started."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from repl_driver import Driver

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.repl.monty.source import bound_names, with_value
from rlm_mcp.types import Cell, Cursor

pytestmark = pytest.mark.anyio

HOST = """
import anyio, sys
from pathlib import Path
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Cell, ReplLimits, ReplSpec

async def main():
    async with LocalBackend(Path(sys.argv[1]), "monty") as backend:
        await backend.open(ReplSpec("h", 1, (), ReplLimits()))
        await backend.submit("h", 1, Cell("busy", "while True: pass"))
        print("busy", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture(autouse=True)
def monty():
    try:
        boxes.load("monty").require()
    except SandboxUnavailable as refusal:
        pytest.skip(refusal.message)


def below(pid: int) -> set[int]:
    """Every process that descends from that one, dead ones that wait to be buried too."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = {int(word) for word in children.read_text(encoding="utf-8").split()}
    return found.union(*map(below, found))


async def ended(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    await anyio.wait_readable(descriptor)
    os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's children")
async def test_an_endless_interpreter_does_not_outlive_a_killed_host(cache):
    async with await anyio.open_process(
        [sys.executable, "-c", HOST, cache], stderr=subprocess.DEVNULL
    ) as host:
        with anyio.fail_after(20):
            assert (await host.stdout.receive()).startswith(b"busy")
            processes = below(host.pid)
            assert len(processes) == 3  # ours, the interpreter's, and the keeper
            os.kill(host.pid, signal.SIGKILL)
            for pid in processes:
                await ended(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's children")
async def test_an_endless_interpreter_is_ended_and_buried_with_its_repl(cache):
    before = below(os.getpid())
    async with LocalBackend(cache, "monty") as backend:
        driver = Driver(backend)
        await driver.open()
        await backend.submit("h", 1, Cell("busy", "while True: pass"))
        with anyio.fail_after(10):
            await backend.close("h")
    assert below(os.getpid()) == before


async def test_a_crash_of_the_interpreter_costs_one_cell(cache):
    async with LocalBackend(cache, "monty") as backend:
        driver = Driver(backend)
        await driver.open()
        await driver.run("kept = [1, 2]")
        cursor = await backend.submit("h", 1, Cell("busy", "while True: pass"))
        (worker,) = (pid for child in below(os.getpid()) for pid in below(child))
        os.kill(worker, signal.SIGKILL)
        batch = await backend.pump("h", "busy", Cursor(cursor.epoch, 0), wait_s=10)
        assert batch.events[-1].result.status == "died"
        assert (await driver.run("kept")).output.endswith("[1, 2]\n")


async def test_what_failed_in_a_batch_is_none(cache):
    from rlm_mcp.types import SubReply

    async with LocalBackend(cache, "monty") as backend:
        driver = Driver(backend)
        await driver.open()
        result = await driver.run(
            "llm_query_batched(['a', 'b'])",
            model=lambda asked: SubReply(None, "busy") if asked.prompt == "b" else SubReply("ok"),
        )
        notice, value = result.output.splitlines()
        assert notice == "[llm_query_batched: 1 of 2 failed; the first: busy]"
        assert value == "['ok', None]"


@pytest.mark.parametrize("statement", [
    "def f():\n    yield 1", "del x", "class A(Exception): pass", "globals()", "import threading",
    "class A:\n    @property\n    def x(self): return 1", "from collections import OrderedDict",
    "class A:\n    def __len__(self): return 1\nlen(A())",
])  # fmt: skip
async def test_what_the_model_is_told_to_be_missing_is(cache, statement):
    async with LocalBackend(cache, "monty") as backend:
        driver = Driver(backend)
        await driver.open()
        assert (await driver.run("x = 1\n" + statement)).status == "error"


async def test_every_module_the_model_is_told_of_can_be_imported(cache):
    told = boxes.load("monty").DIALECT.partition("finds only: ")[2].partition(".")[0]
    names = [name.split()[0] for name in told.split(",")]
    async with LocalBackend(cache, "monty") as backend:
        driver = Driver(backend)
        await driver.open()
        result = await driver.run("\n".join(f"import {name}" for name in names))
        assert (len(names), result.status) == (21, "ok"), result.error


@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("1 + 1", "_rlm_value = (1 + 1)"),
        ("x = 'é'; x  # why", "x = 'é'; _rlm_value = (x)  # why"),
        ("f(\n    1,\n)", "_rlm_value = (f(\n    1,\n))"),
        ("x = 1", "x = 1"),
        ("def broken(:", "def broken(:"),
    ],
)
def test_a_last_expression_is_bound_and_lines_stay_lines(code, changed):
    assert with_value(code) == changed


def test_names_are_those_that_the_next_cell_can_see():
    code = (
        "import os\nfrom os import path as p\na, (b, *c) = 1, (2, 3)\nfor d in []: e = 1\n"
        "def f(g):\n    global h\n    i = 1\nclass J:\n    k = 1\n[l for l in []]\n(m := 1)"
    )
    assert bound_names(code) == ["p", "a", "b", "c", "d", "e", "f", "h", "J", "m"]
