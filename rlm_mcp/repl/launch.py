"""Starting a guest: its process, and the wire to it."""

import array
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.abc import Process

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.repl.program import Program

CHUNK_BYTES = 1 << 18
ENVIRONMENT = {
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "2",
}
BARE_PYTHON = ("-I", "-S", "-B", "-X", "utf8", "-c")


class Wire(Protocol):
    """Bytes to and from one guest. `passes_descriptors` says whether open files can go along."""

    passes_descriptors: bool

    async def receive(self) -> bytes:
        """The next bytes; none once the guest is gone. May raise OSError."""
        ...

    def send_some(self, frame: memoryview, descriptors: Sequence[int] = ()) -> int:
        """Hand over what can go at once and say how many bytes that was.

        Descriptors go with the first byte. May raise OSError.
        """
        ...

    async def writable(self) -> None:
        """Wait until `send_some` can take more."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Running(Protocol):
    """A guest's process."""

    @property
    def pid(self) -> int:
        """Its number here."""
        ...

    @property
    def status(self) -> int | None:
        """How it ended, a signal as its negative; None while it runs or where nobody knows."""
        ...

    def interrupt(self) -> None:
        """Have user code see a KeyboardInterrupt."""
        ...

    def kill(self) -> None:
        """End it and whatever it started, at once."""
        ...

    async def wait(self) -> None:
        """Wait until it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Started:
    """A guest that was just started."""

    running: Running
    wire: Wire


class SocketWire:
    """One end of a pair of sockets: descriptors pass."""

    passes_descriptors = True

    def __init__(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        self._socket = ours

    async def receive(self) -> bytes:
        """See `Wire.receive`."""
        while True:
            await anyio.wait_readable(self._socket)
            with contextlib.suppress(BlockingIOError):
                return self._socket.recv(CHUNK_BYTES)

    def send_some(self, frame: memoryview, descriptors: Sequence[int] = ()) -> int:
        """See `Wire.send_some`."""
        rights = array.array("i", descriptors)
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        try:
            return self._socket.sendmsg([frame], extra)
        except BlockingIOError:
            return 0

    async def writable(self) -> None:
        """See `Wire.writable`."""
        await anyio.wait_writable(self._socket)

    def close(self) -> None:
        """See `Wire.close`."""
        self._socket.close()


class GroupLeader:
    """A child process that leads a process group of its own."""

    def __init__(self, started: Process) -> None:
        self._started = started
        self.pid = started.pid

    @property
    def status(self) -> int | None:
        """See `Running.status`."""
        return self._started.returncode

    def interrupt(self) -> None:
        """See `Running.interrupt`."""
        with contextlib.suppress(ProcessLookupError):
            self._started.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """See `Running.kill`."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def wait(self) -> None:
        """See `Running.wait`."""
        await self._started.wait()


async def on_socket(program: Program) -> Started:
    """A guest of this Python, over a pair of sockets.

    It must be the event loop's own thread that starts it: on Linux the guest ends with the thread
    that did.

    Raises:
        ReplUnavailable: the system starts no process.
    """
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as unless_started, theirs, program.file.open("rb") as file:
        unless_started.callback(ours.close)
        descriptors = (theirs.fileno(), file.fileno())
        command = [sys.executable, *BARE_PYTHON, program.loader, *map(str, descriptors)]
        try:
            started = await anyio.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
                pass_fds=descriptors,
            )
        except OSError as error:
            raise ReplUnavailable(
                f"No REPL process could be started: {error}.",
                "Free memory or raise the limit of processes, then try again.",
            ) from error
        unless_started.pop_all()
    return Started(GroupLeader(started), SocketWire(ours))
