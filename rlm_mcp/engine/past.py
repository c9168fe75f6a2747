"""What a run had been answered before it was stopped: it goes on without asking that again.

A resumed run begins anew, with its own replies: those of each node's root model in their order,
sub-models' and nested runs' by what they were asked. Its code runs again; what was in flight is
asked once more. A nested run has the name it had, however many are at work at a time.

A prompt that nobody was asked is asked, also where its cell asks as many as it had: one made of the
time or of chance may come in another order, and the answer to another would be worse than none.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rlm_mcp.events import (
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    Event,
    Note,
    ReplReady,
    RunEnded,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.protocols import Sink
from rlm_mcp.types import Completion, SubReply

LOST = "The server ended before the reply came."
CUT_SHORT = {"interrupted", "died"}


@dataclass(slots=True)
class Past:
    """The answers in a run's events. Without events there is none, as for a new run."""

    _by_name: dict[str, Completion] = field(default_factory=dict)
    _by_key: dict[str, Completion] = field(default_factory=dict)
    _nested: dict[str, SubReply] = field(default_factory=dict)
    _asked: Counter[str] = field(default_factory=Counter)
    _names: defaultdict[tuple[int, str], deque[str]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    _named: set[str] = field(default_factory=lambda: {""})
    _children: Counter[str] = field(default_factory=Counter)
    _replied: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Past":
        """Of all that a run has told."""
        past = cls()
        for event in events:
            match event:
                case RunStarted() if event.node:
                    past._add_nested(event)
                case CallStarted(role="sub"):
                    past._asked[event.node] += 1
                case CallEnded(outcome="ok"):
                    past._add(event)
                case RunEnded(stopped_by="answer") if event.key:
                    past._nested[event.key] = SubReply(event.answer)
                case _:
                    pass
        return past

    def root(self, call: str, key: str) -> Completion | None:
        """The root model's reply to a call, None if it has not replied."""
        return self._by_name.get(call) or self._by_key.get(key)

    def replied(self, node: str) -> int:
        """The number of the last request of a node that its root model has replied to, else 0."""
        return self._replied[node]

    def sub(self, key: str) -> Completion | None:
        """A sub-model's reply to what the key stands for, None if it has not replied."""
        return self._by_key.get(key)

    def below(self, node: str, key: str) -> str:
        """The name of the nested run that a node begins on what the key stands for.

        It is that of before, unless it is asked once more than it was: it may have failed then. Who
        asks what others at the same depth ask too may not be the one that did.
        """
        depth = node.count(".") + 1 if node else 0
        if names := self._names[depth, key]:
            return names.popleft()
        self._children[node] += 1
        return f"{node}.{self._children[node]}" if node else f"{self._children[node]}"

    @property
    def has_answers(self) -> bool:
        """Whether any model had answered."""
        return bool(self._by_name or self._by_key)

    def asked(self, node: str) -> int:
        """How many sub-calls a node had begun."""
        return self._asked[node]

    def nested(self, key: str) -> SubReply | None:
        """A nested run's answer to what the key stands for, None if it has not given one."""
        return self._nested.get(key)

    def _add_nested(self, run: RunStarted) -> None:
        above, _, number = run.node.rpartition(".")
        self._children[above] = max(self._children[above], int(number))
        if run.key and run.node not in self._named:
            self._named.add(run.node)
            self._names[run.node.count("."), run.key].append(run.node)

    def _add(self, call: CallEnded) -> None:
        if call.usage is None or len(call.reply) != call.reply_chars:
            return  # of a very long one, an earlier version's journal has but its ends
        completion = Completion(
            call.reply, "", call.finish_reason, call.model, call.usage, call.attempts
        )
        if call.role == "root" and call.node in self._named:
            self._by_name[call.call] = completion
            self._replied[call.node] = int(call.call.rpartition("r")[2])
        elif call.key:
            self._by_key[call.key] = completion


class Retelling(Sink, Protocol):
    """A `Sink` that keeps events, and tells others of them."""

    def retell(self, event: Event) -> None:
        """Tell the others of an event that is kept from before."""


class Onward:
    """The `Sink` of a resumed run: what its events say already is told again, but not kept twice.

    A cell that was stopped on its way has not said its end.
    """

    def __init__(self, sink: Retelling, events: Iterable[Event]) -> None:
        self._sink = sink
        self._said = {_name(event) for event in events} - {None}

    def emit(self, event: Event) -> None:
        """Take one event of the run that begins anew."""
        if _name(event) in self._said:
            self._sink.retell(event)
        else:
            self._sink.emit(event)


def lost_calls(events: Iterable[Event]) -> Iterator[CallEnded]:
    """The ends of calls that were in flight: nobody knows what they used."""
    open_calls: dict[str, CallStarted] = {}
    for event in events:
        match event:
            case CallStarted():
                open_calls[event.call] = event
            case CallEnded():
                open_calls.pop(event.call, None)
            case _:
                pass
    for call in open_calls.values():
        yield CallEnded(
            node=call.node,
            call=call.call,
            turn=call.turn,
            role=call.role,
            model=call.model,
            outcome="cancelled",
            reply="",
            reply_chars=0,
            reasoning_chars=0,
            usage=None,
            error=LOST,
        )


def _name(event: Event) -> tuple[object, ...] | None:
    """What a run says once; None of what it may say again."""
    match event:
        case RunStarted() | ReplReady():
            return type(event), event.node
        case TurnStarted():
            return TurnStarted, event.node, event.turn
        case CellStarted():
            return CellStarted, event.cell
        case CellEnded() if event.status not in CUT_SHORT:
            return CellEnded, event.cell
        case Note():
            return Note, event.node, event.text
        case _:
            return None
