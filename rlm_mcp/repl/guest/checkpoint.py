"""Standing still before a cell: a forked copy that takes over if the cell's process is lost.

The process that goes on runs the cell. The copy waits at the *lifeline*, a socket whose other end
the host holds: it ends when the host lets go of it, and takes over on the new wire that the host
sends through it. Until then it touches nothing, so it costs what the cell changes.
"""

import _socket
import array
import contextlib
import os
import sys
import warnings

from .lines import socket_on

if sys.platform != "win32":
    import posix

COPY = 0
NOT_NEEDED = 0
# Bound once: code may patch the modules.
_catch_warnings, _ignore = warnings.catch_warnings, warnings.simplefilter
if sys.platform != "win32":
    _split = os.fork


class Checkpoints:
    """The copies of one guest, one at a time."""

    def __init__(self) -> None:
        self._copy: int | None = None
        # What code hangs on forks would run beside our own: in a copy that stands still, for ever.
        # And `random` would be seeded anew.
        if sys.platform != "win32":
            posix.register_at_fork = os.register_at_fork = _nothing

    def take_over(self, lifeline: int, wire: int) -> int | None:
        """Fork. Gives None where the cell is to be run; in the copy, once it is needed, a new wire.

        `wire` is the present one, which the copy must not keep open. Without a copy the cell runs
        all the same: the host finds that nobody holds the lifeline.
        """
        self._bury()
        line = socket_on(lifeline)
        try:
            copy = _fork()
        except BaseException:  # an audit hook may raise anything
            copy = None
        if copy != COPY:
            self._copy = copy
            line.close()
            return None
        os.close(wire)
        return _wait(line)

    def _bury(self) -> None:
        """The host let go of the last copy before it sent this cell."""
        if self._copy is not None:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._copy, 0)
            self._copy = None


def _nothing(**_hooks: object) -> None:
    """Takes the place of os.register_at_fork."""


def _fork() -> int:
    # Threads are ours or stand still; and code of a cell may have made warnings errors.
    with _catch_warnings():
        _ignore("ignore")
        return _split()


def _wait(line: _socket.socket) -> int:
    chunk, extra, _, _ = line.recvmsg(1, _socket.CMSG_SPACE(array.array("i").itemsize))
    if not chunk or not extra:
        os._exit(NOT_NEEDED)
    line.close()
    wire = array.array("i", extra[0][2])[0]
    # The kernel tells the host whose byte it is.
    os.write(wire, b"!")
    return wire
