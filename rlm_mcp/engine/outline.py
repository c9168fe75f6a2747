"""Where a context's documents are, in a line or two of constant size for the root model."""

import posixpath
from collections import Counter
from collections.abc import Sequence

from rlm_mcp.types import Document
from rlm_mcp.words import count

MOST_NAMED = 10
MOST_CHARS = 600


def outline(documents: Sequence[Document]) -> str:
    """Paths with their lines if they are few, else the folders that hold most; "" for one text."""
    if len(documents) < 2:
        return ""
    if len(documents) <= MOST_NAMED:
        named = [f"{each.path} ({count(each.lines, 'line')})" for each in documents]
        return _joined("files", named)
    top = posixpath.commonpath([posixpath.dirname(each.path) for each in documents])
    start = len(top) + 1 if top else 0
    folders: Counter[str] = Counter()
    for each in documents:
        folder, slash, _ = each.path[start:].partition("/")
        folders[posixpath.join(top, folder) + slash if slash else posixpath.join(top, "*")] += 1
    largest = [f"{folder} ({number:,})" for folder, number in folders.most_common(MOST_NAMED)]
    rest = len(folders) - len(largest)
    return _joined("files by folder", largest + ([f"{rest:,} more folders"] if rest else []))


def _joined(title: str, named: Sequence[str]) -> str:
    words = f"{title}: {', '.join(named)}"
    return words if len(words) <= MOST_CHARS else f"{words[: MOST_CHARS - 1]}…"
