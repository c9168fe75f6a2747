"""Which parts of the loaded text sub-models were given, and what a reading piece by piece left out.

A program that cuts a text into pieces and asks about each means to read all of it. A failed call, a
wrong bound or a model that stops after the first pieces leaves some out, and the answer looks like
any other. Prompts are matched against the text itself, whatever code made them.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from statistics import median

import anyio
import anyio.to_thread

from rlm_mcp.conduct import Covered
from rlm_mcp.contexts.catalogue import Catalogue
from rlm_mcp.contexts.haystack import Haystack, same_start
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.errors import RlmError
from rlm_mcp.types import ContextInfo

Span = tuple[int, int]

# Beyond this nothing is said: what is not looked for cannot be called unread.
SEARCH_BYTES = 256 << 20
MOST_SPANS = 100_000
MOST_MISSING = 5
# Pieces follow each other if what lies between is small beside them, and are alike if most of them
# have about the same size.
NEXT_TO = 0.1
HEADER_CHARS = 300
LEAST_PIECES = 3
ALIKE = 0.5
# Documents may lose blank lines at their ends, and lines their numbers.
BORDER_CHARS = 64
OWN_WORDS_CHARS = 1_000
OWN_WORDS = 0.1
# What is less than this of a piece is a border, not a piece that was left out.
BORDER = 0.25


@dataclass(slots=True)
class Coverage:
    """What was read of `contexts`. Give it every prompt that a sub-model has answered.

    Of a context of which some prompt held text that could not be placed nothing is said.
    """

    contexts: Sequence[ContextInfo]
    store: ContextStore
    _room: int = SEARCH_BYTES
    _spans: dict[str, list[Span]] = field(default_factory=dict)
    _untold: set[str] = field(default_factory=set)
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def add(self, prompts: Sequence[str]) -> None:
        """Note where the text in these prompts stands."""
        if self._room > 0 and self.contexts:
            async with self._lock:
                await anyio.to_thread.run_sync(self._add, prompts)

    def _add(self, prompts: Sequence[str]) -> None:
        left, around = list(prompts), _around(prompts)
        for info in self.contexts:
            spans = self._spans.setdefault(info.id, [])
            near, rest = spans[-1][1] if spans else 0, []
            try:
                with Haystack(info, self._room) as haystack:
                    for prompt in left:
                        found = haystack.spans(prompt, near)
                        if not found:
                            rest.append(prompt)
                            continue
                        near = found[-1][1]
                        spans += _merged(found)
                        if len(prompt) - around - _chars(found) > _unplaced(prompt):
                            self._untold.add(info.id)
            except OSError:
                continue
            if len(spans) > MOST_SPANS:
                self._untold.add(info.id)
                spans.clear()
            self._room, left = haystack.room, rest

    async def covered(self) -> tuple[Covered, ...]:
        """The texts that were read piece by piece; none where that cannot be told."""
        if self._room <= 0 or not any(len(spans) >= LEAST_PIECES for spans in self._spans.values()):
            return ()
        try:
            return await anyio.to_thread.run_sync(self._covered)
        except (RlmError, OSError):
            return ()

    def _covered(self) -> tuple[Covered, ...]:
        found = (
            covered(self.store.catalogue(info.id), self._spans.get(info.id, ()), info.name)
            for info in self.contexts
            if info.id not in self._untold
        )
        return tuple(each for each in found if each is not None)


def covered(catalogue: Catalogue, spans: Sequence[Span], name: str) -> Covered | None:
    """What `spans` make up of a context, None if they do not follow each other like pieces."""
    pieces = _in_order(spans)
    if len(pieces) < LEAST_PIECES:
        return None
    if (by_document := _by_document(catalogue, pieces, name)) is not None:
        return by_document
    size = median(end - start for start, end in pieces)
    gaps = [after[0] - before[1] for before, after in pairwise(pieces)]
    most = NEXT_TO * size + HEADER_CHARS * (len(catalogue.documents) > 1)
    next_to = [gap <= most for gap in gaps]
    alike = sum(ALIKE * size <= end - start <= size / ALIKE for start, end in pieces)
    if sum(next_to) < max(LEAST_PIECES - 1, len(gaps) // 2) or alike < len(pieces) // 2:
        return None
    regions = _regions(catalogue, pieces)
    missing = [
        gap
        for region in regions
        for gap in _holes(region, pieces)
        if gap[1] - gap[0] > max(BORDER * size, most)
    ]
    lacking = sum(max(1, round((end - start) / size)) for start, end in missing)
    named = name if len(regions) != 1 or len(catalogue.documents) < 2 else _named(catalogue, pieces)
    return Covered(name, named, len(pieces), len(pieces) + lacking, tuple(missing[:MOST_MISSING]))


def _by_document(catalogue: Catalogue, pieces: Sequence[Span], name: str) -> Covered | None:
    """The same for a reading document by document, of at least half of them.

    What is too short to be found is left out, and so is what reads as another that was read.
    """
    long = [each for each in catalogue.documents if each.chars > 2 * BORDER_CHARS]
    whole = {
        document
        for start, end in pieces
        for document in catalogue.between(start, end)
        if start <= document.start + BORDER_CHARS
        and end >= document.start + document.chars - BORDER_CHARS
    }.intersection(long)
    if len(whole) < max(LEAST_PIECES, len(pieces) * ALIKE, len(long) * ALIKE):
        return None
    sizes = {each.chars for each in whole}
    missing = [each for each in long if each not in whole]
    if any(each.chars in sizes for each in missing):
        texts = {catalogue.text(each) for each in whole}
        missing = [each for each in missing if catalogue.text(each) not in texts]
    holes = [(each.start, each.start + each.chars) for each in missing]
    return Covered(name, name, len(long) - len(holes), len(long), tuple(holes[:MOST_MISSING]))


def _around(prompts: Sequence[str]) -> int:
    """The characters that the prompts of one call have in common: the words around the text."""
    if len(prompts) < 2:
        return 0
    first, last = prompts[0], prompts[-1]
    front = same_start(first, last)
    return front + same_start(first[:front:-1], last[:front:-1])


def _unplaced(prompt: str) -> float:
    """How many characters of a prompt may be words of the caller's own."""
    return max(OWN_WORDS_CHARS, OWN_WORDS * len(prompt))


