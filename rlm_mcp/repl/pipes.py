"""A wire over a child's standard input and output, for a guest that no socket reaches."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

import anyio
import anyio.to_thread
from anyio.abc import Process

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.repl.launch import BARE_PYTHON, ENVIRONMENT, GroupLeader, Started, sweep
from rlm_mcp.repl.program import Program

# As guest/loader.py reads it: what comes in, and what goes out.
STANDARD = "0:1"
PIECE_BYTES = 1 << 18
HINT = "Free memory or raise the limit of processes, then try again."


class PipeWire:
    """A child's two pipes: nothing goes at once, and no descriptors go along."""

    passes_descriptors = False

    def __init__(self, child: Process) -> None:
        assert child.stdin
        assert child.stdout
        self._to, self._back = child.stdin, child.stdout

    async def receive(self) -> bytes:
        """See `Wire.receive`."""
        try:
            return await self._back.receive(PIECE_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return b""

    def passed(self) -> None:
        """See `Wire.passed`."""

    def send_some(self, _frame: memoryview, _descriptors: Sequence[int] = ()) -> int:
        """See `Wire.send_some`."""
        return 0

    async def send(self, frame: memoryview, _descriptors: Sequence[int] = ()) -> int:
        """See `Wire.send`."""
        piece = bytes(frame[:PIECE_BYTES])
        try:
            await self._to.send(piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise ConnectionError(str(error)) from error
        return len(piece)

    async def close(self) -> None:
        """See `Wire.close`."""
        await self._to.aclose()
        await self._back.aclose()


class Piped(GroupLeader):
    """A child on two pipes. Where there are no signals it is not interrupted, only ended."""

    def interrupt(self) -> None:
        """See `Running.interrupt`."""
        if sys.platform != "win32":
            super().interrupt()

    async def wait(self) -> None:
        """See `Running.wait`. What it leaves behind ends too, and may be this process's to bury."""
        await super().wait()
        if sys.platform != "win32":
            sweep(self.pid)
            await anyio.to_thread.run_sync(_bury, self.pid)

    def sweep(self) -> None:
        """See `Running.sweep`. Nothing is left behind."""


def _bury(group: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-group, 0)


async def on_pipes(program: Program) -> Started:
    """A guest of this Python, over its standard input and output.

    Raises:
        ReplUnavailable: the system starts no process.
    """
    command = [sys.executable, *BARE_PYTHON, program.loader, STANDARD, str(program.file)]
    child = await open_on_pipes(command, ENVIRONMENT)
    return Started(Piped(child), PipeWire(child))


async def open_on_pipes(command: Sequence[str], environment: Mapping[str, str] | None) -> Process:
    """Start a child that speaks on its standard input and output, in a session of its own.

    An `environment` of None is this process's.

    Raises:
        ReplUnavailable: the system starts no process.
    """
    try:
        return await anyio.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise ReplUnavailable(f"No REPL process could be started: {error}.", HINT) from error
