"""What a stored context is made of: its manifest, and text by offset, path and line."""

import difflib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from rlm_mcp.contexts.blob import read_blob
from rlm_mcp.errors import ArgumentInvalid, StoreFailed
from rlm_mcp.types import UTF8, ContextInfo, Document, Skip, TextKind

FORMAT = 2
_NEAREST_OF = 20_000


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One context and its documents in path order. Reading holds little more than its result."""

    info: ContextInfo
    documents: tuple[Document, ...]
    _by_path: dict[str, Document] = field(init=False, repr=False, compare=False)
    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_path", {each.path: each for each in self.documents})
        object.__setattr__(self, "_starts", [each.start for each in self.documents])

    def find(self, path: str) -> Document | None:
        """The document at `path`, None if there is none."""
        return self._by_path.get(path)

    def require(self, path: str) -> Document:
        """The document at `path`.

        Raises:
            ArgumentInvalid: there is none.
        """
        document = self.find(path)
        if document is None:
            near = difflib.get_close_matches(path, islice(self._by_path, _NEAREST_OF), n=1)
            hint = f"Did you mean {near[0]}?" if near else "Name a document of the context."
            raise ArgumentInvalid(f"{self.info.name} has no document {path}.", hint)
        return document

    def at(self, offset: int) -> tuple[Document, int] | None:
        """The document and its line, from 1, that a character of the context stands in.

        A header belongs to the document below it. None outside the context.
        """
        if not 0 <= offset < self.info.chars:
            return None
        number = bisect_right(self._starts, offset) - 1
        document = self.documents[max(number, 0)]
        if offset >= document.start + document.chars and number + 1 < len(self.documents):
            return self.documents[number + 1], 1
        before = self.pieces(document.start, offset)
        return document, 1 + sum(piece.count("\n") for piece in before)

    def between(self, start: int, end: int) -> tuple[Document, ...]:
        """The documents of which some character stands between two of the context's."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = bisect_right(self._starts, end - 1)
        found = self.documents[first:last]
        return tuple(each for each in found if each.start < end and start < each.start + each.chars)

    def read(self, start: int, end: int) -> str:
        """The characters of the context from `start` up to `end`, cut to what there is."""
        return "".join(self.pieces(max(start, 0), min(end, self.info.chars)))

    def text(self, document: Document) -> str:
        """All of one of its documents."""
        return self.read(document.start, document.start + document.chars)

    def lines(self, path: str, first: int, last: int, most_chars: int | None = None) -> str:
        """Lines `first` to `last` of a document, both counted from 1 and included, as they are.

        Lines end at a newline only; those beyond the document are left out. No more than
        `most_chars` characters are read together, however long a line is.

        Raises:
            ArgumentInvalid: the context has no such document.
        """
        document = self.require(path)
        found: list[str] = []
        room = self.info.chars if most_chars is None else most_chars
        for piece in self._lines(document, max(first, 1), last):
            found.append(piece[:room])
            room -= len(found[-1])
            if not room:
                break
        return "".join(found)

    def _lines(self, document: Document, first: int, last: int) -> Iterator[str]:
        line = 1
        for piece in self.pieces(document.start, document.start + document.chars):
            if line > last:
                return
            breaks = piece.count("\n")
            start = _after_breaks(piece, first - line) if line < first else 0
            end = _after_breaks(piece, last - line + 1) if line + breaks > last else len(piece)
            yield piece[start:end]
            line += breaks

    def pieces(self, start: int, end: int) -> Iterator[str]:
        """The same in pieces of at most 256 KiB."""
        info = self.info
        return read_blob(info.blob, info.kind, start, end)


def _after_breaks(text: str, count: int) -> int:
    """The offset behind the `count`-th newline, the end of the text if it has fewer."""
    offset = 0
    for _ in range(count):
        offset = text.find("\n", offset) + 1
        if not offset:
            return len(text)
    return offset


def to_manifest(catalogue: Catalogue) -> bytes:
    """The manifest file's content."""
    info = catalogue.info
    return orjson.dumps(
        {
            "format": FORMAT,
            "id": info.id,
            "kind": info.kind,
            "bytes": info.bytes,
            "chars": info.chars,
            "lines": info.lines,
            "tokens_estimate": info.tokens_estimate,
            "documents": [
                (each.path, each.start, each.chars, each.lines, each.bytes)
                for each in catalogue.documents
            ],
            "encodings": {
                each.path: each.encoding for each in catalogue.documents if each.encoding != UTF8
            },
            "skipped": [(skip.path, skip.reason) for skip in info.skipped],
        }
    )


def from_folder(folder: Path) -> Catalogue:
    """The catalogue of a context's folder; the context's name is its id.

    Raises:
        FileNotFoundError: there is no such folder.
        StoreFailed: it is not what was once written there.
    """
    manifest, blob = folder / "manifest.json", folder / "blob"
    try:
        record: dict[str, Any] = orjson.loads(manifest.read_bytes())
        kind = TextKind(record["kind"])
        whole = record["format"] == FORMAT and blob.stat().st_size == record["chars"] * kind.width
        encodings = record["encodings"]
        documents = tuple(
            Document(path, start, chars, lines, size, encodings.get(path, UTF8))
            for path, start, chars, lines, size in record["documents"]
        )
        skipped = tuple(Skip(*row) for row in record["skipped"])
    except (ValueError, KeyError, TypeError, NotADirectoryError):
        whole = False
    if not whole:
        raise StoreFailed(f"The context in {folder} is damaged.", "Load its sources again.")
    info = ContextInfo(
        id=record["id"],
        name=record["id"],
        documents=len(documents),
        bytes=record["bytes"],
        chars=record["chars"],
        lines=record["lines"],
        tokens_estimate=record["tokens_estimate"],
        skipped=skipped,
        kind=kind,
        blob=blob,
        manifest=manifest,
    )
    return Catalogue(info, documents)
