"""Drives a REPL back end through its five verbs, each cell to its end."""

import itertools
from collections.abc import Callable

from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import (
    CallAsked,
    Cell,
    CellResult,
    ReplLimits,
    ReplSpec,
    Reply,
    SubReply,
    SubRequest,
)

LIMITS = ReplLimits(cell_s=20.0, memory_bytes=512 << 20, output_chars=2_000)


def echo(request: SubRequest) -> SubReply:
    """The model of these tests."""
    return SubReply(f"<{request.prompt}>")


class Driver:
    """One backend and its cells, each run to its end."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self.calls: list[CallAsked] = []
        self._epoch = 1
        self._ids = (f"cell-{number}" for number in itertools.count(1))

    async def open(self, handle="h", epoch=1, contexts=(), limits=LIMITS):
        self._epoch = max(self._epoch, epoch)
        return await self.backend.open(ReplSpec(handle, epoch, tuple(contexts), limits))

    async def run(
        self,
        code: str,
        handle: str = "h",
        model: Callable[[SubRequest], SubReply] = echo,
        **cell: bool,
    ) -> CellResult:
        cell_id = next(self._ids)
        cursor = await self.backend.submit(handle, self._epoch, Cell(cell_id, code, **cell))
        replies: list[Reply] = []
        while True:
            batch = await self.backend.pump(handle, cell_id, cursor, replies, wait_s=60)
            cursor, replies = batch.cursor, []
            for event in batch.events:
                if not isinstance(event, CallAsked):
                    return event.result
                self.calls.append(event)
                replies.append(Reply(event.call_id, tuple(map(model, event.requests))))

    async def value(self, expression: str, handle: str = "h") -> str:
        """What an expression shows when it is the last one of a cell."""
        result = await self.run(expression, handle)
        assert result.status == "ok", result.error
        return result.output.rstrip("\n")