def _chars(spans: Sequence[Span]) -> int:
    return sum(end - start for start, end in spans)


def _merged(spans: Sequence[Span]) -> list[Span]:
    """The spans of one prompt, with those that a number or a break parts joined."""
    merged: list[Span] = []
    for start, end in spans:
        if merged and 0 <= start - merged[-1][1] <= BORDER_CHARS:
            merged[-1] = merged[-1][0], end
        else:
            merged.append((start, end))
    return merged


def _in_order(spans: Sequence[Span]) -> list[Span]:
    """By place; one inside another, or read before, does not count again."""
    found: list[Span] = []
    for start, end in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if not found or end > found[-1][1]:
            found.append((start, end))
    return found


def _regions(catalogue: Catalogue, pieces: Sequence[Span]) -> list[Span]:
    """What was to be read: all of a context whose pieces cross documents, else those touched."""
    touched: dict[Span, None] = {}
    for start, end in pieces:
        for document in catalogue.between(start, end):
            whole = (document.start, document.start + document.chars)
            if start < whole[0] - 1 or end > whole[1] + 1:
                return [(0, catalogue.info.chars)]
            touched[whole] = None
    return list(touched)


def _named(catalogue: Catalogue, pieces: Sequence[Span]) -> str:
    return next(document.path for document in catalogue.between(*pieces[0]))


def _holes(region: Span, pieces: Sequence[Span]) -> Iterator[Span]:
    """The stretches of a region that no piece covers."""
    position, last = region
    behind = bisect_right(pieces, position, key=lambda piece: piece[1])
    for start, end in islice(pieces, behind, None):
        if start >= last:
            break
        if start > position:
            yield position, start
        position = max(position, end)
    if position < last:
        yield position, last
