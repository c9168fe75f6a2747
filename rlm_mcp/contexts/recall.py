"""Recognises a source that was loaded before and has not changed, by what `stat` says."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import orjson

from rlm_mcp.contexts.catalogue import FORMAT
from rlm_mcp.contexts.draft import failures_of
from rlm_mcp.contexts.listing import Listing
from rlm_mcp.types import Skip

_RACY_NS = 2_000_000_000


class Recall:
    """Stamps of listings and the ids they had, a small file each in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, listing: Listing) -> tuple[str, list[Skip]] | None:
        """The id this very listing had, and the skips found by reading it."""
        stamp = _stamp(listing)
        if stamp is None:
            return None
        try:
            record = orjson.loads((self._folder / f"{stamp}.json").read_bytes())
            return record["id"], [Skip(*row) for row in record["skipped"]]
        except (OSError, ValueError, KeyError):
            return None

    def remember(self, listing: Listing, began_ns: int, id: str, skipped: Sequence[Skip]) -> None:
        """Keep the id of a listing that was read from `began_ns` on.

        A file that changed within 2 s before could change again without a new time (git calls it
        racily clean), so such a listing is not kept.
        """
        stamp = _stamp(listing)
        newest = max((entry.changed_ns for entry in listing.entries), default=0)
        if stamp is None or newest > began_ns - _RACY_NS:
            return
        record = {"id": id, "skipped": [(skip.path, skip.reason) for skip in skipped]}
        with failures_of(self._folder):
            self._folder.mkdir(exist_ok=True)
            (self._folder / f"{stamp}.json").write_bytes(orjson.dumps(record))


def _stamp(listing: Listing) -> str | None:
    if any(entry.stamp is None for entry in listing.entries):
        return None
    rows = [(entry.path, entry.stamp) for entry in listing.entries]
    return hashlib.sha256(orjson.dumps((FORMAT, listing.folder, rows))).hexdigest()
