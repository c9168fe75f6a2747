"""Giving a guest its contexts: their snapshots' files, opened here and handed over.

Where no open file can be passed they go by value, in pieces, the next one once the last is gone.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.to_thread

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.repl.child import Child
from rlm_mcp.types import ContextInfo

PAGES_BYTES = 1 << 20
# Windows would rewrite line ends.
READ_BYTES = os.O_RDONLY | getattr(os, "O_BINARY", 0)
PIECE_BYTES = 1 << 20
PIECE_S = 30.0
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


async def supply(child: Child, contexts: Sequence[ContextInfo], opened: Opened) -> None:
    """Send the contexts, in place of those the guest had; closes what was opened.

    Raises:
        ReplUnavailable: the guest takes no more of them, or a snapshot is cut short.
    """
    if not contexts:
        child.send({"t": "map", "context": None, "first": True, "last": True})
    elif child.passes_descriptors:
        for index, (context, pair) in enumerate(zip(contexts, opened, strict=True), start=1):
            last = index == len(contexts)
            frame = {"t": "map", "context": _described(context), "first": index == 1, "last": last}
            child.send(frame, pair)
    else:
        with contextlib.ExitStack() as closing:
            for descriptor in (descriptor for pair in opened for descriptor in pair):
                closing.callback(os.close, descriptor)
            for index, (context, pair) in enumerate(zip(contexts, opened, strict=True), start=1):
                described = {**_described(context), "manifest_bytes": os.fstat(pair[1]).st_size}
                frame = {"t": "map", "context": described, "first": index == 1, "last": False}
                child.send(frame)
                await _by_value(child, context, pair, last=index == len(contexts))


def _described(context: ContextInfo) -> dict[str, str | int]:
    return {
        "name": context.name,
        "kind": context.kind.value,
        "bytes": context.chars * context.kind.width,
    }


async def _by_value(
    child: Child, context: ContextInfo, pair: tuple[int, int], *, last: bool
) -> None:
    left = sum(os.fstat(descriptor).st_size for descriptor in pair)
    async for piece in _pieces(pair):
        left -= len(piece)
        # As characters of one byte: the wire carries text, and no lone surrogate would pass it.
        frame = {"t": "piece", "bytes": piece.decode("latin-1"), "last": last and not left}
        child.send(frame)
        with anyio.move_on_after(PIECE_S) as waiting:
            if not await child.written():
                return
        if waiting.cancelled_caught:
            child.kill()
            raise ReplUnavailable("The REPL's process does not take its contexts.", "Try again.")
    if left:
        child.kill()
        raise _damaged(context, "it has become shorter")


async def _pieces(descriptors: Sequence[int]) -> AsyncIterator[bytes]:
    for descriptor in descriptors:
        while piece := await anyio.to_thread.run_sync(os.read, descriptor, PIECE_BYTES):
            yield piece


def _damaged(context: ContextInfo, reason: object) -> ReplUnavailable:
    return ReplUnavailable(
        f"The snapshot of context {context.name!r} is damaged: {reason}.", "Load it again."
    )


def _open_all(contexts: Sequence[ContextInfo]) -> Opened:
    opened: list[int] = []
    try:
        for context in contexts:
            opened += (os.open(path, READ_BYTES) for path in (context.blob, context.manifest))
            _check(context, opened[-2])
    except OSError as error:
        for descriptor in opened:
            os.close(descriptor)
        raise _damaged(context, error) from error
    return list(zip(opened[::2], opened[1::2], strict=True))


def _check(context: ContextInfo, blob: int) -> None:
    size = os.fstat(blob).st_size
    if size != context.chars * context.kind.width:
        raise OSError(f"{context.blob.name} has {size:,} bytes")
