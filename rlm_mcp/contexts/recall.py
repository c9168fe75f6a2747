"""Remembers what a source was when it was last loaded, so that only what changed is read again."""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from rlm_mcp.contexts.catalogue import FORMAT
from rlm_mcp.contexts.draft import failures_of
from rlm_mcp.contexts.listing import Listing, Stamp
from rlm_mcp.types import Changes, Skip

_RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Remembered:
    """The last load of a source: its id, each entry's stamp and digest, what could not be read.

    A stamp is None where the file may have changed since without a new one, a digest where the
    entry became no document.
    """

    id: str
    stamps: Mapping[str, Stamp | None]
    digests: Mapping[str, str | None]
    skipped: Mapping[str, str]

    def holds(self, listing: Listing) -> bool:
        """Whether nothing has changed since."""
        entries = listing.entries
        return len(entries) == len(self.stamps) and all(
            entry.stamp is not None and self.stamps.get(entry.path) == entry.stamp
            for entry in entries
        )

    def compared(self, digests: Mapping[str, bytes]) -> Changes:
        """What differs in a later load, of which the documents' digests are given."""
        known = self.digests.items()
        before = {path: bytes.fromhex(digest) for path, digest in known if digest}
        return Changes(
            since=self.id,
            added=tuple(path for path in digests if path not in before),
            changed=tuple(p for p, new in digests.items() if p in before and before[p] != new),
            removed=tuple(path for path in before if path not in digests),
        )


class Recall:
    """What is remembered, a small file for each source in `folder`, apart for each `whose`."""

    def __init__(self, folder: Path, whose: str = "") -> None:
        self._folder = folder
        self._whose = whose

    def of(self, whose: str) -> "Recall":
        """What was remembered of one's own loads only."""
        return Recall(self._folder, whose)

    def find(self, listing: Listing) -> Remembered | None:
        """The last load of this source."""
        try:
            file = self._file(listing)
            record = orjson.loads(file.read_bytes())
            os.utime(file)
            paths = record["paths"]
            return Remembered(
                id=record["id"],
                stamps=dict(zip(paths, record["stamps"], strict=True)),
                digests=dict(zip(paths, record["digests"], strict=True)),
                skipped=dict(record["skipped"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget(self, days: float) -> None:
        """Forget the sources that were not loaded for so long."""
        oldest = time.time() - days * 24 * 3600
        with suppress(OSError):
            for file in self._folder.iterdir():
                if file.stat().st_mtime < oldest:
                    file.unlink()

    def remember(
        self,
        listing: Listing,
        began_ns: int,
        id: str,
        digests: Mapping[str, bytes],
        skipped: Sequence[Skip],
    ) -> None:
        """Keep what a listing was, that was read from `began_ns` on.

        The stamp of a file that changed within 2 s before is not kept: it could change again
        without a new time (git calls that racily clean).
        """
        entries = listing.entries
        if any(entry.stamp is None for entry in entries):
            return
        settled = began_ns - _RACY_NS
        found = (digests.get(entry.path) for entry in entries)
        record = {
            "id": id,
            "paths": [entry.path for entry in entries],
            "stamps": [entry.stamp if entry.changed_ns <= settled else None for entry in entries],
            "digests": [None if digest is None else digest.hex() for digest in found],
            "skipped": [(skip.path, skip.reason) for skip in skipped],
        }
        with failures_of(self._folder):
            self._folder.mkdir(exist_ok=True)
            file = self._file(listing)
            draft = file.with_name(f".{id}-{began_ns}")
            draft.write_bytes(orjson.dumps(record))
            draft.replace(file)

    def _file(self, listing: Listing) -> Path:
        source = orjson.dumps((FORMAT, self._whose, listing.folder, listing.name))
        return self._folder / f"{hashlib.sha256(source).hexdigest()}.json"
