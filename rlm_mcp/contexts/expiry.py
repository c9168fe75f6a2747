"""Old snapshots leave the disk: by age first, then, the longest unused first, by size."""

import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.contexts.draft import PREFIX
from rlm_mcp.rules import Keeping

_DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class _Kept:
    folder: Path
    used_s: float
    bytes: int


def touch(folder: Path) -> None:
    """Note that a snapshot is used now."""
    with suppress(OSError):
        os.utime(folder)


def expire(folders: Collection[Path], cited: Collection[str], keeping: Keeping) -> list[str]:
    """Remove snapshots and return their ids.

    Those in `cited` stay, and so do those that any server has used within a day.
    """
    now = time.time()
    snapshots = sorted((each for each in map(_kept, folders) if each), key=lambda each: each.used_s)
    total = sum(each.bytes for each in snapshots)
    gone: list[str] = []
    for each in snapshots:
        unused_s = now - each.used_s
        old = unused_s > keeping.days * _DAY_S or total > keeping.bytes
        if old and unused_s > _DAY_S and each.folder.name not in cited:
            _remove(each.folder)
            gone.append(each.folder.name)
            total -= each.bytes
    return gone


def _kept(folder: Path) -> _Kept | None:
    try:
        files = [file.stat() for file in folder.iterdir()]
        return _Kept(folder, folder.stat().st_mtime, sum(file.st_size for file in files))
    except OSError:
        return None


def _remove(folder: Path) -> None:
    """One rename first: nobody ever finds half a snapshot."""
    with suppress(OSError):
        gone = folder.rename(folder.with_name(f"{PREFIX}{folder.name}-expired"))
        shutil.rmtree(gone, ignore_errors=True)
