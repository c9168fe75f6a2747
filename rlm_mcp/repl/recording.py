"""What the cells of a REPL did, kept so that a new guest can do it again.

A cell is repeated with the answers it had, so that no model is asked twice. This is the second net:
a checkpoint is faster, and loses nothing of what cannot be repeated.
"""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from rlm_mcp.repl.cell import RunningCell
from rlm_mcp.repl.guest.wire import REQUEST_CHARS, Message
from rlm_mcp.types import CallAsked, Cell, CellResult, ContextInfo, Reply, SubReply
from rlm_mcp.words import count

MOST_CHARS = 64_000_000
MOST_S = 60.0
REPEATABLE = ("ok", "error", "memory")
UNKNOWN = SubReply(None, "this was not asked when the cell first ran")


@dataclass(frozen=True, slots=True)
class Played:
    """A cell that ended: the contexts it saw, the answers it had, how it ended."""

    cell: Cell
    contexts: tuple[ContextInfo, ...]
    answers: tuple[tuple[bytes, tuple[SubReply, ...]], ...]
    status: str


class Recording:
    """All cells of one REPL, oldest first. `lost` are those that cannot be repeated."""

    def __init__(self) -> None:
        self.cells: list[Played] = []
        self.lost: list[str] = []
        self._answers: list[tuple[bytes, tuple[SubReply, ...]]] = []
        self._chars = 0
        self._seconds = 0.0

    @property
    def usable(self) -> bool:
        """Whether repeating it takes bearable room and time."""
        return self._chars <= MOST_CHARS and self._seconds <= MOST_S

    def begin(self) -> None:
        """A cell begins. Of one that never ends properly nothing stays."""
        self._answers = []

    def answered(self, asked: CallAsked, reply: Reply) -> None:
        """The cell was given an answer."""
        chars = (len(each.text or "") + len(each.error or "") for each in reply.replies)
        if self._keeps(sum(chars) + REQUEST_CHARS * len(reply.replies)):
            self._answers.append((_key(asked), reply.replies))

    def ended(self, cell: Cell, result: CellResult, contexts: tuple[ContextInfo, ...]) -> None:
        """The cell has ended and what it did has stayed."""
        self._seconds += result.seconds
        if self._keeps(len(cell.code)) and result.status in REPEATABLE:
            self.cells.append(Played(cell, contexts, tuple(self._answers), result.status))
        else:
            self.lost.append(cell.id)

    def leave_out(self, deadly: Played, before: Played | None) -> Played | None:
        """Do not repeat a cell again, as it ends the guest.

        Where the cell `before` it is the one of last time, that one is to blame and goes as well.
        Gives the cell before this one.
        """
        place = self.cells.index(deadly)
        leader = self.cells[place - 1] if place else None
        out = [deadly, leader] if leader is not None and leader is before else [deadly]
        self.cells = [played for played in self.cells if played not in out]
        self.lost += (played.cell.id for played in out)
        return leader

    def leave_out_last(self) -> None:
        """Do not repeat the newest cell again."""
        if self.cells:
            self.lost.append(self.cells.pop().cell.id)

    def leave_out_all(self) -> None:
        """To repeat them takes too long."""
        self.lost += (played.cell.id for played in self.cells)
        self.cells.clear()

    def _keeps(self, chars: int) -> bool:
        """Count what is to be kept; beyond what is bearable nothing is."""
        self._chars += chars
        if not self.usable:
            self.cells.clear()
            self._answers.clear()
        return self.usable


class Prompter:
    """Answers the calls of a repeated cell as they were answered before."""

    def __init__(self, played: Played) -> None:
        self._answers: dict[bytes, deque[tuple[SubReply, ...]]] = defaultdict(deque)
        for key, replies in played.answers:
            self._answers[key].append(replies)

    def answer(self, asked: CallAsked) -> Reply:
        """What was said then; an error for each request if it was not asked."""
        known = self._answers.get(_key(asked))
        replies = known.popleft() if known else (UNKNOWN,) * len(asked.requests)
        return Reply(asked.call_id, replies)


async def repeat(
    played: Played, running: RunningCell, send: Callable[[Message], None]
) -> CellResult:
    """Answer a repeated cell until it ends; its result."""
    prompter, seq = Prompter(played), 0
    while True:
        events, seq = running.after(seq)
        for event in events:
            if not isinstance(event, CallAsked):
                return event.result
            reply = prompter.answer(event)
            if running.answered(reply):
                send(running.frame(reply))
        if not events:
            await running.change()


def retold(repeated: int, differ: int, death: str | None) -> str:
    """What the model is told of a REPL that had to be built anew."""
    words = f"{death} This REPL is new." if death else "This REPL is new."
    if repeated:
        words += f" {count(repeated, 'cell')} ran again in it, with the answers had before."
    if differ:
        words += f" What {count(differ, 'cell')} did could not be repeated: check your variables."
    return words


def _key(asked: CallAsked) -> bytes:
    """The same for the same question, however threads were scheduled."""
    digest = hashlib.blake2b(asked.kind.encode(), digest_size=16)
    for request in asked.requests:
        for text in (request.prompt, request.context, request.model):
            written = b"" if text is None else text.encode("utf-8", "surrogatepass")
            digest.update(f"{len(written)}{text is None};".encode() + written)
    return digest.digest()
