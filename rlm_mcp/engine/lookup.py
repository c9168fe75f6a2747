"""Look one quote up in its document, and say where it stands or why it is not shown as found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rlm_mcp.conduct import Citation
from rlm_mcp.contexts.catalogue import Catalogue
from rlm_mcp.engine.claims import Claim
from rlm_mcp.engine.likeness import likenesses
from rlm_mcp.engine.passages import Page, Passage, first_lines
from rlm_mcp.engine.quotes import MOST_QUOTE_CHARS, Quote, Span, Work, spans
from rlm_mcp.words import count

EXCERPT_CHARS = 400
EXCERPT_LINES = 8
LEAD_CHARS = 100
ELSEWHERE_CHARS = 16 << 20
ELSEWHERE_TRIED = 20
NEAR_CHARS = 4 << 20
SHOWN_LINES = 3

Lines = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Hit:
    """A stretch of a passage where a quote stands, and, if it only nearly does, what differs."""

    passage: Passage
    span: Span
    differs: str | None = None

    @property
    def lines(self) -> Lines:
        return self.passage.lines_of(self.span)

    @property
    def text(self) -> str:
        return self.passage.text[slice(*self.span)]


class Elsewhere:
    """The first 16 Mi characters of all contexts: where a quote stands that was misplaced."""

    def __init__(self, catalogues: Sequence[Catalogue], work: Work) -> None:
        self._catalogues, self._work = catalogues, work
        self._heads: list[str] | None = None

    def place(self, quote: Quote, page: Page) -> str | None:
        """`path:line` of another document that holds the quote."""
        if self._heads is None:
            room, self._heads = ELSEWHERE_CHARS, []
            for catalogue in self._catalogues:
                self._heads.append(catalogue.read(0, room))
                room -= len(self._heads[-1])
        for catalogue, head in zip(self._catalogues, self._heads, strict=True):
            if not self._work.allows(2 * len(head)):
                return None
            for start, end in spans(quote, head, self._work)[:ELSEWHERE_TRIED]:
                found = catalogue.at(start)
                if found is None or (catalogue, found[0]) == (page.catalogue, page.document):
                    continue
                document, line = found
                if document.start <= start and end <= document.start + document.chars:
                    same = document.path == page.document.path
                    return f"{document.path}:{line}" + (f" of {catalogue.info.id}" if same else "")
        return None


class Lookup:
    """Quotes of one document."""

    def __init__(self, page: Page, elsewhere: Elsewhere, work: Work) -> None:
        self.page, self.elsewhere, self.work = page, elsewhere, work

    def citation(self, claim: Claim) -> Citation | None:
        """What a claim becomes; None if it was not surely a quote and is not there."""
        place = self._place(claim)
        if claim.quote is None:
            return place
        shown = claim.quote
        if len(shown) > EXCERPT_CHARS:
            shown = shown[: EXCERPT_CHARS - 1] + "…"
        place = replace(place, quote=shown, check="unverified")
        if len(claim.quote) > MOST_QUOTE_CHARS:
            return replace(
                place, reason=f"The quote is longer than {MOST_QUOTE_CHARS:,} characters."
            )
        quote = Quote(claim.quote)
        lines = (claim.first, claim.last) if claim.first and claim.last else None
        if lines is not None and lines[0] > lines[1]:
            lines = lines[1], lines[0]
        if not quote.identifies:
            return self._short(quote, claim, lines, place)
        hits, partly = self._hits(quote, lines)
        if not hits:
            return replace(place, reason=self._missing(quote, lines, partly))
        if lines is None:
            hits = _only(quote, hits)
            if len(hits) > 1:
                return replace(place, reason=_ambiguous(hits))
        hit = min(hits, key=lambda each: _distance(each.lines, lines))
        return self._shown(hit, place, lines)

    def _place(self, claim: Claim) -> Citation:
        """The place alone: whether it exists, and the text there."""
        info, document = self.page.catalogue.info, self.page.document
        if claim.first is None or claim.last is None:
            return Citation(info.id, document.path, 0, 0, False, "")
        start, end = claim.first, claim.last
        if 1 <= start <= end <= document.lines:
            last = min(end, start + EXCERPT_LINES - 1)
            excerpt = self.page.excerpt(start, last, EXCERPT_CHARS)
            return Citation(info.id, document.path, start, end, True, excerpt)
        return Citation(
            info.id,
            document.path,
            start,
            end,
            False,
            "",
            check="unverified",
            reason=f"{document.path} has {count(document.lines, 'line')}.",
        )

    def _short(
        self, quote: Quote, claim: Claim, lines: Lines | None, place: Citation
    ) -> Citation | None:
        """A quote too short to be looked for anywhere but in the lines it is said to stand in."""
        if lines is None:
            return None
        inside, path = [], self.page.document.path
        if place.found:
            passage = self.page.around(*lines)
            hits = _strict(quote, passage, path, self.work)
            inside = [hit for hit in hits if _holds(lines, hit.lines) and not hit.differs]
        if inside:
            return self._shown(inside[0], place, lines)
        if not claim.sure:
            return None
        why = f"Not in {_named(lines)}" if place.found else place.reason or ""
        return replace(place, reason=f"{why.rstrip('.')}; too short to be looked for elsewhere.")

    def _hits(self, quote: Quote, lines: Lines | None) -> tuple[list[_Hit], bool]:
        """Where a quote stands on the best rung, and whether only a part was looked through."""
        passages, path = [], self.page.document.path
        if lines is not None and lines[0] <= self.page.document.lines:
            passages.append(self.page.around(*lines))
            hits = _strict(quote, passages[0], path, self.work)
            if any(not hit.differs for hit in hits):
                return hits, False
        whole = self.page.whole() if self.work.allows(2 * self.page.document.chars) else None
        if whole is not None:
            passages.append(whole)
            hits = _strict(quote, whole, path, self.work)
            if hits:
                return hits, False
        return self._near(quote, passages), whole is None

    def _near(self, quote: Quote, passages: Sequence[Passage]) -> list[_Hit]:
        """Where a quote nearly stands, in the first passage that has such a place."""
        texts = [quote.text, *([quote.numbered.plain.text] if quote.numbered else [])]
        for passage in passages:
            for text in texts:
                if len(passage.text) > NEAR_CHARS or not self.work.allows(2 * len(passage.text)):
                    continue
                found = likenesses(text, passage.text, self.work)
                if found:
                    differs = "the text has no such line numbers"
                    return [_Hit(passage, each.span, each.difference or differs) for each in found]
        return []

    def _missing(self, quote: Quote, lines: Lines | None, partly: bool) -> str:
        path = self.page.document.path
        plain = quote.numbered.plain if quote.numbered else quote
        other = self.elsewhere.place(plain, self.page)
        if other is not None:
            return f"The quote stands in {other}, not in {path}."
        if not partly:
            return f"{path} has no such text."
        if lines is None:
            return f"{path} is not looked through as a whole: the lines must be named."
        return f"No such text around {_named(lines)}; the rest of {path} is not looked through."

    def _shown(self, hit: _Hit, place: Citation, lines: Lines | None) -> Citation:
        """The place where a quote was found, with the lines that it has there."""
        found = hit.lines
        cited = lines if lines is not None and _holds(lines, found) and place.found else found
        moved = None if lines is None or cited == lines else (place.start, place.end)
        reasons = [] if hit.differs is None else [f"{hit.differs[0].upper()}{hit.differs[1:]}."]
        if moved is not None:
            reasons.append(f"It stands in {_named(found)}; the answer says {_numbers(moved)}.")
        return replace(
            place,
            start=cited[0],
            end=cited[1],
            found=True,
            excerpt=_excerpt(hit),
            check="verified" if hit.differs is None else "near",
            reason=" ".join(reasons) or None,
            claimed=moved,
        )


def _strict(quote: Quote, passage: Passage, path: str, work: Work) -> list[_Hit]:
    """Where a quote stands by the strict rungs.

    One with line numbers must stand at line starts. With other numbers than its lines have, it
    counts as near.
    """
    found = [_Hit(passage, span) for span in spans(quote, passage.text, work)]
    numbered = quote.numbered
    if found or numbered is None or not numbered.is_of(path):
        return found
    for span in spans(numbered.plain, passage.text, work):
        start = passage.text.rfind("\n", 0, span[0]) + 1
        if passage.text[start : span[0]].strip():
            continue
        line = passage.line_at(span[0])
        right = line == numbered.first
        differs = None if right else f"the quote numbers line {line} as {numbered.first}"
        found.append(_Hit(passage, span, differs))
    exact = [hit for hit in found if hit.differs is None]
    return exact or found


def _only(quote: Quote, hits: list[_Hit]) -> list[_Hit]:
    """The one hit that is the quote to the letter, if there is just one; else all."""
    exact = [hit for hit in hits if hit.text == quote.text]
    return exact if len(exact) == 1 else hits


def _ambiguous(hits: Sequence[_Hit]) -> str:
    starts = [f"{hit.lines[0]}" for hit in hits[:SHOWN_LINES]]
    more = len(hits) - len(starts)
    listed = ", ".join(starts) + (f" and {more:,} more" if more else "")
    stands = "stands" if hits[0].differs is None else "nearly stands"
    return f"The quote {stands} in lines {listed}: the answer must say which is meant."


def _distance(found: Lines, lines: Lines | None) -> int:
    """How many lines a stretch is away from the lines that were named."""
    return 0 if lines is None else max(found[0] - lines[1], lines[0] - found[1], 0)


def _holds(lines: Lines, found: Lines) -> bool:
    return lines[0] <= found[0] and found[1] <= lines[1]


def _named(lines: Lines) -> str:
    return f"{'line' if lines[0] == lines[1] else 'lines'} {_numbers(lines)}"


def _numbers(lines: Lines) -> str:
    return f"{lines[0]}" if lines[0] == lines[1] else f"{lines[0]}-{lines[1]}"


def _excerpt(hit: _Hit) -> str:
    """The lines of a hit; of a long line the part around it."""
    text, (first, last) = hit.passage.text, hit.span
    start = max(text.rfind("\n", 0, first) + 1, first - LEAD_CHARS)
    end = text.find("\n", last - 1) + 1 or len(text)
    return first_lines(text[start : min(end, start + EXCERPT_CHARS)], EXCERPT_LINES)
