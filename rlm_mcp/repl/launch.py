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

CHUNK_BYTES = 1 << 16
# All that a guest has of one. The same code makes the same sets, wherever and whenever it runs.
ENVIRONMENT = {
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "2",
}
DESCRIPTOR_ROOM = (
    socket.CMSG_SPACE(array.array("i").itemsize) if hasattr(socket, "CMSG_SPACE") else 0
)
# On Windows every signal is an end: an interrupt too, but for the boxes that have their own way.
KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
# As `-I`, which would not see the hash seed either: the environment is ours, and nobody else's.
ISOLATED = ("-P", "-s", "-B", "-X", "utf8", "-c")
BARE_PYTHON = ("-S", *ISOLATED)


class Wire(Protocol):
    """Bytes to and from one guest. `passes_descriptors` says whether open files can go along."""

    passes_descriptors: bool

    async def receive(self) -> bytes:
        """The next bytes; none once the guest is gone. May raise OSError."""
        ...

    def passed(self) -> int | None:
        """The one descriptor that came along with the first bytes, None if none did."""
        ...

    def send_some(self, frame: memoryview, descriptors: Sequence[int] = ()) -> int:
        """Hand over what can go at once and say how many bytes that was.

        Descriptors go with the first byte. May raise OSError.
        """
        ...

    async def send(self, frame: memoryview, descriptors: Sequence[int] = ()) -> int:
        """As `send_some`, once at least one byte can go."""
        ...

    async def close(self) -> None:
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
        """End it at once."""
        ...

    async def wait(self) -> None:
        """Wait until it has ended."""
        ...

    def sweep(self) -> None:
        """End whatever it started and left behind."""
        ...


@dataclass(frozen=True, slots=True)
class Started:
    """A guest that was just started. `runs_cells`: they run in that process and not behind it."""

    running: Running
    wire: Wire
    runs_cells: bool = True


class SocketWire:
    """One end of a pair of sockets: descriptors pass."""

    passes_descriptors = True

    def __init__(self, ours: socket.socket) -> None:
        ours.setblocking(False)
        self._socket = ours
        self._takes = True
        self._passed: list[int] = []

    async def receive(self) -> bytes:
        """See `Wire.receive`."""
        while True:
            await anyio.wait_readable(self._socket)
            with contextlib.suppress(BlockingIOError):
                return self._receive_now()

    def _receive_now(self) -> bytes:
        if not self._takes:
            # The kernel closes what a guest sends along unasked.
            return self._socket.recv(CHUNK_BYTES)
        chunk, extra, _, _ = self._socket.recvmsg(CHUNK_BYTES, DESCRIPTOR_ROOM)
        for level, kind, payload in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._passed += array.array("i", payload)
                self._takes = False
        return chunk

    def passed(self) -> int | None:
        """See `Wire.passed`."""
        self._takes = False
        return self._passed.pop(0) if self._passed else None

    def send_some(self, frame: memoryview, descriptors: Sequence[int] = ()) -> int:
        """See `Wire.send_some`."""
        rights = array.array("i", descriptors)
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        try:
            return self._socket.sendmsg([frame], extra)
        except BlockingIOError:
            return 0

    async def send(self, frame: memoryview, descriptors: Sequence[int] = ()) -> int:
        """See `Wire.send`."""
        while not (sent := self.send_some(frame, descriptors)):
            await anyio.wait_writable(self._socket)
        return sent

    async def close(self) -> None:
        """See `Wire.close`."""
        self._socket.close()
        for descriptor in self._passed:
            os.close(descriptor)
        self._passed.clear()


class Handle:
    """A hold on a process that is never another one's: its number may be given again."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # Elsewhere the number has to do; it is free again only once we have waited for the end.
        self.descriptor = os.pidfd_open(pid) if sys.platform == "linux" else None
        self._closed = False

    def send(self, number: signal.Signals) -> None:
        """Signal it, unless it is gone."""
        if self._closed:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.descriptor is not None and sys.platform == "linux":
                signal.pidfd_send_signal(self.descriptor, number)
            else:
                os.kill(self._pid, number)

    def close(self) -> None:
        """It is gone."""
        if self.descriptor is not None and not self._closed:
            os.close(self.descriptor)
        self._closed = True


class GroupLeader:
    """A child process that leads a process group of its own."""

    def __init__(self, started: Process) -> None:
        self._started = started
        self.pid = started.pid
        # asyncio's own way to signal looks for the end first, and takes it from who waits for it.
        self._handle = Handle(started.pid)

    @property
    def status(self) -> int | None:
        """See `Running.status`."""
        return self._started.returncode

    def interrupt(self) -> None:
        """See `Running.interrupt`."""
        self._handle.send(signal.SIGINT)

    def kill(self) -> None:
        """See `Running.kill`."""
        self._handle.send(KILL)

    async def wait(self) -> None:
        """See `Running.wait`."""
        await self._started.wait()
        self._handle.close()

    def sweep(self) -> None:
        """See `Running.sweep`."""
        sweep(self.pid)


def sweep(group: int) -> None:
    """End a process group. Its number is not given to another one while a process is left in it."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


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
