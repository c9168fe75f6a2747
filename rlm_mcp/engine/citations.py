"""Find the places an answer names, `path:line` or `path:first-last`, in the loaded text."""

import re
from collections.abc import Sequence

from rlm_mcp.contexts.catalogue import Catalogue
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.types import Citation, ContextInfo, Document

MOST_CITATIONS = 100
EXCERPT_CHARS = 400
EXCERPT_LINES = 8

_PLACE = re.compile(r"(?P<path>[^\s`'\"()\[\]<>,;:*]+):L?(?P<start>\d+)(?:[-–]L?(?P<end>\d+))?")


def locate(text: str, contexts: Sequence[ContextInfo], store: ContextStore) -> tuple[Citation, ...]:
    """The places named in `text` that are documents of `contexts`, each once, in order.

    A path may be given without its leading folders if only one document fits. `found` is False
    where the document has no such lines. What names no document is no citation. Reads the disk.
    """
    found: dict[tuple[str, str, int, int], Citation] = {}
    catalogues = [store.catalogue(info.id) for info in contexts]
    for place in _PLACE.finditer(text):
        start = int(place["start"])
        end = int(place["end"] or start)
        for catalogue in catalogues:
            document = _document(place["path"], catalogue)
            if document is None:
                continue
            key = (catalogue.info.id, document.path, start, end)
            if key not in found and len(found) < MOST_CITATIONS:
                found[key] = _citation(catalogue, document, start, end)
            break
    return tuple(found.values())


def _document(path: str, catalogue: Catalogue) -> Document | None:
    path = path.removeprefix("./")
    exact = catalogue.find(path)
    if exact is not None:
        return exact
    fitting = [d for d in catalogue.documents if d.path.endswith("/" + path)]
    return fitting[0] if len(fitting) == 1 else None


def _citation(catalogue: Catalogue, document: Document, start: int, end: int) -> Citation:
    exists = 1 <= start <= end <= document.lines
    excerpt = ""
    if exists:
        last = min(end, start + EXCERPT_LINES - 1)
        excerpt = catalogue.lines(document.path, start, last)[:EXCERPT_CHARS]
    return Citation(catalogue.info.id, document.path, start, end, exists, excerpt)
