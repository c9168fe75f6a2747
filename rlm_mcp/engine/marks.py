"""The stretches of an answer that are set as quotes: in marks, in backticks, in a block."""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# A quote in a line's midst ends with its paragraph, and is no longer than this.
MOST_INLINE_CHARS = 2_000

Kind = Literal["marks", "code", "block", "fence"]

_BLOCK = re.compile(
    r"^(?P<indent>[ \t]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?)(?P<fence>`{3,}+|~{3,}+)(?P<tag>[^`\n]*)$"
    r"|^[ \t]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?(?P<block>>)",
    re.MULTILINE,
)
_QUOTED_LINE = re.compile(r"[ \t]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?>[ ]?(?P<line>[^\n]*)\n?")
_FENCE_LINE = re.compile(r"[ \t]*(?:`{3}|~{3})")
_PARAGRAPH_END = re.compile(r"\n[ \t]*(?=\n)")
_TICKS = re.compile(r"`+")
_OPENING = re.compile(r"`+|(?<![\w\\])[\"'](?=\S)|[“„«‘](?=\S)")
_CLOSING = {
    '"': re.compile(r"(?<=[^\s\\])\"(?![\"\w])"),
    "'": re.compile(r"(?<=[^\s\\])'(?!['\w])"),
    "“": re.compile("”"),
    "„": re.compile("[“”]"),
    "«": re.compile("»"),
    "‘": re.compile(r"’(?!\w)"),
}
_PAIRS = ('""', "''", "“”", "‘’", "„“", "„”", "«»", "``")


@dataclass(frozen=True, slots=True)
class Marked:
    """A stretch with its marks, and the text in it. `opening` is a fence's first line."""

    start: int
    end: int
    text: str
    kind: Kind
    opening: str = ""


def marked(text: str) -> Iterator[Marked]:
    """All of them in order, one at a time. Time is linear in the text."""
    position = 0
    while (block := _BLOCK.search(text, position)) is not None:
        yield from _Paragraphs(text, position, block.start()).marked()
        found = _fenced(text, block) if block["fence"] else _quoted_lines(text, block.start())
        yield found
        position = max(found.end, block.end())
    yield from _Paragraphs(text, position, len(text)).marked()


def unwrapped(text: str) -> str:
    """The text without the marks that stand around all of it."""
    text = text.strip()
    for pair in _PAIRS:
        inner = text[1:-1]
        if text[:1] + text[-1:] == pair and pair[0] not in inner and pair[1] not in inner:
            return inner.strip()
    return text


def _fenced(text: str, opening: re.Match[str]) -> Marked:
    """A fence, without its indent; one that is never closed ends with the text."""
    mark, indent = opening["fence"], len(opening["indent"])
    closing = re.compile(rf"^[ \t]*{mark[0]}{{{len(mark)},}}[ \t]*$", re.MULTILINE)
    start = min(opening.end() + 1, len(text))
    closed = closing.search(text, start)
    body = text[start : closed.start() if closed else len(text)]
    if indent:
        body = re.sub(rf"^[ \t]{{1,{indent}}}", "", body, flags=re.MULTILINE)
    end = closed.end() if closed else len(text)
    return Marked(opening.start(), end, body, "fence", opening["tag"])


def _quoted_lines(text: str, start: int) -> Marked:
    lines, position = [], start
    while (line := _QUOTED_LINE.match(text, position)) is not None and line.end() > position:
        if not _FENCE_LINE.match(line["line"]):
            lines.append(line["line"])
        position = line.end()
    end = position - 1 if text[position - 1] == "\n" else position
    return Marked(start, end, "\n".join(lines), "block")


class _Paragraphs:
    """A stretch of an answer without blocks.

    What closes a quote is looked for once for each kind of mark: the next one is remembered.
    """

    def __init__(self, text: str, start: int, end: int) -> None:
        self.text, self.start, self.end = text, start, end
        self._ticks: dict[int, list[int]] | None = None
        self._closings: dict[str, int] = {}
        self._paragraph = start

    def marked(self) -> Iterator[Marked]:
        """What is in marks or backticks."""
        position = self.start
        while (opening := _OPENING.search(self.text, position, self.end)) is not None:
            mark, start = opening[0], opening.end()
            code = mark[0] == "`"
            closing = self._tick(len(mark), start) if code else self._closing(mark, start)
            most = min(start + MOST_INLINE_CHARS, self._paragraph_end(start))
            if closing is None or closing > most or closing == start:
                position = start
                continue
            end = closing + len(mark)
            inner = self.text[start:closing]
            yield Marked(opening.start(), end, inner, "code" if code else "marks")
            position = end

    def _closing(self, mark: str, start: int) -> int | None:
        known = self._closings.get(mark, -1)
        if known < start:
            closing = _CLOSING[mark].search(self.text, start, self.end)
            known = self._closings[mark] = closing.start() if closing else len(self.text) + 1
        return known if known < self.end else None

    def _tick(self, size: int, start: int) -> int | None:
        if self._ticks is None:
            self._ticks = defaultdict(list)
            for run in _TICKS.finditer(self.text, self.start, self.end):
                self._ticks[len(run[0])].append(run.start())
        runs = self._ticks.get(size, [])
        index = bisect_left(runs, start)
        return runs[index] if index < len(runs) else None

    def _paragraph_end(self, start: int) -> int:
        if self._paragraph < start:
            found = _PARAGRAPH_END.search(self.text, start, self.end)
            self._paragraph = found.start() if found else self.end
        return max(self._paragraph, start)
