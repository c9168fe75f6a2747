"""Find the places an answer names, `path:line` or `path:first-last`, in the loaded text."""

import re
from collections import defaultdict
from collections.abc import Sequence

from rlm_mcp.contexts.catalogue import Catalogue
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.types import Citation, ContextInfo, Document

MOST_CITATIONS = 100
EXCERPT_CHARS = 400
EXCERPT_LINES = 8

_PATH = r"[^\s`'\"()\[\]<>,;:*]"
# Tried only where a path can begin and over no more than one can have: linear in any answer.
_PLACE = re.compile(
    rf"(?<!{_PATH})(?P<path>{_PATH}{{1,400}}+)"
    r":L?(?P<start>\d{1,9})(?:[-–]L?(?P<end>\d{1,9}))?"
)


def locate(text: str, contexts: Sequence[ContextInfo], store: ContextStore) -> tuple[Citation, ...]:
    """The places named in `text` that are documents of `contexts`, each once, in order.

    A path may be given without its leading folders if only one document fits. `found` is False
    where the document has no such lines. What names no document is no citation, and no more than
    the first 100 are listed. Reads the disk.
    """
    found: dict[tuple[str, str, int, int], Citation] = {}
    shelves = [_Shelf(store.catalogue(info.id)) for info in contexts]
    for place in _PLACE.finditer(text):
        start = int(place["start"])
        end = int(place["end"] or start)
        for shelf in shelves:
            document = shelf.document(place["path"].removeprefix("./"))
            if document is not None:
                key = (shelf.catalogue.info.id, document.path, start, end)
                if key not in found:
                    found[key] = _citation(shelf.catalogue, document, start, end)
                break
        if len(found) >= MOST_CITATIONS:
            break
    return tuple(found.values())


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


def _citation(catalogue: Catalogue, document: Document, start: int, end: int) -> Citation:
    exists = 1 <= start <= end <= document.lines
    excerpt = ""
    if exists:
        last = min(end, start + EXCERPT_LINES - 1)
        excerpt = catalogue.lines(document.path, start, last, EXCERPT_CHARS)
    return Citation(catalogue.info.id, document.path, start, end, exists, excerpt)
