"""What happens in a run, as frozen records: the only way out of the engine.

`node` places an event in the tree of nested runs: "" is the run itself, "1" its first nested run,
"1.2" the second one inside that. Every number a user sees is a sum over these records.

What a call sent and received whole travels with its events and is no part of their JSON: the
journal keeps it apart, see `runs.messages`.
"""

import dataclasses
import functools
import json
import types as builtin_types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from rlm_mcp.conduct import Citation, Conduct, Way
from rlm_mcp.types import Budget, Completion, Message, StoppedBy, Usage
from rlm_mcp.words import sendable

CallRole = Literal["root", "sub"]
CallOutcome = Literal["ok", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began. `contexts` are (id, name) pairs, `schema` what its answer must fit, as JSON.

    `key` stands for what a nested one was asked; "" in what an earlier version recorded.
    """

    node: str
    query: str
    session: str
    contexts: tuple[tuple[str, str], ...]
    model: str
    sub_model: str
    budget: Budget
    schema: str | None = None
    way: Way = "rlm"
    why: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class RunResumed:
    """A run goes on that its server's end, or the loss of its endpoint or journal, had stopped."""

    node: str


@dataclass(frozen=True, slots=True)
class ReplReady:
    """The run has a REPL. `sandboxed` False: model-written code runs with the user's rights."""

    node: str
    box: str
    sandboxed: bool
    enforced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """The root model is about to be asked for turn `turn`, counted from 1."""

    node: str
    turn: int


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A request to a model began. `prompt` is head and tail of it, `prompt_chars` its true size.

    `messages` is all of it; () for an event that was read back.
    """

    node: str
    call: str
    turn: int
    role: CallRole
    model: str
    prompt: str
    prompt_chars: int
    batch: int = 1
    messages: tuple[Message, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CallRetried:
    """An attempt failed and is made again after `wait_s`; `lost`: the endpoint was not there."""

    node: str
    call: str
    attempt: int
    reason: str
    wait_s: float
    lost: bool = False


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A request ended. `usage` is None only if nothing is known of what a failed call used.

    `error` and `hint` are what the failure said, `error_type` the name of its class. `key` stands
    for all that was asked, of whom: the same for the same. `completion` is what came, whole; None
    for an event that was read back.
    """

    node: str
    call: str
    turn: int
    role: CallRole
    model: str
    outcome: CallOutcome
    reply: str
    reply_chars: int
    reasoning_chars: int
    usage: Usage | None
    error: str | None = None
    attempts: int = 1
    error_type: str | None = None
    key: str = ""
    finish_reason: str | None = None
    hint: str | None = None
    completion: Completion | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CellStarted:
    """Code begins to execute."""

    node: str
    cell: str
    turn: int
    code: str


@dataclass(frozen=True, slots=True)
class CellEnded:
    """Code ended. `output` is what the model is shown, `output_chars` the true size."""

    node: str
    cell: str
    turn: int
    status: str
    output: str
    output_chars: int
    error: str | None
    seconds: float
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know: a warning, a repair, a refused answer."""

    node: str
    text: str


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run ended with its best answer. `key` stands for what a nested one was asked.

    `waited_s` of its `seconds` it had waited, at last in vain, for an endpoint that was lost.
    """

    node: str
    stopped_by: StoppedBy
    answer: str
    citations: tuple[Citation, ...]
    root: Usage
    sub: Usage
    turns: int
    seconds: float
    notes: tuple[str, ...] = ()
    conduct: Conduct = field(default_factory=Conduct)
    key: str = ""
    waited_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RunFailed:
    """A run could not go on and has no answer: what happened and what to do now."""

    node: str
    message: str
    hint: str
    error_type: str | None = None


Event = (
    RunStarted
    | RunResumed
    | ReplReady
    | TurnStarted
    | CallStarted
    | CallRetried
    | CallEnded
    | CellStarted
    | CellEnded
    | Note
    | RunEnded
    | RunFailed
)

_BY_NAME: dict[str, type[Any]] = {cls.__name__: cls for cls in typing.get_args(Event)}
_FIELDS = {
    cls: tuple(each.name for each in dataclasses.fields(cls) if each.compare)
    for cls in typing.get_args(Event)
}


def to_json(event: Event) -> str:
    """The event as a JSON object, its kind under `event`; `?` for each lone surrogate."""
    fields = {name: getattr(event, name) for name in _FIELDS[type(event)]}
    record = {"event": type(event).__name__, **fields}
    try:
        return orjson.dumps(record).decode()
    except orjson.JSONEncodeError:
        return sendable(json.dumps(record, ensure_ascii=False, default=dataclasses.asdict))


def from_json(text: str) -> Event:
    """The event that `to_json` made the text from; fields it lacks take their defaults."""
    record: dict[str, Any] = orjson.loads(text)
    cls = _BY_NAME[record["event"]]
    event: Event = _build(cls, {k: v for k, v in record.items() if k != "event"})
    return event


def _build(cls: Callable[..., Any], record: dict[str, Any]) -> Any:
    hints = _hints(cls)
    return cls(**{k: _coerce(hints[k], v) for k, v in record.items() if k in hints})


@functools.cache
def _hints(cls: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _coerce(hint: Any, value: Any) -> Any:
    if not isinstance(value, (dict, list)):
        return value
    if isinstance(hint, builtin_types.UnionType):
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
    if isinstance(value, dict):
        return _build(hint, value)
    arms = typing.get_args(hint)
    inner = arms[0] if len(arms) == 2 and arms[1] is Ellipsis else None
    pairs = [(inner, v) for v in value] if inner else zip(arms, value, strict=True)
    return tuple(_coerce(arm, v) for arm, v in pairs)
