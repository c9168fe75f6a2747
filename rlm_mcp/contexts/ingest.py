"""Streams a listing into a snapshot: what has not changed is taken over, the rest is read."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from anyio import from_thread

from rlm_mcp.contexts.catalogue import Catalogue
from rlm_mcp.contexts.draft import Draft
from rlm_mcp.contexts.limits import texts, too_large
from rlm_mcp.contexts.listing import Entry, Listing
from rlm_mcp.contexts.recall import Remembered
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.errors import SourceEmpty, SourceUnreadable, StoreFailed
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import ContextInfo, Skip
from rlm_mcp.words import size

_PACE_S = 0.25


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a load is. `bytes_read` counts source bytes."""

    files_read: int
    files_total: int
    bytes_read: int


Progress = Callable[[LoadProgress], None]


@dataclass(frozen=True, slots=True)
class Before:
    """The last load of the same source, and its snapshot."""

    remembered: Remembered
    catalogue: Catalogue


class Ingest:
    """One load of a listing: what was read so far and what could not be."""

    def __init__(
        self,
        store: ContextStore,
        listing: Listing,
        name: str,
        rules: LoadRules,
        before: Before | None,
        progress: Progress | None,
    ) -> None:
        self.name = name
        self.unread: list[Skip] = []
        self.digests: dict[str, bytes] = {}
        self._store = store
        self._listing = listing
        self._rules = rules
        self._progress = progress
        self._before = before
        self._numbers = _numbers(before, listing.entries) if before else {}
        self._files = 0
        self._bytes = 0
        self._due_s = 0.0

    @property
    def skipped(self) -> tuple[Skip, ...]:
        """All skips, in path order."""
        return self._listing.all_skipped(self.unread)

    def run(self) -> ContextInfo:
        """Stream the entries into a new snapshot.

        Raises:
            SourceEmpty: there is no text in them.
            SourceTooLarge: they turn out to be more than may be loaded at once.
            SourceUnreadable: the one that was named cannot be read.
            StoreFailed: the data folder cannot take it.
        """
        return self._run([entry for entry in self._listing.entries if not self._is_known(entry)])

    def _run(self, entries: Sequence[Entry]) -> ContextInfo:
        headed = len(entries) > 1
        with self._store.draft(headed=headed, whose=self._rules.whose) as draft:
            self._check_room(entries, draft.free_bytes())
            read = self._fill(draft, entries)
            if not any(document.chars for document in draft.documents):
                raise self._empty()
            if len(read) > 1 or not headed:
                info = draft.commit(self.name, self.skipped)
                paths = (document.path for document in draft.documents)
                self.digests = dict(zip(paths, draft.digests, strict=True))
                self._report()
                return self._compared(info)
        # Only now is it known to be the one document, which has no header.
        return self._run(read)

    def _compared(self, info: ContextInfo) -> ContextInfo:
        if self._before is None or self._before.remembered.id == info.id:
            return info
        return replace(info, changes=self._before.remembered.compared(self.digests))

    def _fill(self, draft: Draft, entries: Sequence[Entry]) -> list[Entry]:
        """The entries that became documents."""
        read: list[Entry] = []
        at = 0
        while at < len(entries):
            end = self._unchanged(entries, at)
            if self._before and end > at:
                self._adopt(draft, entries[at:end], self._before)
                read += entries[at:end]
            else:
                end = at + 1
                read += entries[at:end] if self._read(entries[at], draft) else []
            at = end
        return read

    def _unchanged(self, entries: Sequence[Entry], at: int) -> int:
        """The end of the run from `at` on that stands together in the snapshot before."""
        number = self._numbers.get(entries[at].path)
        end = at
        while number is not None and end < len(entries):
            if self._numbers.get(entries[end].path) != number + end - at:
                break
            end += 1
        return end

    def _adopt(self, draft: Draft, entries: Sequence[Entry], before: Before) -> None:
        known = before.remembered.digests
        first = self._numbers[entries[0].path]
        digests = [bytes.fromhex(known[entry.path] or "") for entry in entries]
        run = slice(first, first + len(entries))
        for _ in draft.adopt(before.catalogue, run, digests):
            self._step()
        self._files += len(entries)
        self._bytes += sum(entry.bytes for entry in entries)

    def _is_known(self, entry: Entry) -> bool:
        """Whether it could not be read before and has not changed; says so again."""
        if self._before is None or entry.path in self._numbers:
            return False
        known = self._before.remembered
        reason = known.skipped.get(entry.path)
        same = entry.stamp is not None and known.stamps.get(entry.path) == entry.stamp
        if reason is None or not same or known.digests[entry.path] is not None:
            return False
        self.unread.append(Skip(entry.path, reason))
        return True

    def _check_room(self, entries: Sequence[Entry], free_bytes: int) -> None:
        if sum(entry.bytes for entry in entries) <= free_bytes:
            return
        found = texts(entries, self._step)
        needed = sum(entry.bytes for entry in found)
        if needed > free_bytes:
            largest = max(found, key=attrgetter("bytes"))
            raise StoreFailed(
                f"{self.name} has {needed:,} bytes of text, the data folder's disk {free_bytes:,} "
                f"free; the largest file is {largest.path} with {largest.bytes:,}.",
                "Leave that file out, free some space, or set RLM_HOME to a larger disk.",
            )

    def _read(self, entry: Entry, draft: Draft) -> bool:
        """Whether `entry` became a document."""
        begun = False
        most = self._bytes + self._rules.most_file_bytes
        try:
            for piece in entry.read():
                if not begun:
                    draft.begin(entry.path)
                    begun = True
                self._bytes += piece.size
                self._check_size(most)
                draft.write(piece)
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

    def _check_size(self, most: int) -> None:
        """What was not known before it was read: an archive's documents."""
        if self._bytes > self._rules.most_bytes:
            raise too_large(self.name, self._rules)
        if self._bytes > most:
            reason = f"longer than the {size(self._rules.most_file_bytes)} that one file may have"
            raise SourceUnreadable(reason, "Set RLM_MAX_FILE_GB higher.")

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
            self._report()
            from_thread.check_cancelled()

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


def _numbers(before: Before, entries: Sequence[Entry]) -> dict[str, int]:
    """Of each document that can be taken over as it is, its place in the snapshot before."""
    known = before.remembered
    numbers = {each.path: number for number, each in enumerate(before.catalogue.documents)}
    return {
        entry.path: numbers[entry.path]
        for entry in entries
        if entry.stamp is not None
        and known.stamps.get(entry.path) == entry.stamp
        and known.digests[entry.path] is not None
        and entry.path not in known.skipped
        and entry.path in numbers
    }
