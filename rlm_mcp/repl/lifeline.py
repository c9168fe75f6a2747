"""The host's hold on a checkpoint: the copy of a guest that stands still while a cell runs.

Letting go ends the copy; so does the end of the host. See guest/checkpoint.py for its side.
"""

import array
import contextlib
import ctypes
import os
import signal
import socket
import struct

import anyio

from rlm_mcp.repl import watch
from rlm_mcp.repl.launch import Handle, SocketWire, Started, sweep

TAKE_OVER_S = 5.0
BURIAL_S, LOOK_S = 5.0, 0.002
STILL_TICKS = 5
PR_SET_CHILD_SUBREAPER = 36
# struct ucred of unix(7): who wrote, as the kernel knows it.
CREDENTIALS = struct.Struct("=iII")


def adopt_orphans() -> None:
    """Become the parent of what a guest leaves behind, so that it can be watched and buried.

    See PR_SET_CHILD_SUBREAPER in prctl(2); it holds for all that this process ever starts.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children(pid: int, *, moving_only: bool = False) -> None:
    """End what a guest's main thread started: checkpoints end by themselves, others do not.

    A fork is granted for a checkpoint, but code may take it for itself. While a cell runs,
    `moving_only` ends those that do not stand still: a checkpoint starts no threads and computes
    next to nothing.
    """
    with contextlib.suppress(OSError):
        for child in watch.children(pid):
            held = Handle(child)
            stands_still = moving_only and _stands_still(child)
            # Held now, it is still the same one if it is still listed.
            if child in watch.children(pid) and not stands_still:
                held.send(signal.SIGKILL)
            held.close()


def _stands_still(pid: int) -> bool:
    used = watch.usage(pid)
    return used is None or (used.threads == 1 and (used.cpu_ticks or 0) <= STILL_TICKS)


def reap(group: int) -> bool:
    """Bury what has ended of a process group that is ours; whether some of it still lives."""
    try:
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


async def buried(group: int) -> None:
    """Wait until nothing is left of a process group that was killed."""
    with anyio.move_on_after(BURIAL_S, shield=True):
        while reap(group):  # noqa: ASYNC110 - of these the kernel tells nobody
            await anyio.sleep(LOOK_S)


class Lifeline:
    """One checkpoint. `theirs` is the guest's end: send it, then it is closed."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        self.theirs = theirs.detach()

    def release(self) -> None:
        """The checkpoint is not needed any more."""
        self._ours.close()

    async def take_over(self, group: int) -> Started | None:
        """Have the copy go on; None if there is none. Who ran the cell must be gone.

        `group` is the process group that the guest was started in.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with self._ours, theirs, contextlib.ExitStack() as unless_taken:
            unless_taken.callback(ours.close)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
            try:
                self._ours.sendmsg([b"!"], rights)
                theirs.close()
                with anyio.move_on_after(TAKE_OVER_S):
                    await anyio.wait_readable(ours)
                pid = _writer(ours)
                running = None if pid is None else Adopted(pid, group)
            except OSError:
                return None
            if running is None:
                return None
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
            unless_taken.pop_all()
        return Started(running, SocketWire(ours))


def _writer(wire: socket.socket) -> int | None:
    """The process that wrote the first byte. May raise OSError: nobody has."""
    first, extra, _, _ = wire.recvmsg(1, socket.CMSG_SPACE(CREDENTIALS.size))
    for level, kind, payload in extra:
        if first and (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid: int = CREDENTIALS.unpack(payload)[0]
            return pid
    return None


def _buried(pid: int) -> int | None:
    """The exit status of a process that has ended; None if somebody else took it."""
    with contextlib.suppress(ChildProcessError):
        return os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
    return None


class Adopted:
    """A process that another one of ours started and left behind."""

    def __init__(self, pid: int, group: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self._group = group
        self._handle = Handle(pid)

    def interrupt(self) -> None:
        """See `Running.interrupt`."""
        self._handle.send(signal.SIGINT)

    def kill(self) -> None:
        """See `Running.kill`."""
        self._handle.send(signal.SIGKILL)

    async def wait(self) -> None:
        """See `Running.wait`."""
        assert self._handle.descriptor is not None  # copies are Linux's
        await anyio.wait_readable(self._handle.descriptor)
        self.status = _buried(self.pid)
        self._handle.close()

    def sweep(self) -> None:
        """See `Running.sweep`."""
        sweep(self._group)
