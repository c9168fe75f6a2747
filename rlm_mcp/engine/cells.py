"""Run one cell in a REPL and answer what it asks meanwhile."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import ReplError, StaleEpoch
from rlm_mcp.protocols import ReplBackend
from rlm_mcp.tasks import background
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
            result = self.last = await self._result(cell.id, cursor)
        finally:
            if result is None:
                await self._interrupt(cell.id, cursor)
        return result

    async def _result(self, cell_id: str, cursor: Cursor) -> CellResult:
        batch = await self.backend.pump(self.handle, cell_id, cursor, wait_s=PUMP_S)
        match batch.events:
            case (CellDone(result),):  # as most cells, it asked nothing
                return result
        async with background() as answers:
            return await self._follow(cell_id, cursor, answers)

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
