"""The guest's end of the wire: one thread reads, any thread writes, and no signal tears a frame."""

import _thread
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .lines import Line
from .wire import Message, Splitter, pack

FRAME_BYTES = 0xFFFFFFFF
HOST_GONE = 0
# Bound once: code may patch the modules.
_start, _ident, _lock, _exit = (
    _thread.start_new_thread, _thread.get_ident, _thread.allocate_lock, os._exit,
)  # fmt: skip
# Windows has none.
_set_mask = getattr(signal, "pthread_sigmask", None)
_WHOLE, _MORE = getattr(signal, "SIG_SETMASK", 0), getattr(signal, "SIG_BLOCK", 0)
_INTERRUPT = signal.SIGINT


class Interrupts:
    """Says when SIGINT may raise: once, and only while a cell's own code runs.

    Python runs signal handlers in the main thread between two instructions, so a flag is enough.
    """

    def __init__(self) -> None:
        self.fired = False
        self._armed = False
        self._pending = False
        self._main = _ident()
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        # The host repeats itself until the cell ends; once is enough.
        if not self.fired:
            self._pending = True
            if self._armed:
                self._fire()

    def _fire(self) -> None:
        self._armed = self._pending = False
        self.fired = True
        raise KeyboardInterrupt("stopped by the host")

    def forget(self) -> None:
        """A cell begins: a signal that came before was meant for another, as was a mask."""
        if _set_mask:
            _set_mask(_WHOLE, ())
        self.fired = self._pending = False

    @contextmanager
    def armed(self) -> Iterator[None]:
        """User code runs in this block; a signal that came shortly before it counts."""
        try:
            self._arm()
            yield
        finally:
            self._armed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a signal back until the block is done."""
        if _ident() != self._main or not self._armed:
            yield
            return
        self._armed = False
        try:
            yield
        finally:
            self._arm()

    def _arm(self) -> None:
        self._armed = True
        if self._pending:
            self._fire()


class Channel:
    """Frames to and from the host; passed descriptors come with their frame."""

    def __init__(self, line: Line, interrupts: Interrupts) -> None:
        self.line = line
        self._interrupts = interrupts
        self._writing = _lock()
        self._messages = self._read()
        self.descriptors: list[int] = []

    def reopen(self, line: Line) -> None:
        """Go on over another line; who calls has closed the old one. No thread may be reading."""
        self.line.forget()
        self.line = line
        self._writing = _lock()
        self._messages = self._read()
        self.descriptors.clear()

    def send(self, message: Message) -> None:
        """Write one frame, whole, whoever asks at the same time."""
        self.send_frame(pack(message))

    def send_frame(self, frame: bytes) -> None:
        """As `send`, for a frame that is packed already."""
        with self._interrupts.held(), self._writing:
            self.line.write(frame)

    def receive(self) -> Message:
        """The next frame; only one thread may read at a time."""
        return next(self._messages)

    def serve(self, take: Callable[[Message], None]) -> int:
        """Hand every further frame to `take` in a thread of its own, until the host is gone.

        Signals are for the main thread: a frame is never left half read. Gives the thread's
        identity.
        """

        def read() -> None:
            try:
                if _set_mask:
                    _set_mask(_MORE, {_INTERRUPT})
                for message in self._messages:
                    take(message)
            finally:
                _exit(HOST_GONE)

        return _start(read, ())

    def _read(self) -> Iterator[Message]:
        splitter = Splitter(FRAME_BYTES)
        while True:
            chunk, passed = self.line.read()
            if not chunk:
                return
            self.descriptors.extend(passed)
            yield from splitter.feed(chunk)
