"""A run in one line: what it is doing now and what it has used, folded from its events."""

from dataclasses import dataclass, field

import anyio

from rlm_mcp.events import (
    CallEnded,
    CallRetried,
    CallStarted,
    CellEnded,
    CellStarted,
    Event,
    Note,
    RunEnded,
    RunFailed,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.types import Usage
from rlm_mcp.words import count

LINE_CHARS = 100


@dataclass(slots=True)
class Asked:
    """Sub-questions that code asked together, and how many of them have ended."""

    number: int
    ended: int = 0


@dataclass(slots=True)
class RunStatus:
    """A `Sink` that keeps the present state of a run."""

    turn: int = 0
    turns: int | None = None
    used: Usage = field(default_factory=Usage)
    doing: str = "starting"
    since: float = field(default_factory=anyio.current_time)
    began: float = field(default_factory=anyio.current_time)
    _lost_since: float | None = None
    _open: set[str] = field(default_factory=set)
    _asked: dict[str, Asked] = field(default_factory=dict)

    def emit(self, event: Event) -> None:
        """Take one event."""
        match event:
            case RunStarted(node=""):
                self.turns = event.budget.turns
            case TurnStarted(node=""):
                self.turn = event.turn
            case CallStarted():
                if not self._open:  # the run went on without those that waited
                    self._lost_since = None
                self._open.add(event.call)
                if event.batch > 1:
                    self._asked.setdefault(event.node, Asked(event.batch))
                self._say(self._waiting(event))
            case CallRetried(lost=True) if event.wait_s > 0:
                self._lost_since = self._lost_since or anyio.current_time()
                self._say(event.reason)
            case CallRetried():
                self._say(f"retrying in {event.wait_s:.0f} s: {event.reason}")
            case CallEnded():
                self._open.discard(event.call)
                if event.outcome == "ok":
                    self._lost_since = None
                self.used += event.usage or Usage(calls=1)
                if event.role == "sub" and event.node in self._asked:
                    self._count(event.node)
            case CellStarted():
                self._say(f"running code: {_first_line(event.code)}")
            case CellEnded():
                # Code that was refused some of its questions will never see them all end.
                self._asked.pop(event.node, None)
                self._say(f"code {'done' if event.status == 'ok' else event.status}")
            case Note():
                self._say(event.text)
            case RunEnded():
                self._lost_since = None
                self._say(f"stopped by {event.stopped_by}" if not event.node else "nested run done")
            case RunFailed():
                self._lost_since = None
                self._say(f"failed: {event.message}")
            case _:
                pass

    def line(self) -> str:
        """At most 100 characters, present tense: turn, activity, calls, tokens, cost, time."""
        now = anyio.current_time()
        waited = now - self.since
        doing = f"{self.doing}, {waited:.0f} s" if self._open and waited >= 1 else self.doing
        if self._lost_since is not None:
            doing = f"waiting for the endpoint, {now - self._lost_since:.0f} s: {self.doing}"
        head = f"turn {self.turn}/{self.turns} · " if self.turns else f"turn {self.turn} · "
        tail = [count(self.used.calls, "call"), f"{_short(self.used.tokens)} tok"]
        if self.used.cost is not None and self.used.calls:
            tail.append(f"${self.used.cost:.2f}")
        tail.append(f"{now - self.began:.0f} s")
        room = LINE_CHARS - len(head) - len(" · ".join(tail)) - 3
        if len(doing) > room:
            doing = doing[: room - 1] + "…"
        return head + " · ".join([doing, *tail])

    def _waiting(self, event: CallStarted) -> str:
        if self._asked:
            return self._batch()
        return f"waiting for {event.model}" + (" (sub-call)" if event.role == "sub" else "")

    def _count(self, node: str) -> None:
        asked = self._asked[node]
        asked.ended += 1
        self.doing = self._batch()
        if asked.ended >= asked.number:
            del self._asked[node]

    def _batch(self) -> str:
        number = sum(asked.number for asked in self._asked.values())
        ended = sum(asked.ended for asked in self._asked.values())
        return f"asking {number:,} sub-questions, {ended:,} done"

    def _say(self, text: str) -> None:
        self.doing = " ".join(text.split())
        self.since = anyio.current_time()


def _first_line(code: str) -> str:
    lines = [line.strip() for line in code.splitlines()]
    return next((line for line in lines if line and not line.startswith("#")), "")


def _short(count: int) -> str:
    if count < 1000:
        return str(count)
    return f"{count / 1000:.0f}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"
