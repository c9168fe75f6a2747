"""Compressed files, read as what they hold, never unpacked to disk and never without bound."""

import bz2
import gzip
import importlib
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, cast

from rlm_mcp.contexts.listing import Tick
from rlm_mcp.contexts.reading import CHUNK_BYTES
from rlm_mcp.errors import SourceTooLarge, SourceUnreadable

PACKED = (".gz", ".bz2", ".xz", ".zst")
ZIPS = (".zip", ".whl", ".jar")
TARS = (".tar", ".tgz", ".tbz2", ".txz", ".tzst", *(f".tar{suffix}" for suffix in PACKED))
# Logs shrink to a fiftieth, what was made to explode to a thousandth.
MOST_RATIO = 250
TRUST = "Unpack it yourself if you trust it."
FREE_BYTES = 64 << 20
_HEADER_BYTES = 16 << 20
_MEMORY_BYTES = 256 << 20
# Everything that the readers of these formats raise for bytes that are not what they should be.
_DAMAGE = (
    EOFError, OSError, ValueError, ArithmeticError, NotImplementedError, struct.error, zlib.error,
    lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip


def is_packed(path: str) -> bool:
    """Whether a file's name says that it is one compressed file."""
    return path.lower().endswith(PACKED) and not is_archive(path)


def is_archive(path: str) -> bool:
    """Whether a file's name says that it holds files."""
    return path.lower().endswith((*ZIPS, *TARS))


def is_zip(path: str) -> bool:
    """Whether an archive's name says that it is a zip."""
    return path.lower().endswith(ZIPS)


@contextmanager
def damage() -> Iterator[None]:
    """What cannot be unpacked inside becomes SourceUnreadable."""
    try:
        yield
    except EOFError as error:
        raise SourceUnreadable("it ends too early", "Get a whole copy of it.") from error
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise SourceUnreadable(f"damaged: {reason}", "Get a whole copy of it.") from error


def _nothing() -> None:
    """Who reads piece by piece looks around by himself."""


class Unpacked(io.RawIOBase):
    """What a compressed file holds, as a file that can be read forward and from its start again.

    `name` tells the format. `tick` is called before each read. A read raises SourceTooLarge if more
    comes out than `MOST_RATIO` times what went in, SourceUnreadable for a header that is no header.
    """

    def __init__(self, packed: IO[bytes], name: str, tick: Tick = _nothing) -> None:
        self._packed = packed
        self._tick = tick
        self._stream = _stream(packed, name)

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end; all is more than anyone may ask for."""
        if not 0 <= size <= _HEADER_BYTES:
            raise SourceUnreadable("one of its headers is too large", "Get a whole copy of it.")
        self._tick()
        raw = self._stream.read(size)
        out = self._stream.tell()
        if out > FREE_BYTES and out > MOST_RATIO * self._packed.tell():
            raise SourceTooLarge(f"it expands more than {MOST_RATIO} times", TRUST)
        return raw

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, counted from the start only."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation
        at = self._stream.tell()
        if offset < at:
            at = self._stream.seek(0)
        # Not the stream's own way: it would not be bound.
        while at < offset and (raw := self.read(min(offset - at, CHUNK_BYTES))):
            at += len(raw)
        return at

    def tell(self) -> int:
        """The place in what it holds."""
        return self._stream.tell()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, at a price when it goes back."""
        return True


def blocks(stream: IO[bytes] | Unpacked) -> Iterator[bytes]:
    """A stream's bytes in chunks."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def _stream(packed: IO[bytes], name: str) -> IO[bytes]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in {".gz", ".tgz"}:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed, mode="rb"))
    if suffix in {".bz2", ".tbz2"}:
        return bz2.BZ2File(packed)
    if suffix in {".xz", ".txz"}:
        # Its head names the memory it takes to read it.
        lzma.LZMADecompressor(memlimit=_MEMORY_BYTES).decompress(packed.read(CHUNK_BYTES), 1)
        packed.seek(0)
        return lzma.LZMAFile(packed)
    if suffix in {".zst", ".tzst"}:
        return _zstd(packed)
    return packed


def _zstd(packed: IO[bytes]) -> IO[bytes]:
    try:
        zstd = importlib.import_module("compression.zstd")
    except ImportError as error:
        raise SourceUnreadable(
            "zst needs Python 3.14", "Unpack it, or run the server with Python 3.14."
        ) from error
    return cast("IO[bytes]", zstd.ZstdFile(packed))
