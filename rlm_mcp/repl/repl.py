"""One REPL: a guest, the contexts it sees, and the cell it runs."""

from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import ReplUnavailable, StaleEpoch
from rlm_mcp.repl import boxes
from rlm_mcp.repl.cell import RunningCell
from rlm_mcp.repl.guest.wire import BadFrame
from rlm_mcp.repl.host import HostedGuest, Listener
from rlm_mcp.repl.messages import Call, Done
from rlm_mcp.types import (
    Batch,
    Cell,
    CellResult,
    ContextInfo,
    Cursor,
    ReplLimits,
    ReplSpec,
    ReplState,
    Reply,
)

GRACE_S = 0.7
SIGNAL_EVERY_S = 0.1
KEPT = "Variables assigned before are kept."
GONE = "All variables are gone; the next cell starts in a new REPL with the contexts loaded."
Start = Callable[[ReplLimits, Listener], Awaitable[HostedGuest]]


class Repl:
    """What stands behind one handle: `open` and `submit` one at a time, the others at any time.

    `start` gives a guest; one that died is replaced when the next cell comes. Of new limits in an
    `open`, `cell_s` counts at once and the others with the next guest.
    """

    def __init__(self, spec: ReplSpec, start: Start, tasks: TaskGroup) -> None:
        self._handle = spec.handle
        self._epoch = spec.epoch
        self._limits = spec.limits
        self._contexts: tuple[ContextInfo, ...] = ()
        self._start = start
        self._tasks = tasks
        self._turn = anyio.Lock()
        self._guest: HostedGuest | None = None
        self._cell: RunningCell | None = None
        self._submitted: set[str] = set()
        self._closed = False
        self._lost: str | None = None

    async def open(self, spec: ReplSpec) -> ReplState:
        """See that a guest runs with these contexts; a newer epoch stops what the older one ran."""
        async with self._turn:
            if spec.epoch > self._epoch:
                self._epoch = spec.epoch
                await self._stop("a newer session took over")
            self._fence(spec.epoch)
            self._limits = spec.limits
            guest = await self._with_contexts(spec.contexts)
            rules = boxes.load(guest.box)
            return ReplState(
                handle=self._handle,
                epoch=self._epoch,
                box=guest.box,
                isolation=rules.ISOLATION,
                enforced=guest.enforced,
                python=guest.python,
                notice=rules.NOTICE,
                dialect=rules.DIALECT,
            )

    async def submit(self, epoch: int, cell: Cell) -> Cursor:
        """Run a cell, unless its id was submitted before."""
        async with self._turn:
            self._fence(epoch)
            if cell.id in self._submitted:
                return Cursor(self._epoch, 0)
            if self._cell and not self._cell.ended.is_set():
                raise ReplUnavailable(
                    f"Cell {self._cell.cell_id} still runs.", "Wait for its end or interrupt it."
                )
            self._run(cell, await self._with_contexts(self._contexts))
            return Cursor(self._epoch, 0)

    async def pump(
        self, cell_id: str, cursor: Cursor, replies: Sequence[Reply], wait_s: float
    ) -> Batch:
        """Deliver replies, then give the events behind the cursor."""
        self._fence(cursor.epoch)
        running = self._cell
        if running is None or running.cell_id != cell_id:
            raise ReplUnavailable(
                f"Cell {cell_id} is not the last one submitted.", "Submit it, then pump it."
            )
        for reply in replies:
            message = running.answered(reply)
            if message and self._guest:
                self._guest.send(message)
        with anyio.move_on_after(wait_s):
            while not running.after(cursor.seq)[0] and not running.ended.is_set():
                await running.change()
                self._fence(cursor.epoch)
        events, seq = running.after(cursor.seq)
        return Batch(Cursor(self._epoch, seq), events)

    async def interrupt(self, epoch: int, cell_id: str) -> None:
        """Interrupt the running cell, if it is that one, and wait for its end."""
        self._fence(epoch)
        if self._cell and self._cell.cell_id == cell_id:
            await self._stop("the cell was interrupted")

    async def close(self) -> None:
        """End the guest; whoever still pumps is told."""
        self._closed = True
        if self._cell:
            self._cell.wake()
        if self._guest:
            guest = self._guest
            guest.kill("was closed")
            await guest.gone.wait()

    def heard(self, said: Call | Done) -> None:
        """The guest says something about the cell it runs."""
        running = self._cell
        if running is None:
            raise BadFrame("it speaks before its first cell")
        if isinstance(said, Call):
            running.asked(said)
        elif said.number != running.number or running.ended.is_set():
            raise BadFrame("it ends a cell that does not run")
        else:
            running.end(self._result(running, said))

    def ended(self, guest: HostedGuest, reason: str) -> None:
        """The guest is gone, and with it the cell it ran."""
        if guest is not self._guest:
            return
        self._guest = None
        running = self._cell
        if running is None or running.ended.is_set():
            self._lost = f"The REPL's process {reason} between two cells"
            return
        running.end(
            CellResult(
                cell_id=running.cell_id,
                status="died",
                output="",
                output_chars=0,
                error=f"The REPL's process {reason}. {GONE}",
                seconds=running.seconds,
                lost=True,
            )
        )

    async def _stop(self, reason: str) -> None:
        if self._cell:
            self._cell.stop(reason)
            await self._cell.ended.wait()

    async def _with_contexts(self, contexts: tuple[ContextInfo, ...]) -> HostedGuest:
        """The guest, or a new one, with these contexts mapped."""
        known = self._guest
        guest = known or await self._start(self._limits, self)
        try:
            self._check(guest)
            if known is None or contexts != self._contexts:
                await guest.map(contexts)
                self._check(guest)
        except BaseException:
            if known is None:
                guest.kill("was not wanted any more")
            raise
        self._guest, self._contexts = guest, contexts
        return guest

    def _run(self, cell: Cell, guest: HostedGuest) -> None:
        self._submitted.add(cell.id)
        limits = guest.limits
        running = RunningCell(cell.id, len(self._submitted), limits.message_bytes)
        self._cell = running
        guest.send(
            {
                "t": "cell",
                "number": running.number,
                "code": cell.code,
                "fresh_answer": cell.fresh_answer,
                "output_chars": limits.output_chars,
                "answer_chars": limits.answer_chars,
                "message_bytes": limits.message_bytes,
            }
        )
        self._tasks.start_soon(self._watch, guest, running)

    async def _watch(self, guest: HostedGuest, running: RunningCell) -> None:
        """Let a cell compute for its time; then interrupt it; then end the guest."""
        await running.overdue(self._limits.cell_s)
        with anyio.move_on_after(GRACE_S):
            while not running.ended.is_set():
                # Again and again: the first may come before the cell's code has begun.
                guest.interrupt()
                with anyio.move_on_after(SIGNAL_EVERY_S):
                    await running.ended.wait()
        if not running.ended.is_set():
            guest.kill(f"was killed: {running.stop_reason}, and the cell did not end when asked to")

    def _result(self, running: RunningCell, done: Done) -> CellResult:
        error, output = done.error, done.output
        if done.status == "interrupted":
            error = f"{running.stop_reason or 'the cell stopped'}. {KEPT}\n{error}"
        elif done.status == "memory":
            limit_mb = self._limits.memory_bytes >> 20
            error = (
                f"{error}\nThe REPL's limit is {limit_mb:,} MB. {KEPT} Free what is large with"
                " `del`; work on slices or line by line instead of on copies of the whole."
            )
        if self._lost:
            output = f"[{self._lost}: variables of earlier cells are gone.]\n{output}"
        lost, self._lost = self._lost is not None, None
        return CellResult(
            cell_id=running.cell_id,
            status=done.status,
            output=output,
            output_chars=done.output_chars,
            error=error,
            seconds=running.seconds,
            variables=done.variables,
            final=done.final,
            draft=done.draft,
            restored=done.restored,
            lost=lost,
        )

    def _check(self, guest: HostedGuest) -> None:
        """Much may have happened while one waited."""
        self._fence(self._epoch)
        if guest.gone.is_set():
            raise ReplUnavailable("The REPL's process ended before it was ready.", "Try again.")

    def _fence(self, epoch: int) -> None:
        if self._closed:
            raise ReplUnavailable(f"REPL {self._handle} is closed.", "Open it again.")
        if epoch != self._epoch:
            raise StaleEpoch(
                f"Epoch {epoch} of REPL {self._handle} is over; {self._epoch} owns it.",
                "Open the session again from where you want to go on.",
            )
