"""Find the places an answer names, and the quotes it gives for them, in the loaded text."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlm_mcp.conduct import Citation
from rlm_mcp.contexts.catalogue import Catalogue
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine.claims import Claim, claims
from rlm_mcp.engine.lookup import Elsewhere, Lookup
from rlm_mcp.engine.passages import Page
from rlm_mcp.engine.quotes import Work
from rlm_mcp.types import ContextInfo, Document

MOST_CITATIONS = 100
# Beyond so many characters, quotes are looked for around the lines the answer gives only.
MOST_WORK_CHARS = 2 << 30


def locate(text: str, contexts: Sequence[ContextInfo], store: ContextStore) -> tuple[Citation, ...]:
    """The places named in `text` that are documents of `contexts`, each once, in order.

    A place is `path:line` or `path:first-last`, or a path right before a quote; it is listed once
    for each of its quotes, which are looked up by the ladder of `engine.quotes`. A path may be
    given without its leading folders if only one document fits. `found` is False where the document
    has no such lines. What names no document is no citation, and no more than the first 100 are
    listed. Reads the disk.
    """
    library = _Library([_Shelf(store.catalogue(info.id)) for info in contexts])
    named = _first(claims(text, lambda path: library.document(path) is not None), library)
    work = Work(MOST_WORK_CHARS)
    elsewhere = Elsewhere([shelf.catalogue for shelf in library.shelves], work)
    citations: dict[int, Citation | None] = {}
    by_document: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, each in enumerate(named):
        by_document[each.catalogue.info.id, each.document.path].append(number)
    for numbers in by_document.values():
        first = named[numbers[0]]
        lookup = Lookup(Page(first.catalogue, first.document), elsewhere, work)
        for number in numbers:
            citations[number] = lookup.citation(named[number].claim)
    return _once([citations[number] for number in range(len(named))])


def doubtful(citations: Iterable[Citation]) -> tuple[Citation, ...]:
    """Those to ask again for: a quote was not found, or a place does not exist."""
    return tuple(each for each in citations if each.check == "unverified")


@dataclass(frozen=True, slots=True)
class _Named:
    """A claim, and the document that its path means."""

    catalogue: Catalogue
    document: Document
    claim: Claim


class _Shelf:
    """The documents of one context by the last part of their path."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._by_name: dict[str, list[Document]] | None = None

    def document(self, path: str) -> Document | None:
        """The one that is meant by a path, whole or without its leading folders."""
        exact = self.catalogue.find(path)
        if exact is not None:
            return exact
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for document in self.catalogue.documents:
                self._by_name[document.path.rpartition("/")[2]].append(document)
        named = self._by_name.get(path.rpartition("/")[2], [])
        fitting = [document for document in named if document.path.endswith("/" + path)]
        return fitting[0] if len(fitting) == 1 else None


class _Library:
    """All contexts; each path is looked up once."""

    def __init__(self, shelves: Sequence[_Shelf]) -> None:
        self.shelves = shelves
        self.document = functools.cache(self._document)

    def _document(self, path: str) -> tuple[Catalogue, Document] | None:
        for shelf in self.shelves:
            document = shelf.document(path.removeprefix("./"))
            if document is not None:
                return shelf.catalogue, document
        return None


def _first(found: Iterable[Claim], library: _Library) -> list[_Named]:
    """The first 100 claims, each once, those of one place together."""
    places: dict[object, dict[str | None, _Named]] = {}
    count = 0
    for claim in found:
        meant = library.document(claim.path)
        assert meant is not None
        catalogue, document = meant
        key = (catalogue.info.id, document.path, claim.first, claim.last)
        quotes = places.setdefault(key, {})
        if claim.quote not in quotes:
            count += 1
            if count > 2 * MOST_CITATIONS:
                break
            quotes[claim.quote] = _Named(catalogue, document, claim)
    return [each for quotes in places.values() for each in quotes.values()]


def _once(citations: Iterable[Citation | None]) -> tuple[Citation, ...]:
    """Without bare places that have a quote too, and no more than 100."""
    known = [each for each in citations if each is not None]
    quoted = {_place(each) for each in known if each.quote is not None}
    kept = [each for each in known if each.quote is not None or _place(each) not in quoted]
    return tuple(kept[:MOST_CITATIONS])


def _place(citation: Citation) -> tuple[str, str, tuple[int, int]]:
    lines = citation.claimed or (citation.start, citation.end)
    return citation.context, citation.path, lines
