"""Giving a guest its contexts: their snapshots' files, opened here and handed over."""

import os
from collections.abc import Sequence

import anyio.to_thread

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.repl.child import Child
from rlm_mcp.types import ContextInfo

PAGES_BYTES = 1 << 20
Opened = list[tuple[int, int]]


async def open_all(contexts: Sequence[ContextInfo]) -> Opened:
    """Blob and manifest of each, read-only.

    Raises:
        ReplUnavailable: a snapshot is not on the disk as it was made.
    """
    return await anyio.to_thread.run_sync(_open_all, contexts)


def space_bytes(opened: Opened) -> int:
    """Address space that mapping all of them takes."""
    sizes = [os.fstat(descriptor).st_size for pair in opened for descriptor in pair]
    return sum(sizes) + PAGES_BYTES * len(sizes)


def supply(child: Child, contexts: Sequence[ContextInfo], opened: Opened) -> None:
    """Send the contexts, in place of those the guest had; closes what was opened."""
    for index, (context, pair) in enumerate(zip(contexts, opened, strict=True), start=1):
        described = {
            "name": context.name,
            "kind": context.kind.value,
            "bytes": context.chars * context.kind.width,
        }
        last = index == len(contexts)
        child.send({"t": "map", "context": described, "last": last}, pair)
    if not contexts:
        child.send({"t": "map", "context": None, "last": True})


def _open_all(contexts: Sequence[ContextInfo]) -> Opened:
    opened: list[int] = []
    try:
        for context in contexts:
            opened += (os.open(path, os.O_RDONLY) for path in (context.blob, context.manifest))
            _check(context, opened[-2])
    except OSError as error:
        for descriptor in opened:
            os.close(descriptor)
        raise ReplUnavailable(
            f"The snapshot of context {context.name!r} is damaged: {error}.", "Load it again."
        ) from error
    return list(zip(opened[::2], opened[1::2], strict=True))


def _check(context: ContextInfo, blob: int) -> None:
    size = os.fstat(blob).st_size
    if size != context.chars * context.kind.width:
        raise OSError(f"{context.blob.name} has {size:,} bytes")
