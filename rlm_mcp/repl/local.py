"""REPLs in child processes of this one: the local `ReplBackend`."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.repl.pool import Pool
from rlm_mcp.repl.repl import Repl
from rlm_mcp.types import Batch, Cell, Cursor, ReplSpec, ReplState, Reply


class LocalBackend:
    """Runs every REPL as a guest process of its own; leaving the context ends them all.

    `cache` is a folder for the guests' compiled program. `box` is a box's name, or `auto` for the
    strongest that works here without being asked for.
    """

    def __init__(self, cache: Path, box: str = "auto") -> None:
        self._repls: dict[str, Repl] = {}
        self._tasks: TaskGroup = anyio.create_task_group()
        self._pool = Pool(cache, box, self._tasks)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tasks.cancel_scope.cancel()
        # Not told of `error`, the group does not wrap it: it passes as it was raised.
        await self._tasks.__aexit__(None, None, None)
        await self._pool.aclose()

    async def open(self, spec: ReplSpec) -> ReplState:
        """See `ReplBackend.open`."""
        repl = self._repls.setdefault(spec.handle, Repl(spec, self._pool.take, self._tasks))
        return await repl.open(spec)

    async def submit(self, handle: str, epoch: int, cell: Cell) -> Cursor:
        """See `ReplBackend.submit`."""
        return await self._find(handle).submit(epoch, cell)

    async def pump(
        self,
        handle: str,
        cell_id: str,
        cursor: Cursor,
        replies: Sequence[Reply] = (),
        wait_s: float = 0.0,
    ) -> Batch:
        """See `ReplBackend.pump`."""
        return await self._find(handle).pump(cell_id, cursor, replies, wait_s)

    async def interrupt(self, handle: str, epoch: int, cell_id: str) -> None:
        """See `ReplBackend.interrupt`."""
        await self._find(handle).interrupt(epoch, cell_id)

    async def close(self, handle: str) -> None:
        """See `ReplBackend.close`."""
        repl = self._repls.pop(handle, None)
        if repl is not None:
            await repl.close()

    def _find(self, handle: str) -> Repl:
        if handle not in self._repls:
            raise ReplUnavailable(f"No REPL has the handle {handle}.", "Open it first.")
        return self._repls[handle]
