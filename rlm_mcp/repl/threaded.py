"""A wire over two pipes that no event loop can wait on: each direction has a thread that waits.

On Windows the loop waits on overlapped handles only, and a guest's standard input and output are
plain ones. A thread that waits is left behind when its task is cancelled; it ends with the guest,
as the other end of its pipe does.
"""

import os
from collections.abc import Sequence

import anyio
import anyio.to_thread

PIECE_BYTES = 1 << 18


class ThreadedWire:
    """Descriptors of this process: one to read what comes back, one to write to."""

    passes_descriptors = False

    def __init__(self, back: int, to: int) -> None:
        self._back, self._to = back, to
        # Of its own: waiting REPLs must not use up the threads that others share.
        self._reading, self._writing = anyio.CapacityLimiter(1), anyio.CapacityLimiter(1)

    async def receive(self) -> bytes:
        """See `Wire.receive`."""
        return await anyio.to_thread.run_sync(
            os.read, self._back, PIECE_BYTES, abandon_on_cancel=True, limiter=self._reading
        )

    def passed(self) -> None:
        """See `Wire.passed`."""

    def send_some(self, _frame: memoryview, _descriptors: Sequence[int] = ()) -> int:
        """See `Wire.send_some`."""
        return 0

    async def send(self, frame: memoryview, _descriptors: Sequence[int] = ()) -> int:
        """See `Wire.send`."""
        piece = bytes(frame[:PIECE_BYTES])
        try:
            return await anyio.to_thread.run_sync(
                os.write, self._to, piece, abandon_on_cancel=True, limiter=self._writing
            )
        except OSError as error:
            # Windows has more than one number for a pipe whose reader is gone.
            raise BrokenPipeError(*error.args) from error

    async def close(self) -> None:
        """See `Wire.close`. The guest is gone, so no thread waits in them any more."""
        os.close(self._to)
        os.close(self._back)
