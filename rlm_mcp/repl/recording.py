"""What the cells of a REPL did, kept so that a new guest can do it again.

A cell is repeated with the answers it had, so that no model is asked twice. This is the second net:
a checkpoint is faster, and loses nothing of what cannot be repeated.
"""

import hashlib
from collections import defaultdict, deque
from dataclasses import dataclass

from rlm_mcp.types import CallAsked, Cell, CellResult, ContextInfo, Reply, SubReply

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
        if self._keeps(sum(len(r.text or "") + len(r.error or "") for r in reply.replies)):
            self._answers.append((_key(asked), reply.replies))

    def ended(self, cell: Cell, result: CellResult, contexts: tuple[ContextInfo, ...]) -> None:
        """The cell has ended and what it did has stayed."""
        self._seconds += result.seconds
        if result.status not in REPEATABLE:
            self.lost.append(cell.id)
        elif self._keeps(len(cell.code)):
            self.cells.append(Played(cell, contexts, tuple(self._answers), result.status))

    def leave_out(self, played: Played) -> None:
        """It cannot be repeated."""
        self.cells.remove(played)
        self.lost.append(played.cell.id)

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
        known = self._answers[_key(asked)]
        replies = known.popleft() if known else (UNKNOWN,) * len(asked.requests)
        return Reply(asked.call_id, replies)


def _key(asked: CallAsked) -> bytes:
    """The same for the same question, however threads were scheduled."""
    digest = hashlib.blake2b(asked.kind.encode(), digest_size=16)
    for request in asked.requests:
        for text in (request.prompt, request.context, request.model):
            written = b"" if text is None else text.encode("utf-8", "surrogatepass")
            digest.update(f"{len(written)}{text is None};".encode() + written)
    return digest.digest()
