"""What a log says over and over: lines that differ only in their numbers and names, as one.

After Drain (He et al., ICWS 2017): lines of as many words, the same first word and the same level
are one template if most of their words are the same.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..spans import Span, spans_of

__all__ = ["diff_windows", "templates"]
SHOWN = ("templates",)
SAMPLED_CHARS = 32 << 20
BLOCK_CHARS = 1 << 20
LINE_CHARS = 500
ALIKE = 0.6
MOST_GROUP = 100
MOST_KNOWN = 50_000
ANY = "<*>"
_VARIABLE = re.compile(r"[\w.:/\\+-]*\d[\w.:/\\+-]*|(?<==)[^\s,;\])}\"']+|(?<=\")[^\"]*(?=\")")
_LEVEL = re.compile(
    r"(?i)\b(?:trace|debug|info|notice|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal)\b"
)


class Template(NamedTuple):
    """A kind of line: how many lines, its words with <*> for what differs, and the first of them.

    `estimated` says that only a part of a long text was looked at, and the count is a projection.
    """

    lines: int
    text: str
    path: str | None
    line: int
    example: str
    estimated: bool

    def __repr__(self) -> str:
        about = "~" if self.estimated else ""
        return f"{about}{self.lines:,}x {self.text}  ({self.path or 'text'}:{self.line})"


class Templates(list[Template]):
    """Templates, one a line."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no lines"


class Shift(NamedTuple):
    """A template and how many of its lines two texts have."""

    before: int
    after: int
    text: str
    example: str

    def __repr__(self) -> str:
        return f"{self.before:,} -> {self.after:,}  {self.text}"


class Shifts(list[Shift]):
    """Shifts, one a line."""

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "no difference"


class _Kind:
    """A template in the making."""

    __slots__ = ("count", "example", "words")

    def __init__(self, words: list[str], example: tuple[Span, int, int]) -> None:
        self.words = words
        self.example = example
        self.count = 0

    def takes(self, words: list[str]) -> bool:
        """Whether these words are alike enough; what differs is forgotten then."""
        same = sum(a == b for a, b in zip(self.words, words, strict=True))
        if same < ALIKE * len(words):
            return False
        if same < len(words):
            self.words = [a if a == b else ANY for a, b in zip(self.words, words, strict=True)]
        return True

    @property
    def text(self) -> str:
        """Its words."""
        return " ".join(self.words)

    @property
    def first(self) -> tuple[Span, int, str]:
        """Where its first line is, and that line."""
        span, start, stop = self.example
        return span, start, span.text[start : min(stop, start + LINE_CHARS)]


class _Miner:
    """Sorts lines into kinds."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str, str], list[_Kind]] = {}
        self._known: dict[str, _Kind] = {}

    def kind_of(self, span: Span, start: int, stop: int) -> _Kind | None:
        """The kind of a line, None for an empty one."""
        masked = _VARIABLE.sub(ANY, span.text[start : min(stop, start + LINE_CHARS)])
        kind = self._known.get(masked)
        if kind is None:
            words = masked.split()
            if not words:
                return None
            kind = self._sorted(words, (span, start, stop))
            if len(self._known) < MOST_KNOWN:
                self._known[masked] = kind
        return kind

    def _sorted(self, words: list[str], example: tuple[Span, int, int]) -> _Kind:
        level = next((word for word in words if _LEVEL.search(word)), "")
        group = self._groups.setdefault((len(words), words[0], level), [])
        for kind in group:
            if kind.takes(words):
                return kind
        if len(group) >= MOST_GROUP:
            return group[-1]
        group.append(_Kind(words, example))
        return group[-1]


def templates(k: int = 20, text: str | None = None) -> Templates:
    """The k commonest kinds of lines, with <*> for what differs: lines, text, path, line, example.

    `text` is a path, what between() gave, or any text; default: all files. Of more than 32 million
    characters evenly spaced parts are looked at, and the counts are projected.
    """
    counts, share = _counted(_Miner(), text)
    ranked = sorted(counts, key=lambda kind: -counts[kind])[:k]
    found = Templates()
    for kind in ranked:
        span, start, example = kind.first
        count = round(counts[kind] / share)
        found.append(Template(count, kind.text, span.path, span.line_of(start), example, share < 1))
    return found


def diff_windows(a: str, b: str, k: int = 20) -> Shifts:
    """The k kinds of lines whose share differs most between two stretches of a log.

    `a` and `b` are what between() gave, or any texts; each has .before, .after, .text, .example.
    """
    miner = _Miner()
    (before, share_a), (after, share_b) = _counted(miner, a), _counted(miner, b)
    all_a, all_b = max(sum(before.values()), 1), max(sum(after.values()), 1)

    def weight(kind: _Kind) -> float:
        rate_a, rate_b = before.get(kind, 0) / all_a, after.get(kind, 0) / all_b
        # What is rare in both says little, whatever their ratio (as in a chi-squared test).
        return (rate_a - rate_b) ** 2 / (rate_a + rate_b)

    ranked = sorted(dict.fromkeys([*after, *before]), key=lambda kind: -weight(kind))
    return Shifts(
        Shift(
            round(before.get(kind, 0) / share_a),
            round(after.get(kind, 0) / share_b),
            kind.text,
            kind.first[2],
        )
        for kind in ranked[:k]
        if weight(kind) > 0
    )


def _counted(miner: _Miner, text: str | None) -> tuple[dict[_Kind, float], float]:
    """How many lines of each kind there are in the part that was looked at, and how large it is."""
    spans = spans_of(text)
    total = sum(span.end - span.start for span in spans)
    share = min(1.0, SAMPLED_CHARS / total) if total else 1.0
    counts: dict[_Kind, float] = {}
    for part in spans if share == 1 else _sampled(spans, round(BLOCK_CHARS / share)):
        for start, stop in part.lines():
            kind = miner.kind_of(part, start, stop)
            if kind:
                # Where a line is longer than the stretches between, it stands for itself.
                whole = stop - start > BLOCK_CHARS
                counts[kind] = counts.get(kind, 0) + (share if whole else 1)
    return counts, share


def _sampled(spans: list[Span], step: int) -> Iterator[Span]:
    """A block of whole lines at every `step` characters of all spans together."""
    passed = 0
    for span in spans:
        size = span.end - span.start
        for block in range(passed // step * step, passed + size, step):
            low, high = max(block - passed, 0), min(block + BLOCK_CHARS - passed, size)
            if low < high:
                start, end = (span.line_start(span.start + at) for at in (low, high))
                yield span._replace(start=start, end=end)
        passed += size
