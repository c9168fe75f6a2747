"""One guest process: start it, speak with it, signal it, bury it."""

import array
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Self

import anyio
from anyio.abc import Process

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.repl.guest.wire import Message, Splitter, pack
from rlm_mcp.repl.program import Program

if sys.platform == "linux":
    import resource

CHUNK_BYTES = 1 << 18
END_S = 5.0
THREADS_AT = 17
ENVIRONMENT = {
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "MALLOC_ARENA_MAX": "2",
}


class Child:
    """A running guest. Its owner drives `write` and `read` in tasks and then awaits `end`."""

    def __init__(self, running: Process, wire: socket.socket, frame_bytes: int) -> None:
        self._running = running
        self._wire = wire
        self._splitter = Splitter(frame_bytes)
        self._outbox: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._written = anyio.Event()
        self._ended = False
        self.unread_bytes = 0

    @classmethod
    async def start(cls, program: Program, frame_bytes: int) -> Self:
        """Start a guest that runs the program.

        It must be the event loop's own thread that starts it: on Linux the guest ends with the
        thread that did.

        Raises:
            ReplUnavailable: the system starts no process.
        """
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as unless_started, theirs, program.file.open("rb") as file:
            unless_started.callback(ours.close)
            descriptors = (theirs.fileno(), file.fileno())
            command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c"]
            try:
                running = await anyio.open_process(
                    [*command, program.loader, *map(str, descriptors)],
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
        ours.setblocking(False)
        return cls(running, ours, frame_bytes)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Put a frame behind those to be written; the descriptors are closed once they are over."""
        if self._ended:
            self._close(descriptors)
            return
        frame = memoryview(pack(message))
        self._outbox.append((frame, tuple(descriptors)))
        self.unread_bytes += len(frame)
        self._written.set()

    async def write(self) -> None:
        """Write what is sent, until cancelled or the guest is gone.

        Raises:
            OSError: the system does not let it.
        """
        with contextlib.suppress(ConnectionError, BrokenPipeError):
            while True:
                while self._outbox:
                    frame, descriptors = self._outbox[0]
                    await self._write_frame(frame, descriptors)
                    self._outbox.popleft()
                    self.unread_bytes -= len(frame)
                    self._close(descriptors)
                self._written = anyio.Event()
                await self._written.wait()

    async def _write_frame(self, rest: memoryview, descriptors: tuple[int, ...]) -> None:
        rights = array.array("i", descriptors)
        extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        while rest:
            try:
                rest = rest[self._wire.sendmsg([rest], extra) :]
                extra = []
            except BlockingIOError:
                await anyio.wait_writable(self._wire)

    async def read(self) -> AsyncGenerator[Message, None]:
        """Every message until the guest is gone.

        Raises:
            BadFrame: it sent something that is no frame.
            OSError: the system does not let it.
        """
        while True:
            await anyio.wait_readable(self._wire)
            try:
                chunk = self._wire.recv(CHUNK_BYTES)
            except BlockingIOError:
                continue
            except ConnectionError:
                return
            if not chunk:
                return
            for message in self._splitter.feed(chunk):
                yield message

    def grow(self, space_bytes: int) -> None:
        """Let the guest have that much address space."""
        with contextlib.suppress(ProcessLookupError):
            hard = resource.prlimit(self._running.pid, resource.RLIMIT_AS)[1]
            resource.prlimit(self._running.pid, resource.RLIMIT_AS, (space_bytes, hard))

    def threads(self) -> int | None:
        """How many it has; None where the system does not tell. See proc_pid_stat(5)."""
        try:
            stat = Path(f"/proc/{self._running.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return None
        return int(stat.rpartition(")")[2].split()[THREADS_AT])

    def interrupt(self) -> None:
        """SIGINT: user code sees a KeyboardInterrupt."""
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL for the guest and whatever it started."""
        if self._running.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._running.pid, signal.SIGKILL)

    async def end(self) -> int | None:
        """Kill it, wait for its end, close everything; its exit status, None if it will not go."""
        self.kill()
        with anyio.move_on_after(END_S, shield=True):
            await self._running.wait()
        self._ended = True
        self._wire.close()
        while self._outbox:
            self._close(self._outbox.popleft()[1])
        return self._running.returncode

    @staticmethod
    def _close(descriptors: Sequence[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
