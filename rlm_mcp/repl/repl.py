"""One REPL: a guest, the contexts it sees, and the cell it runs."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.errors import ReplUnavailable, StaleEpoch
from rlm_mcp.repl import boxes, toolbox
from rlm_mcp.repl.cell import RunningCell
from rlm_mcp.repl.guest.wire import BadFrame
from rlm_mcp.repl.host import HostedGuest
from rlm_mcp.repl.messages import Call, Done
from rlm_mcp.repl.recording import Played, Recording, repeat, retold
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
    Variable,
)

GRACE_S = 0.7
REBUILD_S = 90.0
ABANDON_S = 10.0
SIGNAL_EVERY_S = 0.1
LOOK_S = 0.05
KEPT = "Variables assigned before are kept."
BACK = "Variables are as they were before this cell."
AGAIN = (
    "The next cell starts in a new REPL, in which the cells before this one are run again first."
)
GONE = "All variables are gone; the next cell starts in a new REPL with the contexts loaded."
Start = Callable[[ReplLimits], Awaitable[HostedGuest]]


class Repl:
    """What stands behind one handle: `open` and `submit` one at a time, the others at any time.

    `start` gives a guest; one that died is replaced when the next cell comes, and the cells before
    are run again in it. Of new limits in an `open`, `cell_s` counts at once and the others with the
    next guest.
    """

    def __init__(self, spec: ReplSpec, start: Start, tasks: TaskGroup) -> None:
        self._handle = spec.handle
        self._epoch = spec.epoch
        self._limits = spec.limits
        self._contexts: tuple[ContextInfo, ...] = ()
        self._mapped_before: tuple[ContextInfo, ...] = ()
        self._start = start
        self._tasks = tasks
        self._turn = anyio.Lock(fast_acquire=True)
        self._guest: HostedGuest | None = None
        self._cell: RunningCell | None = None
        self._submitted: set[str] = set()
        self._numbered = 0
        self._alarm = anyio.Event()
        self._closed = False
        self._recording = Recording()
        self._variables: tuple[Variable, ...] = ()
        self._is_proven = False
        self._must_map = True
        self._death: str | None = None
        self._tidings: str | None = None
        self._has_lost = False

    async def open(self, spec: ReplSpec) -> ReplState:
        """See that a guest runs with these contexts; a newer epoch stops what the older one ran."""
        async with self._turn:
            if spec.epoch > self._epoch:
                self._epoch = spec.epoch
                await self._stop("a newer session took over")
            self._fence(spec.epoch)
            self._limits = spec.limits
            self._wake_watch()
            guest = await self._with_contexts(spec.contexts)
            rules = boxes.load(guest.box)
            return ReplState(
                handle=self._handle,
                epoch=self._epoch,
                box=guest.box,
                isolation=rules.ISOLATION,
                enforced=guest.enforced,
                python=guest.python,
                checkpoints=guest.checkpoints,
                refused=guest.refused,
                notice=guest.notice,
                dialect=rules.DIALECT,
                helpers=() if "helpers" in rules.LACKS else toolbox.shown(),
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
            guest = await self._with_contexts(self._contexts)
            self._submitted.add(cell.id)
            self._recording.begin()
            self._run(cell, guest)
            return Cursor(self._epoch, 0)

    async def pump(
        self, cell_id: str, cursor: Cursor, replies: Sequence[Reply], wait_s: float
    ) -> Batch:
        """Deliver replies, then give the events behind the cursor."""
        self._fence(cursor.epoch)
        running = self._cell
        if running is None or running.cell_id != cell_id or running.is_repeated:
            raise ReplUnavailable(
                f"Cell {cell_id} is not the last one submitted.", "Submit it, then pump it."
            )
        for reply in replies:
            asked = running.answered(reply)
            if asked and self._guest:
                self._recording.answered(asked, reply)
                self._guest.send(running.frame(reply))
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
        self._wake_watch()
        if self._cell:
            self._cell.wake()
        if self._guest:
            guest = self._guest
            guest.end("was closed")
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
            result = self._result(running, said)
            running.end(result if running.is_repeated else self._kept(running, result))

    def exceeded(self, reason: str) -> None:
        """A limit that the host holds is passed: the cell is asked to stop."""
        if self._cell and not self._cell.ended.is_set():
            self._cell.stop(reason)
            self._wake_watch()

    def rolled_back(self, reason: str) -> None:
        """The process that ran the cell is gone; the variables from before are not."""
        # The copy has the contexts from before the cell; others may have been mapped since.
        self._must_map = self._must_map or self._contexts != self._mapped_before
        if self._cell and not self._cell.ended.is_set():
            self._end_lost(self._cell, f"The REPL's process {reason}. {BACK}", lost=False)

    def ended(self, reason: str) -> None:
        """The guest is gone, and with it the cell it ran."""
        if self._guest and self._guest.copy_failed and not self._is_proven:
            # Twice running there was no copy of it: what the last cell left behind may be why.
            self._recording.leave_out_last()
        self._guest = None
        self._wake_watch()
        running = self._cell
        usable = self._recording.usable
        if running is not None and running.ended.is_set():
            self._death = self._tidings = f"The REPL's process {reason} between two cells."
        elif running is not None:
            words = AGAIN if usable else GONE
            self._end_lost(running, f"The REPL's process {reason}. {words}", lost=not usable)
        if not usable:
            self._variables = ()

    async def _stop(self, reason: str) -> None:
        if self._cell:
            self._cell.stop(reason)
            self._wake_watch()
            await self._cell.ended.wait()

    async def _with_contexts(self, contexts: tuple[ContextInfo, ...]) -> HostedGuest:
        """The guest, or a new one that has caught up, with these contexts mapped."""
        known = self._guest
        guest = known or await self._new_guest()
        try:
            if self._must_map or contexts != self._contexts:
                await guest.map(contexts)
            if known is not None and guest.gone.is_set():
                return await self._with_contexts(contexts)
            self._check(guest)
        except BaseException:
            if known is None:
                await self._abandon(guest)
            raise
        self._contexts, self._must_map = contexts, False
        return guest

    async def _new_guest(self) -> HostedGuest:
        """A guest in which the recorded cells have run again; one that ends it is left out."""
        before: Played | None = None
        while True:
            guest = await self._start(self._limits)
            try:
                self._check(guest)
                guest.listener, self._guest = self, guest
                self._is_proven, self._must_map = True, True
                self._tasks.start_soon(self._watch, guest)
                deadly: Played | None = None
                with anyio.move_on_after(REBUILD_S) as bound:
                    deadly = await self._catch_up(guest)
            except BaseException:
                await self._abandon(guest)
                raise
            if bound.cancelled_caught:
                await self._abandon(guest)
                self._recording.leave_out_all()
            elif deadly is not None:
                before = self._recording.leave_out(deadly, before)
            else:
                self._is_proven = False
                return guest
            self._fence(self._epoch)

    async def _catch_up(self, guest: HostedGuest) -> Played | None:
        """Run the recorded cells again, with their answers; gives one that ends the guest."""
        recording, seen = self._recording, None
        differ = list(recording.lost)
        for played in list(recording.cells):
            if played.contexts != seen:
                await guest.map(played.contexts)
                seen = played.contexts
            if guest.gone.is_set():
                return played
            running = self._run(played.cell, guest, is_repeated=True)
            result = await repeat(played, running, guest.send)
            if guest.gone.is_set():
                return played
            if result.status != played.status:
                differ.append(played.cell.id)
        if recording.cells or differ:
            self._has_lost = bool(differ)
            self._tidings = retold(len(recording.cells), len(differ), self._death)
        self._death = None
        return None

    @staticmethod
    async def _abandon(guest: HostedGuest) -> None:
        """Nobody wants it: see that it is gone before another one is started."""
        guest.end("was not wanted any more")
        with anyio.move_on_after(ABANDON_S, shield=True):
            await guest.gone.wait()

    def _run(self, cell: Cell, guest: HostedGuest, *, is_repeated: bool = False) -> RunningCell:
        self._numbered += 1
        self._mapped_before = self._contexts
        limits = guest.limits
        running = RunningCell(cell, self._numbered, limits.message_bytes, is_repeated=is_repeated)
        self._cell = running
        guest.run(
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
        return running

    async def _watch(self, guest: HostedGuest) -> None:
        """Let each cell compute for its time; then interrupt it; then end its process.

        A cell that ends in time costs nothing here: the clock is looked at when it could be over.
        """
        while not guest.gone.is_set() and not self._closed:
            running, limit_s = self._cell, self._limits.cell_s
            left_s = limit_s
            if running is not None and not running.ended.is_set():
                left_s -= running.seconds
                if left_s <= 0:
                    running.stop(f"the cell computed for {limit_s:g} s, the limit of one")
                if running.stop_reason:
                    await self._end(running, guest)
                    continue
            with anyio.move_on_after(max(left_s, LOOK_S)):
                await self._alarm.wait()

    async def _end(self, running: RunningCell, guest: HostedGuest) -> None:
        with anyio.move_on_after(GRACE_S):
            while not running.ended.is_set():
                # Again and again: the first may come before the cell's code has begun.
                guest.interrupt()
                with anyio.move_on_after(SIGNAL_EVERY_S):
                    await running.ended.wait()
        if not running.ended.is_set():
            guest.kill(f"was killed: {running.stop_reason}, and the cell did not end when asked to")
            await running.ended.wait()

    def _wake_watch(self) -> None:
        self._alarm.set()
        self._alarm = anyio.Event()

    def _result(self, running: RunningCell, done: Done) -> CellResult:
        error = done.error
        if done.status == "interrupted":
            error = f"{running.stop_reason or 'the cell stopped'}. {KEPT}\n{error}"
        elif done.status == "memory":
            limit_mb = self._limits.memory_bytes >> 20
            error = (
                f"{error}\nThe REPL's limit is {limit_mb:,} MB. {KEPT} Free what is large with"
                " `del`. Do not copy the whole text: use `lines`, slices, `grep()` or `files`."
            )
        return CellResult(
            cell_id=running.cell_id,
            status=done.status,
            output=done.output,
            output_chars=done.output_chars,
            error=error,
            seconds=running.seconds,
            variables=done.variables,
            final=done.final,
            draft=done.draft,
            restored=done.restored,
        )

    def _kept(self, running: RunningCell, result: CellResult) -> CellResult:
        """The result of a cell that counts, with what has to be told since the last one."""
        self._variables, self._is_proven = result.variables, True
        self._recording.ended(running.cell, result, self._contexts)
        tidings, lost = self._tidings, self._has_lost
        self._tidings, self._has_lost = None, False
        output = f"[{tidings}]\n{result.output}" if tidings else result.output
        return replace(result, output=output, lost=lost)

    def _end_lost(self, running: RunningCell, error: str, *, lost: bool) -> None:
        """End a cell whose process is gone."""
        running.end(
            CellResult(
                cell_id=running.cell_id,
                status="died",
                output="",
                output_chars=0,
                error=error,
                seconds=running.seconds,
                variables=() if lost else self._variables,
                lost=lost,
            )
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
