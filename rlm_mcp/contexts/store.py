"""The contexts on disk: each an immutable folder of a blob and a manifest, named by its content.

    <home>/contexts/<id>/blob            the text in its TextKind
    <home>/contexts/<id>/manifest.json   what it is made of
    <home>/contexts/seen/<stamp>.json    an unchanged source's id, so that it need not be read again

A folder appears under its id by one rename, after its files are on the disk, and is never changed.
One that was damaged is replaced when its content is loaded again.
"""

import difflib
import re
from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from rlm_mcp.contexts.catalogue import Catalogue, from_folder
from rlm_mcp.contexts.draft import Draft, new_draft
from rlm_mcp.contexts.expiry import expire, touch
from rlm_mcp.contexts.recall import Recall
from rlm_mcp.errors import StoreFailed, UnknownContext
from rlm_mcp.rules import Keeping
from rlm_mcp.types import ContextInfo

_ID = re.compile(r"ctx_[0-9a-f]{20}")
_CACHED = 8
LOAD_IT = "Load it first: load_context gives its id."


class ContextStore:
    """The contexts under one data folder, which several processes may share.

    Every method but the constructor blocks on the disk. Safe for concurrent use.
    """

    def __init__(self, home: Path) -> None:
        self._root = home / "contexts"
        self.recall = Recall(self._root / "seen")
        # The size is part of the key: what was damaged since is opened anew, and found out.
        self._open = lru_cache(_CACHED)(lambda folder, _blob_bytes: from_folder(folder))

    def get(self, id: str, *, name: str | None = None) -> ContextInfo:
        """What is known of a context; its name is its id unless given.

        Raises:
            UnknownContext: there is none of that id.
        """
        info = self.catalogue(id).info
        return replace(info, name=name) if name else info

    def list(self) -> tuple[ContextInfo, ...]:
        """All contexts, ordered by id; damaged ones are left out."""
        found: list[ContextInfo] = []
        for known in self._ids():
            with suppress(StoreFailed, UnknownContext):
                found.append(self.get(known))
        return tuple(found)

    def catalogue(self, id: str) -> Catalogue:
        """A context's documents, and its text by offset, path and line.

        Raises:
            UnknownContext: there is none of that id.
        """
        if not _ID.fullmatch(id):
            raise self._unknown(id)
        try:
            folder = self._root / id
            blob = folder / "blob"
            return self._open(folder, blob.stat().st_size if folder.is_dir() else None)
        except FileNotFoundError as error:
            raise self._unknown(id) from error

    def read(self, info: ContextInfo, start: int, end: int) -> str:
        """The characters of a context from `start` up to `end`, cut to what there is."""
        return self.catalogue(info.id).read(start, end)

    def lines(self, info: ContextInfo, path: str, first: int, last: int) -> str:
        """Lines `first` to `last` of a document, counted from 1, both included.

        Raises:
            ArgumentInvalid: the context has no such document.
        """
        return self.catalogue(info.id).lines(path, first, last)

    def touch(self, id: str) -> None:
        """Note that a context is used now: its time to expire begins anew."""
        touch(self._root / id)

    def expire(self, cited: Collection[str], keeping: Keeping) -> tuple[str, ...]:
        """Remove what is too old or too much, and return its ids; see `contexts.expiry`."""
        gone = expire([self._root / known for known in self._ids()], cited, keeping)
        self.recall.forget(keeping.days)
        return tuple(gone)

    def draft(self, *, headed: bool, whose: str = "") -> AbstractContextManager[Draft]:
        """A new snapshot to write, another one for each `whose`.

        Raises:
            StoreFailed: the data folder cannot be written.
        """
        return new_draft(self._root, headed=headed, whose=whose)

    def _ids(self) -> tuple[str, ...]:
        try:
            names = [path.name for path in self._root.iterdir()]
        except FileNotFoundError:
            return ()
        return tuple(sorted(name for name in names if _ID.fullmatch(name)))

    def _unknown(self, id: str) -> UnknownContext:
        near = difflib.get_close_matches(id, self._ids(), n=1, cutoff=0.5)
        return unknown(id, f"Did you mean {near[0]}?" if near else LOAD_IT)


def unknown(id: str, hint: str = LOAD_IT) -> UnknownContext:
    """The error of who asks for a context that is not there."""
    return UnknownContext(f"There is no context {id}.", hint)
