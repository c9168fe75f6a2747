"""One submitted cell as the host sees it: its events, its open calls, its clock."""

import time
from dataclasses import dataclass

import anyio

from rlm_mcp.repl.guest.wire import BadFrame, Message
from rlm_mcp.repl.messages import Call
from rlm_mcp.types import CallAsked, CellDone, CellResult, ReplEvent, Reply

CALLS_AT_A_TIME = 512
CHARS_AT_A_TIME = 5


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose answer is awaited; `seq` is where its event stands."""

    number: int
    seq: int
    requests: int
    chars: int


class RunningCell:
    """Events by sequence number, counted from 1; an answered call's event is dropped with it.

    The clock counts while no call is open: then the cell computes.
    """

    def __init__(self, cell_id: str, number: int, message_bytes: int) -> None:
        self.cell_id = cell_id
        self.number = number
        self.ended = anyio.Event()
        self.stop_reason: str | None = None
        self._message_bytes = message_bytes
        self._events: dict[int, ReplEvent] = {}
        self._seq = 0
        self._open: dict[str, OpenCall] = {}
        self._numbers: set[int] = set()
        self._late = 0
        self._changed = anyio.Event()
        self._computed_s = 0.0
        self._since: float | None = time.monotonic()

    @property
    def seconds(self) -> float:
        """Computing time so far."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self._computed_s + running

    def after(self, seq: int) -> tuple[tuple[ReplEvent, ...], int]:
        """The events behind `seq`, and the number of the last one there is."""
        events = tuple(event for number, event in self._events.items() if number > seq)
        return events, max(seq, self._seq)

    def asked(self, call: Call) -> None:
        """The guest asks; what it asks after the cell has ended is dropped.

        Raises:
            BadFrame: a number comes twice, or more is asked at a time than an honest guest would.
        """
        if self.ended.is_set():
            # A thread may have asked just when its cell ended.
            self._late += 1
            if self._late > CALLS_AT_A_TIME:
                raise BadFrame("too many calls without a cell")
            return
        chars = call.chars + sum(held.chars for held in self._open.values())
        if call.number in self._numbers:
            raise BadFrame("a call's number comes twice")
        if len(self._open) >= CALLS_AT_A_TIME or chars > CHARS_AT_A_TIME * self._message_bytes:
            raise BadFrame("too many calls at a time")
        call_id = f"{self.cell_id}/{call.number}"
        self._record(CallAsked(call_id, call.kind, call.batched, call.requests))
        self._open[call_id] = OpenCall(call.number, self._seq, len(call.requests), call.chars)
        self._numbers.add(call.number)
        self._hold_clock()

    def answered(self, reply: Reply) -> Message | None:
        """The frame that carries a reply; None if the call is answered already or over.

        Raises:
            ValueError: there are more or fewer answers than requests.
        """
        held = self._open.get(reply.call_id)
        if held is None:
            return None
        if len(reply.replies) != held.requests:
            raise ValueError(f"{reply.call_id}: {held.requests} answers expected")
        del self._open[reply.call_id], self._events[held.seq]
        if not self._open and not self.ended.is_set():
            self._since = time.monotonic()
        self.wake()
        texts = [[answer.text or "", answer.error] for answer in reply.replies]
        return {"t": "reply", "id": held.number, "texts": texts}

    def end(self, result: CellResult) -> None:
        """The cell is over; calls still open are not wanted any more."""
        self._hold_clock()
        for held in self._open.values():
            del self._events[held.seq]
        self._open.clear()
        self._record(CellDone(result))
        self.ended.set()

    def stop(self, reason: str) -> None:
        """Ask for the cell to be stopped."""
        self.stop_reason = self.stop_reason or reason
        self.wake()

    async def overdue(self, limit_s: float) -> None:
        """Return when the cell has ended, is to be stopped, or has computed for `limit_s`."""
        while not self.ended.is_set() and not self.stop_reason:
            left_s = limit_s - self.seconds
            if left_s <= 0:
                self.stop_reason = f"the cell computed for {limit_s:g} s, the limit of one"
                return
            with anyio.move_on_after(None if self._since is None else left_s):
                await self.change()

    async def change(self) -> None:
        """Wait for the next event, answer or wish to stop."""
        await self._changed.wait()

    def wake(self) -> None:
        """Let everyone who waits for a change look again."""
        self._changed.set()
        self._changed = anyio.Event()

    def _hold_clock(self) -> None:
        self._computed_s, self._since = self.seconds, None

    def _record(self, event: ReplEvent) -> None:
        self._seq += 1
        self._events[self._seq] = event
        self.wake()
