"""One guest process from the host's side: frames to it and from it, until it is buried."""

import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Sequence

import anyio

from rlm_mcp.repl.guest.wire import Message, Splitter, pack
from rlm_mcp.repl.launch import Started

if sys.platform == "linux":
    import resource

END_S = 5.0


class Child:
    """A running guest. Its owner drives `write` and `read` in tasks and then awaits `end`."""

    def __init__(self, started: Started, frame_bytes: int) -> None:
        self._running = started.running
        self._wire = started.wire
        self.runs_cells = started.runs_cells
        self._splitter = Splitter(frame_bytes)
        self._outbox: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._waiting = anyio.Event()
        self._written = anyio.Event()
        self._ended = False
        self.unread_bytes = 0

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._running.pid

    def passed(self) -> int | None:
        """The descriptor that came along with the first frames, None if none did."""
        return self._wire.passed()

    @property
    def passes_descriptors(self) -> bool:
        """Whether open files can be sent."""
        return self._wire.passes_descriptors

    def expect(self, frame_bytes: int) -> None:
        """Take no frame that is larger."""
        self._splitter.limit = frame_bytes

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Write a frame, or put it behind those that wait; then the descriptors are closed."""
        rest = memoryview(pack(message))
        if not self._outbox and not self._ended:
            # Nothing waits and the guest reads: no other task needs to be woken.
            sent = self._send_some(rest, descriptors)
            rest = rest[sent:]
            if sent:
                self._close(descriptors)
                descriptors = ()
        if self._ended or not rest:
            self._close(descriptors)
            return
        self._outbox.append((rest, tuple(descriptors)))
        self.unread_bytes += len(rest)
        self._waiting.set()

    def _send_some(self, rest: memoryview, descriptors: Sequence[int]) -> int:
        # A guest that is gone is noticed where it is read.
        with contextlib.suppress(ConnectionError):
            return self._wire.send_some(rest, descriptors)
        return len(rest)

    async def _send(self, rest: memoryview, descriptors: Sequence[int]) -> int:
        with contextlib.suppress(ConnectionError):
            return await self._wire.send(rest, descriptors)
        return len(rest)

    async def written(self) -> bool:
        """Wait until nothing waits to be written; False if the guest is gone instead."""
        while self._outbox and not self._ended:
            if self._written.is_set():
                self._written = anyio.Event()
            await self._written.wait()
        return not self._ended

    async def write(self) -> None:
        """Write what could not be sent at once, until cancelled.

        Raises:
            OSError: the system does not let it.
        """
        while True:
            while self._outbox:
                frame, descriptors = self._outbox[0]
                sent = await self._send(frame, descriptors)
                self._close(descriptors)
                self.unread_bytes -= sent
                if sent == len(frame):
                    self._outbox.popleft()
                else:
                    self._outbox[0] = (frame[sent:], ())
            self._written.set()
            self._waiting = anyio.Event()
            await self._waiting.wait()

    async def read(self) -> AsyncGenerator[Message, None]:
        """Every message until the guest is gone.

        Raises:
            BadFrame: it sent something that is no frame.
            OSError: the system does not let it.
        """
        with contextlib.suppress(ConnectionError):
            while chunk := await self._wire.receive():
                for message in self._splitter.feed(chunk):
                    yield message

    def grow(self, space_bytes: int) -> None:
        """Let the guest have that much address space."""
        with contextlib.suppress(ProcessLookupError):
            hard = resource.prlimit(self._running.pid, resource.RLIMIT_AS)[1]
            resource.prlimit(self._running.pid, resource.RLIMIT_AS, (space_bytes, hard))

    def interrupt(self) -> None:
        """User code sees a KeyboardInterrupt."""
        self._running.interrupt()

    def kill(self) -> None:
        """End the process."""
        self._running.kill()

    def sweep(self) -> None:
        """End whatever it started and left behind."""
        self._running.sweep()

    async def end(self) -> int | None:
        """Kill it, wait for its end, close everything; its exit status, None if it will not go."""
        self.kill()
        with anyio.move_on_after(END_S, shield=True):
            await self._running.wait()
        self._ended = True
        self._written.set()
        await self._wire.close()
        while self._outbox:
            self._close(self._outbox.popleft()[1])
        return self._running.status

    @staticmethod
    def _close(descriptors: Sequence[int]) -> None:
        for descriptor in descriptors:
            os.close(descriptor)
