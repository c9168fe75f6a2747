"""The gate of forks: the kernel asks here before a locked guest may become two processes.

See seccomp_unotify(2). Only registers are judged, which the asking process cannot change meanwhile:
the guest's filter asks for nothing but a plain fork.
"""

import os
import select
import struct
import sys

import anyio

from rlm_mcp.repl.guest.wire import BadFrame

if sys.platform == "linux":
    import fcntl

RECEIVE, ANSWER = 0xC0502100, 0xC0182101
QUESTION = struct.Struct("=QII64x")
REPLY = struct.Struct("=QqiI")
CONTINUE = 1
REFUSED = -1  # EPERM
REFUSALS = 1_000


class ForkGate:
    """Lets the guest's main thread fork once each time it is granted; refuses anything else."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._granted_to: int | None = None
        self._refusals = 0

    def grant(self, thread: int) -> None:
        """A cell begins: that thread may fork once."""
        self._granted_to, self._refusals = thread, 0

    def revoke(self) -> None:
        """A fork that was granted and not made is granted no more."""
        self._granted_to = None

    async def serve(self) -> None:
        """Answer, until cancelled or nobody is left who could ask.

        Raises:
            BadFrame: it asks again and again.
        """
        while True:
            await anyio.wait_readable(self._descriptor)
            told = _told(self._descriptor)
            if not told & select.POLLIN:
                if told & select.POLLHUP:
                    return
                continue  # the question was taken back: a signal came
            question = bytearray(QUESTION.size)
            try:
                fcntl.ioctl(self._descriptor, RECEIVE, question)
            except FileNotFoundError:
                continue  # who asked was killed meanwhile
            number, thread, _ = QUESTION.unpack(question)
            granted = thread == self._granted_to
            if granted:
                self.revoke()
            answer = REPLY.pack(number, 0, 0 if granted else REFUSED, CONTINUE if granted else 0)
            try:
                fcntl.ioctl(self._descriptor, ANSWER, answer)
            except FileNotFoundError:
                continue
            self._refusals += not granted
            if self._refusals > REFUSALS:
                raise BadFrame("it tries to fork again and again")

    def close(self) -> None:
        """Whoever asks from now on is refused."""
        os.close(self._descriptor)


def _told(descriptor: int) -> int:
    """The events of poll(2). To receive without POLLIN could block, and all the host with it."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    return sum(events for _, events in ready.poll(0))
