"""Regular files, opened so that a link or a pipe put in their place meanwhile is noticed."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from rlm_mcp.contexts.listing import Piece, Stamp, reason_of
from rlm_mcp.contexts.reading import CHUNK_BYTES, pieces
from rlm_mcp.contexts.secrets import UNGUARDED, Guard
from rlm_mcp.contexts.unpack import Unpacked, blocks, damage, is_packed
from rlm_mcp.errors import SourceTooLarge, SourceUnreadable

_UNSIZED_BYTES = 64 << 20
# A listed file may be a link or a pipe by now: the one is not followed, the other not waited for.
FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
FLAGS |= getattr(os, "O_BINARY", 0)  # elsewhere, what is read is what is there


@contextmanager
def opened(file: str, listed: os.stat_result) -> Iterator[tuple[int, int]]:
    """The descriptor and the size, in bytes, of the file that was `listed`.

    Raises:
        SourceUnreadable: it cannot be opened or read, or is another one now.
    """
    try:
        number = os.open(file, FLAGS)
        try:
            # A folder above it may be a link by now.
            now = os.fstat(number)
            if not stat.S_ISREG(now.st_mode) or not os.path.samestat(now, listed):
                raise SourceUnreadable("changed while it was read", "Load it again.")
            yield number, now.st_size
        finally:
            os.close(number)
    except OSError as error:
        raise SourceUnreadable(reason_of(error), "Mend that or name another file.") from error


def chunks(number: int, size: int) -> Iterator[bytes]:
    """The bytes a file had when it was opened: one that is written to meanwhile ends there.

    Raises:
        SourceUnreadable: it became shorter.
    """
    # What the system makes up, as in /proc, has no size.
    left = size or _UNSIZED_BYTES
    while left > 0 and (chunk := os.read(number, min(left, CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk
    if size and left > 0:
        raise SourceUnreadable("became shorter while it was read", "Load it again.")


def document(file: str, listed: os.stat_result, *, guard: Guard = UNGUARDED) -> Iterator[Piece]:
    """The text of a file, of a compressed one what it holds; see `reading.pieces` for `guard`.

    Raises:
        SourceEmpty, SourceUnreadable: see `pieces`, `opened`, `chunks` and `unpack`.
    """
    with opened(file, listed) as (number, size):
        raw = _unpacked(number, file) if is_packed(file) else chunks(number, size)
        yield from pieces(raw, guard=guard)


def _unpacked(number: int, file: str) -> Iterator[bytes]:
    try:
        with damage(), os.fdopen(number, "rb", closefd=False) as packed:
            yield from blocks(Unpacked(packed, file))
    except SourceTooLarge as error:
        raise SourceUnreadable(error.message, error.hint) from error


def stamp(status: os.stat_result) -> Stamp:
    """What changes with a file's content."""
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{status.st_dev} {status.st_ino} {status.st_size} {times}"


def changed_ns(status: os.stat_result) -> int:
    """When its content or its inode last changed, in nanoseconds."""
    return max(status.st_mtime_ns, status.st_ctime_ns)
