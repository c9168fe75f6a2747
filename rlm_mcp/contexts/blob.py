"""The blob file: one text in the narrowest fixed width that fits it, written and read back."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rlm_mcp.types import TextKind

_BUFFER_BYTES = 256 << 10
_CHUNK_BYTES = 256 << 10
_LEAST_RESERVED = 1 << 20
_MOST_RESERVED = 256 << 20


class BlobWriter:
    """Writes a blob of unknown width: ASCII at first, re-encoded when a wider character comes.

    That happens at most three times, in chunks, so memory stays small. Owns its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chars = 0
        self._open(TextKind.ASCII)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What a full disk did not take cannot be written now either; whole blobs were flushed.
        with suppress(OSError):
            self._file.close()

    def write(self, text: str | bytes) -> None:
        """Append `text`; bytes are ASCII."""
        if isinstance(text, bytes):
            raw = text if self._width == 1 else text.decode("ascii").encode(self.kind.codec)
        else:
            kind, raw = _encode(text, self.kind)
            if kind != self.kind:
                self._widen(kind)
        self._end += len(raw)
        if self._end > self._reserved:
            self._reserve()
        self._file.write(raw)
        self.chars += len(text)

    def flush(self) -> None:
        """Let everything written be read through `path`, and nothing else."""
        self._file.flush()
        self._file.truncate(self._end)

    def sync(self) -> None:
        """Return when everything flushed is on the disk."""
        os.fsync(self._file.fileno())

    def _open(self, kind: TextKind) -> None:
        self.kind, self._width = kind, kind.width
        self._file = self.path.open("wb", buffering=_BUFFER_BYTES)
        self._end = 0
        self._reserved = _LEAST_RESERVED

    def _reserve(self) -> None:
        """Writing to space that is reserved takes a third of the computing time (ext4)."""
        start, end = self._file.tell(), self._end + min(self._end, _MOST_RESERVED)
        try:
            if sys.platform == "linux":
                os.posix_fallocate(self._file.fileno(), start, end - start)
            self._reserved = end
        except OSError:
            # Not every file system can, and a nearly full one may still take the text itself.
            self._reserved = sys.maxsize

    def _widen(self, kind: TextKind) -> None:
        self.flush()
        self._file.close()
        old = self.path.rename(self.path.with_suffix(".narrow"))
        narrow, chars = self.kind, self.chars
        self._open(kind)
        for piece in read_blob(old, narrow, 0, chars):
            self.write(piece)
        self.chars = chars
        old.unlink()


def _encode(text: str, least: TextKind) -> tuple[TextKind, bytes]:
    """`text` in the narrowest kind that fits it and is no narrower than `least`."""
    if text.isascii():
        return least, text.encode(least.codec)
    if least.width == 1:
        try:
            return TextKind.LATIN1, text.encode(TextKind.LATIN1.codec)
        except UnicodeEncodeError:
            pass
    if least != TextKind.UCS4:
        raw = text.encode(TextKind.UCS2.codec, "surrogatepass")
        if len(raw) == len(text) * TextKind.UCS2.width:
            return TextKind.UCS2, raw
    return TextKind.UCS4, text.encode(TextKind.UCS4.codec, "surrogatepass")


def read_blob(path: Path, kind: TextKind, start: int, end: int) -> Iterator[str]:
    """The characters from `start` up to `end` of a blob file, in pieces of at most 256 KiB."""
    left = (end - start) * kind.width
    if left <= 0:
        return
    with path.open("rb") as blob:
        blob.seek(start * kind.width)
        while left and (raw := blob.read(min(left, _CHUNK_BYTES))):
            yield raw.decode(kind.codec, "surrogatepass")
            left -= len(raw)
