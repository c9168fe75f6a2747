"""Loads sources: what is known is recognised, the rest is streamed into the store."""

import importlib
import pkgutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter

from anyio import from_thread, to_thread

from rlm_mcp.contexts import sources as plugins
from rlm_mcp.contexts.draft import Draft
from rlm_mcp.contexts.listing import Asking, Entry, Listing, Source, Text, merged
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.errors import (
    ArgumentInvalid,
    SourceEmpty,
    SourceUnreadable,
    StoreFailed,
    UnknownContext,
)
from rlm_mcp.types import ContextInfo, LoadRules, Skip

_PACE_S = 0.25
ANYTHING = LoadRules()


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load is. `bytes_read` counts source bytes."""

    files_read: int
    files_total: int
    bytes_read: int


Progress = Callable[[LoadProgress], None]


async def load(
    store: ContextStore,
    sources: Sequence[str],
    *,
    text: str | Mapping[str, str] | None = None,
    name: str | None = None,
    rules: LoadRules = ANYTHING,
    progress: Progress | None = None,
) -> ContextInfo:
    """The snapshot of `sources` (paths, folders, globs) or of `text`; exactly one of the two.

    Several sources become one context, their documents' paths relative to the deepest folder they
    share; so do several texts, each a document named by its key. The same content gives the same id
    wherever it stands; a source that has not changed is not read again. `skipped` are always this
    load's own. `name` defaults to the source's own. `progress` is called from a worker thread, at
    most four times a second and at the end.

    Raises:
        ArgumentInvalid: neither sources nor a text, or both.
        SourceForbidden: a path lies where the `rules` let nothing be loaded from.
        SourceMissing: nothing stands at a path, or no file matches a glob.
        SourceUnreadable: a named file or folder cannot be read, or does not fit into memory.
        SourceEmpty: there is no text in it.
        StoreFailed: the data folder cannot take the snapshot, or its disk has less room than the
            sources have bytes.
    """
    texts = {"text": text} if isinstance(text, str) else text or {}
    if bool(sources) == bool(texts) or not all(sources):
        raise ArgumentInvalid("Give sources or a text, one of the two.", "Name what to load.")
    wanted: list[Source] = [*sources, *(Text(content, key) for key, content in texts.items())]
    asking = Asking(rules, from_thread.check_cancelled)
    loading = partial(_load, store, wanted, name, asking, progress)
    try:
        return await to_thread.run_sync(loading)
    except MemoryError as error:
        raise SourceUnreadable(
            "The memory does not suffice to load that.", "Load less of it at a time."
        ) from error


def _load(
    store: ContextStore,
    sources: list[Source],
    name: str | None,
    asking: Asking,
    progress: Progress | None,
) -> ContextInfo:
    began_ns = time.time_ns()
    listing = merged([_offer(source, asking) for source in sources])
    reading = _Reading(store, listing, name or listing.name, progress)
    known = store.recall.find(listing)
    if known:
        known_id, reading.unread = known
        try:
            return replace(store.get(known_id, name=reading.name), skipped=reading.skipped)
        except (UnknownContext, StoreFailed):
            reading.unread = []
    info = reading.run(listing.entries)
    store.recall.remember(listing, began_ns, info.id, reading.unread)
    return info


def _offer(source: Source, asking: Asking) -> Listing:
    """What the first module of `sources/`, in order of file names, makes of it."""
    for found in pkgutil.iter_modules(plugins.__path__):
        # A new kind of source is one new file in that folder.
        module = importlib.import_module(f"{plugins.__name__}.{found.name}")
        listing: Listing | None = module.offer(source, asking)
        if listing is not None:
            return listing
    raise ArgumentInvalid(f"{source} is no source.", "Name a path, or pass the text itself.")


class _Reading:
    """One load of a listing: what was read so far and what could not be."""

    def __init__(
        self, store: ContextStore, listing: Listing, name: str, progress: Progress | None
    ) -> None:
        self.name = name
        self.unread: list[Skip] = []
        self._store = store
        self._listing = listing
        self._progress = progress
        self._files = 0
        self._bytes = 0
        self._due_s = 0.0

    @property
    def skipped(self) -> tuple[Skip, ...]:
        """All skips, in path order."""
        return tuple(sorted({*self._listing.skipped, *self.unread}, key=attrgetter("path")))

    def run(self, entries: Sequence[Entry]) -> ContextInfo:
        """Stream the entries into a new snapshot."""
        headed = len(entries) > 1
        with self._store.draft(headed=headed) as draft:
            self._check_room(entries, draft.free_bytes())
            read = [entry for entry in entries if self._read(entry, draft)]
            if not any(document.chars for document in draft.documents):
                raise self._empty()
            if len(read) > 1 or not headed:
                info = draft.commit(self.name, self.skipped)
                self._report()
                return info
        # Only now is it known to be the one document, which has no header.
        return self.run(read)

    def _check_room(self, entries: Sequence[Entry], free_bytes: int) -> None:
        if sum(entry.bytes for entry in entries) <= free_bytes:
            return
        texts = [entry for entry in entries if self._is_text(entry)]
        needed = sum(entry.bytes for entry in texts)
        if needed > free_bytes:
            largest = max(texts, key=attrgetter("bytes"))
            raise StoreFailed(
                f"{self.name} has {needed:,} bytes of text, the data folder's disk {free_bytes:,} "
                f"free; the largest file is {largest.path} with {largest.bytes:,}.",
                "Leave that file out, free some space, or set RLM_HOME to a larger disk.",
            )

    def _is_text(self, entry: Entry) -> bool:
        self._step()
        try:
            next(entry.read(), None)
        except (SourceEmpty, SourceUnreadable):
            return False
        return True

    def _read(self, entry: Entry, draft: Draft) -> bool:
        """Whether `entry` became a document."""
        begun = False
        try:
            for text, size in entry.read():
                if not begun:
                    draft.begin(entry.path)
                    begun = True
                draft.write(text, size)
                self._bytes += size
                self._step()
        except (SourceEmpty, SourceUnreadable) as error:
            self._skip(entry, error, begun=begun)
            if not begun:
                return False
        if not begun:
            draft.begin(entry.path)
        draft.end()
        self._files += 1
        return True

    def _skip(self, entry: Entry, error: SourceEmpty | SourceUnreadable, *, begun: bool) -> None:
        if self._listing.named:
            message = f"{entry.path} cannot be loaded: {error.message}."
            raise type(error)(message, error.hint) from error
        reason = f"cut where it broke off: {error.message}" if begun else error.message
        self.unread.append(Skip(entry.path, reason))

    def _step(self) -> None:
        now = time.monotonic()
        if now >= self._due_s:
            self._due_s = now + _PACE_S
            from_thread.check_cancelled()
            self._report()

    def _report(self) -> None:
        if self._progress:
            total = len(self._listing.entries)
            self._progress(LoadProgress(self._files, total, self._bytes))

    def _empty(self) -> SourceEmpty:
        skipped = self.skipped
        reasons = Counter(skip.reason for skip in skipped).most_common(3)
        why = ", ".join(f"{count} {reason}" for reason, count in reasons)
        message = f"There is no text in {self._listing.name}"
        if skipped:
            return SourceEmpty(
                f"{message}: {len(skipped)} skipped ({why}).", "Name the files to load themselves."
            )
        return SourceEmpty(f"{message}.", "Name something that holds text.")
