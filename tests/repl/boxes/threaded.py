"""The plain box over pipes that threads wait on, as on Windows."""

import os
import signal
import subprocess
import sys

import anyio

from rlm_mcp.repl.boxes.plain import DIALECT, GUEST, ISOLATION, NOTICE, PLATFORM, proved, require
from rlm_mcp.repl.launch import BARE_PYTHON, ENVIRONMENT, Started, sweep
from rlm_mcp.repl.program import Program
from rlm_mcp.repl.threaded import ThreadedWire
from rlm_mcp.types import ReplLimits

__all__ = [
    "DIALECT", "GUEST", "ISOLATION", "LACKS", "NOTICE", "PLATFORM", "proved", "require", "start",
]  # fmt: skip

LACKS = frozenset({"checkpoints"})


class Running:
    """A child that is waited for in a thread."""

    def __init__(self, child: subprocess.Popen) -> None:
        self._child = child
        self.pid = child.pid

    @property
    def status(self) -> int | None:
        return self._child.poll()

    def interrupt(self) -> None:
        self._child.send_signal(signal.SIGINT)

    def kill(self) -> None:
        self._child.kill()

    async def wait(self) -> None:
        await anyio.to_thread.run_sync(self._child.wait)

    def sweep(self) -> None:
        sweep(self.pid)


async def start(program: Program, _limits: ReplLimits) -> Started:
    """This Python, in a process of its own, over pipes without an event loop's knowledge."""
    # In this thread: a guest ends with the one that started it.
    return start_now(program)


def start_now(program: Program) -> Started:
    read, to = os.pipe()
    back, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, *BARE_PYTHON, program.loader, "0:1", str(program.file)],
        stdin=read,
        stdout=write,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
    )
    os.close(read)
    os.close(write)
    return Started(Running(child), ThreadedWire(back, to))
