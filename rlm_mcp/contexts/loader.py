"""Loads sources: what is known is recognised, the rest is streamed into the store."""

import importlib
import pkgutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from anyio import from_thread, to_thread

from rlm_mcp.contexts import sources as plugins
from rlm_mcp.contexts.ingest import Before, Ingest, Progress
from rlm_mcp.contexts.limits import too_large, within
from rlm_mcp.contexts.listing import Asking, Listing, Source, Text, merged
from rlm_mcp.contexts.recall import Remembered
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.errors import ArgumentInvalid, SourceUnreadable, StoreFailed, UnknownContext
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import ContextInfo, Skip

ANYTHING = LoadRules()


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
        SourceTooLarge: it is more than the `rules` allow at once.
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
    loading = partial(_load, store, wanted, name, rules, progress)
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
    rules: LoadRules,
    progress: Progress | None,
) -> ContextInfo:
    began_ns = time.time_ns()
    with ExitStack() as stack:
        asking = Asking(rules, from_thread.check_cancelled, stack)
        listing = within(merged([_offer(each, asking) for each in sources]), rules, asking.tick)
        recall = store.recall.of(rules.whose)
        before = _before(store, recall.find(listing))
        if before and before.remembered.holds(listing):
            return _fitting(_recognised(store, listing, before, name), rules)
        ingest = Ingest(store, listing, name or listing.name, rules, before, progress)
        info = _fitting(ingest.run(), rules)
    store.touch(info.id)
    recall.remember(listing, began_ns, info.id, ingest.digests, ingest.unread)
    return info


def _fitting(info: ContextInfo, rules: LoadRules) -> ContextInfo:
    """What was taken over is not counted while it is read: what is packed counts unpacked."""
    if info.bytes > rules.most_bytes:
        raise too_large(info.name, rules)
    return info


def _recognised(
    store: ContextStore, listing: Listing, before: Before, name: str | None
) -> ContextInfo:
    """Nothing has changed: nothing is read."""
    store.touch(before.remembered.id)
    unread = (Skip(path, reason) for path, reason in before.remembered.skipped.items())
    skipped = listing.all_skipped(unread)
    return replace(before.catalogue.info, name=name or listing.name, skipped=skipped)


def _before(store: ContextStore, remembered: Remembered | None) -> Before | None:
    if remembered is None:
        return None
    try:
        return Before(remembered, store.catalogue(remembered.id))
    except (UnknownContext, StoreFailed):
        return None


def _offer(source: Source, asking: Asking) -> Listing:
    """What the first module of `sources/`, in order of file names, makes of it."""
    for found in pkgutil.iter_modules(plugins.__path__):
        # A new kind of source is one new file in that folder.
        module = importlib.import_module(f"{plugins.__name__}.{found.name}")
        listing: Listing | None = module.offer(source, asking)
        if listing is not None:
            return listing
    raise ArgumentInvalid(f"{source} is no source.", "Name a path, or pass the text itself.")
