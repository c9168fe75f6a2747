"""The lines of a text of any size as a sequence that is cut when it is looked at."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import overload

BLOCK_CHARS = 256 << 10
SHOWN_CHARS = 80


class Lines(Sequence[str]):
    r"""What `split("\n")` or, with `every_break`, `splitlines()` would give, one block at a time.

    A block ends at a newline, so no line and no CRLF stands in two. How many lines are in front of
    a block is counted when a number asks for it, and kept: 16 bytes a block. Slices are lists.
    `has_rest` says whether nothing behind the last newline counts as a line, as in `split`; an
    empty text has no line either way.
    """

    def __init__(
        self,
        text: str,
        *,
        every_break: bool = False,
        keep_ends: bool = False,
        has_rest: bool = True,
        block_chars: int = BLOCK_CHARS,
    ) -> None:
        self._text = text
        self._every_break = every_break
        self._keep_ends = keep_ends
        self._has_rest = has_rest and not every_break
        self._block_chars = block_chars
        # Block n begins at character starts[n] with line numbers[n].
        self._starts, self._numbers = [0], [0]
        self._held: tuple[int, list[str]] = (-1, [])

    def __len__(self) -> int:
        while self._count_on():
            pass
        return self._numbers[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._needed(index))
            if step != 1:
                return [self._line(number) for number in range(start, stop, step)]
            return list(islice(self._from(start), max(stop - start, 0)))
        return self._line(index if index >= 0 else len(self) + index)

    def __iter__(self) -> Iterator[str]:
        return self._from(0)

    def __repr__(self) -> str:
        first = next(iter(self), "")[:SHOWN_CHARS]
        return f"<the lines of a str of {len(self._text):,} characters; [0] is {first!r}>"

    def _needed(self, index: slice) -> int:
        """The number of lines, or fewer if those from the front are enough for the slice."""
        ends = (index.start or 0, -1 if index.stop is None else index.stop)
        if min(ends) < 0 or (index.step or 1) < 0:
            return len(self)
        while self._numbers[-1] < max(ends) and self._count_on():
            pass
        return min(self._numbers[-1], max(ends))

    def _line(self, number: int) -> str:
        while number >= self._numbers[-1] and self._count_on():
            pass
        if not 0 <= number < self._numbers[-1]:
            raise IndexError(f"line {number:,} is outside 0..{self._numbers[-1]:,}")
        block = bisect_right(self._numbers, number) - 1
        if self._held[0] != block:
            self._held = block, self._cut(self._starts[block], self._starts[block + 1])
        return self._held[1][number - self._numbers[block]]

    def _from(self, number: int) -> Iterator[str]:
        """The lines from that number on, without counting those behind."""
        while number >= self._numbers[-1] and self._count_on():
            pass
        block = max(bisect_right(self._numbers, number) - 1, 0)
        start, skipped = self._starts[block], number - self._numbers[block]
        while (end := self._end_of(start)) is not None:
            lines = self._cut(start, end)
            yield from lines[skipped:] if skipped else lines
            start, skipped = end, 0

    def _count_on(self) -> bool:
        """Count one block more; whether there was one."""
        start = self._starts[-1]
        end = self._end_of(start)
        if end is None:
            return False
        if self._every_break:
            lines = len(self._cut(start, end))
        else:
            lines = self._text.count("\n", start, end)
            lines += self._ends_open(end)
        self._starts.append(end)
        self._numbers.append(self._numbers[-1] + lines)
        return True

    def _end_of(self, start: int) -> int | None:
        """Where the block ends that begins there; None behind the last one."""
        size = len(self._text)
        if start >= size:
            return None
        newline = self._text.find("\n", min(start + self._block_chars, size) - 1)
        return size if newline < 0 else newline + 1

    def _ends_open(self, end: int) -> bool:
        """Whether a line stands behind the last newline in front of `end`."""
        is_last = end == len(self._text)
        return is_last and (self._has_rest or self._text[end - 1] != "\n")

    def _cut(self, start: int, end: int) -> list[str]:
        piece = self._text[start:end]
        if self._every_break:
            return piece.splitlines(self._keep_ends)
        lines = piece.split("\n")
        if not self._ends_open(end):
            lines.pop()
        return lines
