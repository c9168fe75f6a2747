"""Find where pieces of a text stand in a stored context, without reading it into memory."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rlm_mcp.types import ContextInfo

Span = tuple[int, int]

PROBE_CHARS = 32
LEAST_CHARS = 64
MOST_SPANS = 64
TRIED_PLACES = 8
NEARBY_CHARS = 256 << 10
BLOCK_BYTES = 8 << 20


@dataclass(slots=True)
class Haystack:
    """A context's text, mapped while it is open. `room` bounds the bytes that are searched in all.

    Blocks on the disk. A context manager.
    """

    info: ContextInfo
    room: int
    _map: mmap.mmap = field(init=False)

    def __enter__(self) -> Self:
        with self.info.blob.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._map.close()

    def spans(self, text: str, near: int = 0) -> list[Span]:
        """The stretches of the context that stand in `text` word for word, as characters.

        Looked for from `near` on, then from the beginning. Those below 64 characters are left out,
        and no more than the first 64 are found.
        """
        found: list[Span] = []
        left = [(0, len(text))]
        while left and len(found) < MOST_SPANS:
            start, end = left.pop()
            if end - start < LEAST_CHARS:
                continue
            place = self._place(text, start, end, near)
            if place is None:
                continue
            here, there = place
            found.append(there)
            near = there[1]
            left += [(here[1], end), (start, here[0])]
        return sorted(found)

    def _place(self, text: str, start: int, end: int, near: int) -> tuple[Span, Span] | None:
        """A stretch of `text` and the one of the context that is the same.

        Around `near` it is the longest of a few, because lines repeat; elsewhere the first.
        """
        best = 0
        place: tuple[Span, Span] | None = None
        for middle in _middles(start, end):
            for at in self._places(text[middle : middle + PROBE_CHARS], near, middle - start):
                if best >= LEAST_CHARS and at > near + NEARBY_CHARS:
                    return place
                before = _same_end(text[start:middle], self._read(at - (middle - start), at))
                after = same_start(text[middle:end], self._read(at, at + end - middle))
                if before + after > best:
                    best = before + after
                    place = (middle - before, middle + after), (at - before, at + after)
                if 2 * best > end - start:
                    return place
            if best >= LEAST_CHARS:
                return place
        return None

    def _places(self, probe: str, near: int, ahead: int) -> Iterator[int]:
        """Where a probe stands, the likeliest first.

        That is up to `ahead` characters behind `near`, then a little behind that, then the first
        place anywhere behind it, then the first in front.
        """
        codec, width = self.info.kind.codec, self.info.kind.width
        try:
            needle = probe.encode(codec, "surrogatepass")
        except UnicodeEncodeError:
            return
        size = self.info.chars * width
        start = min(near * width, size)
        expected = self._map.rfind(needle, start, start + ahead * width + len(needle))
        if expected >= 0 and expected % width == 0:
            yield expected // width
        at, nearby = start, min(size, start + NEARBY_CHARS * width)
        for _ in range(TRIED_PLACES):
            at = self._find(needle, at, nearby)
            if at < 0:
                break
            yield at // width
            at += width
        for first, last in ((nearby, size), (0, min(size, start + len(needle)))):
            at = self._find(needle, max(first - len(needle), 0), last)
            if at >= 0:
                yield at // width

    def _find(self, needle: bytes, start: int, end: int) -> int:
        """The first place between two that is one of whole characters, -1 if there is none."""
        width = self.info.kind.width
        while self.room > 0 and start + len(needle) <= end:
            # A search holds up the event loop: no more than this at a time.
            last = min(end, start + min(BLOCK_BYTES, self.room))
            at = self._map.find(needle, start, last)
            self.room -= (at if at >= 0 else last) - start
            if at >= 0 and at % width == 0:
                return at
            if at < 0 and (last == end or not self.room):
                return -1
            start = at + 1 if at >= 0 else last - len(needle) + 1
        return -1

    def _read(self, start: int, end: int) -> str:
        """The characters there; spaces in front of where the context begins."""
        width, pad = self.info.kind.width, max(0, -start)
        raw = self._map[max(start, 0) * width : max(end, 0) * width]
        return " " * pad + raw.decode(self.info.kind.codec, "surrogatepass")


def _middles(start: int, end: int) -> tuple[int, ...]:
    """Where a probe may begin: in the middle, where text is, and not the words around it."""
    room = end - start - PROBE_CHARS
    return tuple(start + room * eighth // 8 for eighth in (4, 2, 6))


def same_start(one: str, other: str) -> int:
    """How many characters two texts have in common from their beginning on."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _same_end(one: str, other: str) -> int:
    return same_start(one[::-1], other[::-1])
