"""Standing still before a cell: a forked copy that takes over if the cell's process is lost.

The process that goes on runs the cell. The copy waits at the *lifeline*, a socket whose other end
the host holds: it ends when the host lets go of it, and takes over on the new wire that the host
sends through it. Until then it touches nothing, so it costs what the cell changes.
"""

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress

from .lines import SocketLine

if sys.platform != "win32":
    import posix

COPY = 0
NOT_NEEDED = 0
SILENCE: list[tuple[str, None, type[Warning], None, int]] = [("ignore", None, Warning, None, 0)]
# Bound once: code may patch the modules.
_modules, _close, _exit, _wait_for = sys.modules, os.close, os._exit, os.waitpid
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

    def take_over(self, lifeline: int, wire: int, go_on: Callable[[int], None]) -> bool:
        """Fork. False where the cell is to be run; True in the copy, once it has taken over.

        `wire` is the present one, which the copy must not keep open, and `go_on` gets its new one.
        Without a copy the cell runs all the same: the host finds that nobody holds the lifeline.
        """
        self._bury()
        try:
            copy = _fork()
        except BaseException:  # an audit hook may raise anything
            copy = None
        if copy != COPY:
            self._copy = copy
            _close(lifeline)
            return False
        try:
            _close(wire)
            go_on(_needed(lifeline))
        except BaseException:  # a copy that cannot go on must not run what code left for its exit
            _exit(NOT_NEEDED)
        return True

    def _bury(self) -> None:
        """The host let go of the last copy before it sent this cell."""
        if self._copy is not None:
            with suppress(ChildProcessError):
                _wait_for(self._copy, 0)
            self._copy = None


def _nothing(**_hooks: object) -> None:
    """Takes the place of os.register_at_fork."""


def _fork() -> int:
    # Threads are ours or stand still; and code of a cell may have made warnings errors, or none.
    filters = getattr(warnings, "filters", [])
    _modules["warnings"], warnings.filters = warnings, SILENCE
    try:
        return _split()
    finally:
        warnings.filters = filters


def _needed(lifeline: int) -> int:
    """The new wire; ends this process where there is none."""
    line = SocketLine(lifeline)
    _, passed = line.read()
    if not passed:
        _exit(NOT_NEEDED)
    line.forget()
    _close(lifeline)
    return passed[0]
