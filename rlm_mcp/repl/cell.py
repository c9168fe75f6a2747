"""One submitted cell as the host sees it: its events, its open calls, its clock."""

import time
from dataclasses import dataclass

import anyio

from rlm_mcp.repl.guest.wire import BadFrame, Message
from rlm_mcp.repl.messages import Call
from rlm_mcp.types import CallAsked, Cell, CellDone, CellResult, ReplEvent, Reply

CALLS_AT_A_TIME = 512
CHARS_AT_A_TIME = 5


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose answer is awaited; `seq` is where its event stands."""

    seq: int
    requests: int
    chars: int


class RunningCell:
    """Events by sequence number, counted from 1; an answered call's event is dropped with it.

    The clock counts while no call is open: then the cell computes.
    """

    def __init__(
        self, cell: Cell, number: int, message_bytes: int, *, is_repeated: bool = False
    ) -> None:
        """`is_repeated`: it ran before, and runs again to bring its variables back."""
        self.cell = cell
        self.cell_id = cell.id
        self.number = number
        self.is_repeated = is_repeated
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
        self._open[call_id] = OpenCall(self._seq, len(call.requests), call.chars)
        self._numbers.add(call.number)
        self._hold_clock()

    def answered(self, reply: Reply) -> CallAsked | None:
        """The call that a reply answers; None if it is answered already or over.

        Raises:
            ValueError: there are more or fewer answers than requests.
        """
        held = self._open.pop(reply.call_id, None)
        if held is None:
            return None
        if len(reply.replies) != held.requests:
            self._open[reply.call_id] = held
            raise ValueError(f"{reply.call_id}: {held.requests} answers expected")
        asked = self._events.pop(held.seq)
        assert isinstance(asked, CallAsked)  # held.seq is where it stands
        if not self._open and not self.ended.is_set():
            self._since = time.monotonic()
        self.wake()
        return asked

    @staticmethod
    def frame(reply: Reply) -> Message:
        """The frame that carries a reply."""
        texts = [[answer.text or "", answer.error] for answer in reply.replies]
        number = int(reply.call_id.rpartition("/")[2])
        return {"t": "reply", "id": number, "texts": texts}

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
