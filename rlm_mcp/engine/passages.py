"""A document opened to look quotes up in: stretches by line, and no more of it than is needed."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

from rlm_mcp.contexts.catalogue import Catalogue
from rlm_mcp.types import Document

WHOLE_CHARS = 64 << 20
AROUND_LINES = 200
AROUND_CHARS = 250_000
_BLOCK_BITS = 16


def first_lines(text: str, most: int) -> str:
    """The first lines of a text with their ends; lines end at a newline only."""
    lines = text.split("\n", most)
    return "\n".join(lines[:most]) + ("\n" if len(lines) > most else "")


class Passage:
    """A stretch of a document; `line` is the number of the line its first character stands in."""

    def __init__(self, text: str, line: int) -> None:
        self.text, self.line = text, line
        self._breaks: list[int] | None = None

    def line_at(self, offset: int) -> int:
        """The line, from 1, of a character of the text."""
        if self._breaks is None:
            self._breaks = [0]
            borders = range(0, len(self.text) + (1 << _BLOCK_BITS), 1 << _BLOCK_BITS)
            for start, end in pairwise(borders):
                self._breaks.append(self._breaks[-1] + self.text.count("\n", start, end))
        block = offset >> _BLOCK_BITS
        inside = self.text.count("\n", block << _BLOCK_BITS, offset)
        return self.line + self._breaks[block] + inside

    def lines_of(self, span: tuple[int, int]) -> tuple[int, int]:
        """The first and last line of a stretch of the text."""
        return self.line_at(span[0]), self.line_at(span[1] - 1)


class Page:
    """A document of a catalogue, opened. Owns what it has read of it."""

    def __init__(self, catalogue: Catalogue, document: Document) -> None:
        self.catalogue, self.document = catalogue, document
        self._start, self._end = document.start, document.start + document.chars
        self._pieces: Iterator[str] = catalogue.pieces(self._start, self._end)
        self._offsets, self._breaks = [self._start], [0]
        self._whole: Passage | None = None

    def whole(self) -> Passage | None:
        """All of it; None of one with more than 64 Mi characters."""
        if self._whole is None and self.document.chars <= WHOLE_CHARS:
            self._whole = Passage(self.catalogue.read(self._start, self._end), 1)
        return self._whole

    def around(self, first: int, last: int) -> Passage:
        """The lines `first` to `last`, 200 more on both sides, and at most 750,000 characters."""
        at = self._offset_of(first)
        start = max(self._offset_of(first - AROUND_LINES), at - AROUND_CHARS)
        last = min(last, self.document.lines) + AROUND_LINES
        end = min(self._offset_of(last + 1), at + 2 * AROUND_CHARS)
        text = self.catalogue.read(start, end)
        return Passage(text, max(first, 1) - text.count("\n", 0, at - start))

    def excerpt(self, first: int, last: int, most_chars: int) -> str:
        """The lines `first` to `last`, cut to so many characters."""
        start = self._offset_of(first)
        text = self.catalogue.read(start, min(start + most_chars, self._end))
        return first_lines(text, last - first + 1)

    def _offset_of(self, line: int) -> int:
        """The offset of a line's first character in the context, counted once for all lines."""
        breaks = max(line - 1, 0)
        while self._breaks[-1] < breaks and (piece := next(self._pieces, None)) is not None:
            self._offsets.append(self._offsets[-1] + len(piece))
            self._breaks.append(self._breaks[-1] + piece.count("\n"))
        if self._breaks[-1] < breaks:
            return self._end
        block = max(bisect_left(self._breaks, breaks) - 1, 0)
        position = self._offsets[block]
        left = breaks - self._breaks[block]
        if left:
            text = self.catalogue.read(position, self._offsets[block + 1])
            inside = 0
            for _ in range(left):
                inside = text.find("\n", inside) + 1
            position += inside
        return position
