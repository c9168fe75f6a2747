"""Contexts as they come: as open files to be mapped, or in pieces, put together in memory."""

import ctypes
import mmap
import os

from . import text
from .contexts import Context
from .wire import Message

ROOM_BYTES = 1 << 38
# Of Linux, on both machines that the box knows.
MAP_NORESERVE = 0x4000

# Bound once: code may patch the modules.
_open, _close, _map = open, os.close, mmap.mmap

_kept: list[mmap.mmap] = []
_room: mmap.mmap | None = None


def reserve() -> None:
    """Set address space aside that contexts take their place from, where no host raises the limit.

    It counts against a limit that is set later as it does now, and costs no memory.
    """
    global _room
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    _room = mmap.mmap(-1, ROOM_BYTES, flags)


def _allocate(size: int) -> mmap.mmap:
    if _room is not None:
        _room.resize(max(len(_room) - size - 2 * mmap.PAGESIZE, mmap.PAGESIZE))
    return _map(-1, size)


class Arrivals:
    """The contexts of one `open`, until all of them are there."""

    def __init__(self, *, in_place: bool) -> None:
        self._in_place = in_place
        self._whole: list[Context] = []
        self._coming: Arrival | None = None

    def take(self, message: Message, descriptors: list[int]) -> list[Context] | None:
        """What the host says of contexts; gives them all once the last is complete.

        A file is mapped now, so that its descriptors are closed before the next one's come.
        """
        if message["t"] == "piece":
            if self._coming and self._coming.take(message["bytes"].encode("latin-1")):
                self._whole.append(self._coming.context())
                self._coming = None
            return self._whole if message["last"] else None
        if message["first"]:
            self._whole = []
        described = message["context"]
        if described and "manifest_bytes" in described:
            self._coming = Arrival(described, in_place=self._in_place)
        elif described:
            self._whole.append(self._mapped(described, descriptors))
        return self._whole if message["last"] else None

    def _mapped(self, described: Message, descriptors: list[int]) -> Context:
        blob, manifest = descriptors[:2]
        del descriptors[:2]
        with _open(manifest, "rb") as file:
            documents = file.read()
        size, kind = described["bytes"], described["kind"]
        mapped = text.map_text(blob, size, kind, in_place=self._in_place)
        _close(blob)
        return Context(described["name"], mapped, documents)


class Arrival:
    """One context on its way: first the bytes of its blob, then those of its manifest."""

    def __init__(self, described: Message, *, in_place: bool) -> None:
        self._name, self._kind = described["name"], described["kind"]
        self._bytes = described["bytes"]
        self._left = described["bytes"] + described["manifest_bytes"]
        self._in_place = in_place
        # One page more: the zero character behind a text that fills its last page.
        self._pages = _allocate(self._bytes + mmap.PAGESIZE)
        self._manifest = bytearray()

    def take(self, piece: bytes) -> bool:
        """Add a piece, which never holds bytes of both; whether that was the last one."""
        if self._pages.tell() < self._bytes:
            self._pages.write(piece)
        else:
            self._manifest += piece
        self._left -= len(piece)
        return not self._left

    def context(self) -> Context:
        """The whole."""
        return Context(self._name, self._text(), bytes(self._manifest))

    def _text(self) -> str:
        if self._in_place and self._bytes:
            _kept.append(self._pages)
            first = ctypes.c_char.from_buffer(self._pages)
            return text.text_at(ctypes.addressof(first), self._bytes, self._kind)
        with self._pages, memoryview(self._pages) as whole, whole[: self._bytes] as blob:
            return str(blob, text.CODECS[self._kind], "surrogatepass")
