"""What a run had been answered before it was stopped: it goes on without asking that again.

A resumed run begins anew, with its own replies: the root model's in their order, sub-models' and
nested runs' by what they were asked. Its code runs again; what was in flight is asked once more.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

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

    @classmethod
    def of(cls, events: Iterable[Event]) -> "Past":
        """Of all that a run has told."""
        past = cls()
        for event in events:
            match event:
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

    def sub(self, key: str) -> Completion | None:
        """A sub-model's reply to what the key stands for, None if it has not replied."""
        return self._by_key.get(key)

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

    def _add(self, call: CallEnded) -> None:
        if call.usage is None or len(call.reply) != call.reply_chars:
            return  # of a very long one the journal has but its ends
        completion = Completion(
            call.reply, "", call.finish_reason, call.model, call.usage, call.attempts
        )
        if call.role == "root" and not call.node:
            self._by_name[call.call] = completion
        elif call.key:
            self._by_key[call.key] = completion


class Onward:
    """The `Sink` of a resumed run: passes on what its events do not say already.

    A cell that was stopped on its way has not said its end.
    """

    def __init__(self, sink: Sink, events: Iterable[Event]) -> None:
        self._sink = sink
        self._said = {_name(event) for event in events} - {None}

    def emit(self, event: Event) -> None:
        """Take one event of the run that begins anew."""
        if _name(event) not in self._said:
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
