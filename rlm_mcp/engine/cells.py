"""Run one cell in a REPL and answer what it asks meanwhile."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import ReplError, RlmError, StaleEpoch
from rlm_mcp.protocols import ReplBackend
from rlm_mcp.types import CallAsked, Cell, CellDone, CellResult, Cursor, Reply

PUMP_S = 30.0
INTERRUPT_S = 5.0


@dataclass(slots=True)
class Repl:
    """One open REPL as a run sees it. `last` is what its newest cell that ended did."""

    backend: ReplBackend
    handle: str
    epoch: int
    answer: Callable[[CallAsked], Awaitable[Reply]]
    last: CellResult | None = None

    async def run(self, cell: Cell) -> CellResult:
        """Execute a cell to its end. Cancelled, it interrupts the cell; `last` is then its result.

        Raises:
            ReplError: the back end could not run it.
        """
        cursor = await self.backend.submit(self.handle, self.epoch, cell)
        result = None
        try:
            async with _answering() as answers:
                result = self.last = await self._follow(cell.id, cursor, answers)
                answers.cancel_scope.cancel()
        finally:
            if result is None:
                await self._interrupt(cell.id, cursor)
        assert result is not None  # the group raised otherwise
        return result

    async def _interrupt(self, cell_id: str, cursor: Cursor) -> None:
        """Stop a cell that nobody waits for any more; who ended or took over has stopped it."""
        with (
            anyio.CancelScope(shield=True),
            anyio.move_on_after(INTERRUPT_S),
            contextlib.suppress(ReplError, StaleEpoch),
        ):
            await self.backend.interrupt(self.handle, self.epoch, cell_id)
            self.last = await self._follow(cell_id, cursor, None)

    async def _follow(self, cell_id: str, cursor: Cursor, answers: TaskGroup | None) -> CellResult:
        """Read a cell's events until it is done; calls are answered in `answers`, if given."""
        while True:
            batch = await self.backend.pump(self.handle, cell_id, cursor, wait_s=PUMP_S)
            cursor = batch.cursor
            for event in batch.events:
                if isinstance(event, CellDone):
                    return event.result
                if answers is not None:
                    answers.start_soon(self._reply, cell_id, cursor, event)

    async def _reply(self, cell_id: str, cursor: Cursor, asked: CallAsked) -> None:
        reply = await self.answer(asked)
        await self.backend.pump(self.handle, cell_id, cursor, (reply,))


@contextlib.asynccontextmanager
async def _answering() -> AsyncIterator[TaskGroup]:
    """A task group whose failure by an error of ours comes out as that error."""
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        ours, others = group.split(RlmError)
        if ours is None or others is not None:
            raise
        first: BaseException = ours
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
