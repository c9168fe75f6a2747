"""The blob file: one text in the narrowest fixed width that fits it, written and read back."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from rlm_mcp.types import TextKind

_BUFFER_BYTES = 64 << 10
_CHUNK_BYTES = 256 << 10


class BlobWriter:
    """Writes a blob of unknown width: ASCII at first, re-encoded when a wider character comes.

    That happens at most three times, in chunks, so memory stays small. Owns its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kind = TextKind.ASCII
        self.chars = 0
        self._file = path.open("wb", buffering=_BUFFER_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, text: str) -> None:
        """Append `text`."""
        kind, raw = _encode(text, self.kind)
        if kind != self.kind:
            self._widen(kind)
        self._file.write(raw)
        self.chars += len(text)

    def flush(self) -> None:
        """Let everything written be read through `path`."""
        self._file.flush()

    def sync(self) -> None:
        """Return when everything flushed is on the disk."""
        os.fsync(self._file.fileno())

    def _widen(self, kind: TextKind) -> None:
        self._file.close()
        old = self.path.rename(self.path.with_suffix(".narrow"))
        self._file = self.path.open("wb", buffering=_BUFFER_BYTES)
        with old.open("rb") as narrow:
            while raw := narrow.read(_CHUNK_BYTES):
                text = raw.decode(self.kind.codec, "surrogatepass")
                self._file.write(text.encode(kind.codec, "surrogatepass"))
        old.unlink()
        self.kind = kind


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
