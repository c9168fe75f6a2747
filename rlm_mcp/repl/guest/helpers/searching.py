"""Finding lines in all that is loaded: `grep` and `refs`."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..contexts import present

try:
    import regex
except ImportError:  # the Python of a container's image has none
    import re as regex

__all__ = ["grep", "refs"]
SHOWN = ("grep",)
COUNTED = 100_000
LINE_CHARS = 300
LEAST_LITERAL_CHARS = 3
# What `regex` reads as how many errors it may forgive is plain text to `re`.
_FUZZY = re.compile(r"\{[^\d,}]")
_parser: Any = re._parser  # type: ignore[attr-defined]  # noqa: SLF001 - no public one parses


class Match(NamedTuple):
    """One line that matches; `before` and `after` are the lines around it, if asked for."""

    path: str
    line: int
    text: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def __repr__(self) -> str:
        first = self.line - len(self.before)
        around = [f"{self.path}-{first + n}- {text}" for n, text in enumerate(self.before)]
        around.append(f"{self.path}:{self.line}: {self.text}")
        around += [f"{self.path}-{self.line + n}- {t}" for n, t in enumerate(self.after, 1)]
        return "\n".join(around)


class Matches(list[Match]):
    """The first lines that match; `total` counts them all, up to 100,000."""

    total = 0

    def __repr__(self) -> str:
        if not self:
            return "no line matches"
        most = "more than " if self.total > COUNTED else ""
        shown = f"[{len(self):,} of {most}{min(self.total, COUNTED):,} lines that match]"
        return "\n".join([*map(repr, self), *([shown] if self.total > len(self) else [])])


def grep(
    pattern: str, glob: str | None = None, before: int = 0, after: int = 0, limit: int = 50
) -> Matches:
    """Lines that match a regular expression, as path, line and text.

    Prints as `path:line: text`. A match lies within one line; (?i) ignores case. `glob` names the
    files to look in, as in files(glob); `before` and `after` add lines around each; `limit` is how
    many are given, while .total counts them all.
    """
    found = Matches()
    text, files, place = present.context.text, present.context.files, Places()
    spans = [(0, len(text))]
    if glob is not None:
        spans = sorted((start, start + chars) for start, chars in files(glob).places.values())
    engine = regex.compile(pattern, regex.MULTILINE)
    for start, end in matching(text, pattern, spans):
        at = place.of(start)
        if at is None:
            continue
        found.total += 1
        if found.total > COUNTED:
            break
        if len(found) < limit:
            path, line, first, last = at
            hit = engine.search(text, start, end)
            found.append(
                Match(
                    path,
                    line,
                    _cut(text, start, end, hit.start() if hit else start),
                    tuple(_before(text, start, first, before)),
                    tuple(_after(text, end, last, after)),
                )
            )
    return found


def refs(name: str, glob: str | None = None, limit: int = 50) -> Matches:
    """Lines that hold a name as a whole word.

    As grep; `name` is taken literally.
    """
    return grep(rf"(?<!\w){re.escape(name)}(?!\w)", glob, limit=limit)


class Places:
    """Offsets, asked for in rising order, to documents and lines: each stretch is counted once."""

    def __init__(self) -> None:
        self._places = sorted(
            (start, chars, path) for path, (start, chars) in present.context.files.places.items()
        )
        self._index, self._offset, self._line = -1, 0, 1

    def of(self, offset: int) -> tuple[str, int, int, int] | None:
        """Path, line from 1, and the document's first and last offset; None in a header line."""
        index = bisect_right(self._places, offset, key=lambda place: place[0]) - 1
        if index < 0 or offset >= sum(self._places[index][:2]):
            return None
        start, chars, path = self._places[index]
        if index != self._index:
            self._index, self._offset, self._line = index, start, 1
        self._line += present.context.text.count("\n", self._offset, offset)
        self._offset = offset
        return path, self._line, start, start + chars


def mandatory(pattern: str) -> str:
    """The longest text that every match must hold, as far as that is plain to see; else ""."""
    try:
        tree = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        return ""  # it may be the other engine's own syntax
    if _FUZZY.search(pattern) or tree.state.flags & (re.IGNORECASE | re.VERBOSE | re.LOCALE):
        return ""
    runs = [""]
    for code, argument in tree:
        if str(code) == "LITERAL":
            runs[-1] += chr(argument)
        elif str(code) != "AT":
            runs.append("")
    longest = max(runs, key=len)
    return longest if len(longest) >= LEAST_LITERAL_CHARS and "\n" not in longest else ""


def matching(
    text: str, pattern: str, spans: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Start and end of each line that matches. A literal is found far faster than a pattern."""
    engine, literal = regex.compile(pattern, regex.MULTILINE), mandatory(pattern)
    for first, last in spans:
        position = first
        while position < last:
            if literal:
                candidate = text.find(literal, position, last)
            else:
                hit = engine.search(text, position, last)
                candidate = hit.start() if hit else -1
            if candidate < 0:
                break
            start = text.rfind("\n", position, candidate) + 1 or position
            end = text.find("\n", candidate, last)
            end = last if end < 0 else end
            # No slice: a line may be larger than what is left of the memory.
            if engine.search(text, start, end):
                yield start, end
            position = end + 1


def _cut(text: str, start: int, end: int, at: int) -> str:
    """A line, or of a long one the part around the match."""
    if end - start <= LINE_CHARS:
        return text[start:end]
    first = max(start, min(at - LINE_CHARS // 3, end - LINE_CHARS))
    last = first + LINE_CHARS
    return f"{'…' if first > start else ''}{text[first:last]}{'…' if last < end else ''}"


def _before(text: str, start: int, first: int, count: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < count and start > first:
        end = start - 1
        start = max(text.rfind("\n", first, end) + 1, first)
        lines.insert(0, _cut(text, start, end, start))
    return lines


def _after(text: str, end: int, last: int, count: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < count and end + 1 < last:
        start = end + 1
        end = text.find("\n", start, last)
        end = last if end < 0 else end
        lines.append(_cut(text, start, end, start))
    return lines
