"""What a guest may say, validated and typed. Every byte of it may be forged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlm_mcp.repl.guest.wire import MODEL_CHARS, REQUEST_CHARS, REQUESTS, BadFrame, Message
from rlm_mcp.types import CallKind, CellStatus, Final, ReplLimits, SubRequest, Variable

LARGEST = 1 << 63
OUTPUT_SLACK_CHARS = 1_000
ERROR_CHARS = 20_000
LISTED = 200
NAME_CHARS = 200
FRAME_SLACK_BYTES = 1 << 20
VIAS = ("FINAL", "FINAL_VAR", "answer")


@dataclass(frozen=True, slots=True)
class Hello:
    """The guest stands ready. `probes` are forbidden deeds it tried, True where refused.

    `space_bytes` is its limit of address space, 0 where there is none. `checkpoints`: it can leave
    a copy of itself behind before a cell. `in_place`: loaded text is mapped, not copied.
    """

    python: str
    layers: tuple[str, ...]
    probes: dict[str, bool]
    space_bytes: int
    checkpoints: bool
    in_place: bool


@dataclass(frozen=True, slots=True)
class Gate:
    """The guest hands over the descriptor on which the kernel asks before it may fork."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The guest could not lock its box and has ended."""

    error: str


@dataclass(frozen=True, slots=True)
class Call:
    """Code in the guest waits for models. `chars` is what the requests count as."""

    number: int
    kind: CallKind
    batched: bool
    requests: tuple[SubRequest, ...]
    chars: int


@dataclass(frozen=True, slots=True)
class Done:
    """A cell has ended."""

    number: int
    status: CellStatus
    output: str
    output_chars: int
    error: str | None
    variables: tuple[Variable, ...]
    final: Final | None
    draft: str | None
    restored: tuple[str, ...]


Said = Hello | Gate | Refused | Call | Done


def frame_limit(limits: ReplLimits) -> int:
    """Bytes of the largest frame an honest guest sends."""
    result = 4 * (2 * limits.answer_chars + limits.output_chars + ERROR_CHARS)
    return max(limits.message_bytes, result) + FRAME_SLACK_BYTES


def parse(message: Message, limits: ReplLimits) -> Said:
    """The typed message; takes `message` apart.

    Raises:
        BadFrame: an honest guest does not say that.
    """
    kind = message.pop("t")[:NAME_CHARS]
    try:
        said = KINDS[kind](message, limits)
    except (KeyError, TypeError, ValueError) as error:
        raise BadFrame(f"a broken {kind!r}: {str(error)[:NAME_CHARS]}") from None
    if message:
        raise BadFrame(f"a {kind!r} with more than belongs to it")
    return said


def _text(value: Any, limit: int) -> str:
    if type(value) is not str or len(value) > limit:
        raise ValueError("text expected, or a shorter one")
    return value


def _text_or_none(value: Any, limit: int) -> str | None:
    return None if value is None else _text(value, limit)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < LARGEST:
        raise ValueError("count expected")
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("yes or no expected")
    return value


def _list(value: Any, limit: int) -> list[Any]:
    if type(value) is not list or len(value) > limit:
        raise ValueError("list expected, or a shorter one")
    return value


def _hello(message: Message, _: ReplLimits) -> Hello:
    return Hello(
        python=_text(message.pop("python"), NAME_CHARS),
        layers=tuple(_text(layer, NAME_CHARS) for layer in _list(message.pop("layers"), LISTED)),
        probes={
            _text(name, NAME_CHARS): _flag(refused)
            for name, refused in _list(message.pop("probes"), LISTED)
        },
        space_bytes=_count(message.pop("space_bytes")),
        checkpoints=_flag(message.pop("checkpoints")),
        in_place=_flag(message.pop("in_place")),
    )


def _gate(_: Message, __: ReplLimits) -> Gate:
    return Gate()


def _refused(message: Message, _: ReplLimits) -> Refused:
    return Refused(_text(message.pop("error"), ERROR_CHARS))


def _call(message: Message, limits: ReplLimits) -> Call:
    kind, most = message.pop("kind"), limits.message_bytes
    if kind not in {"llm", "rlm"}:
        raise ValueError("kind of call")
    requests = tuple(
        SubRequest(
            _text(prompt, most), _text_or_none(context, most), _text_or_none(model, MODEL_CHARS)
        )
        for prompt, context, model in _list(message.pop("requests"), REQUESTS)
    )
    batched = _flag(message.pop("batched"))
    if not requests or (len(requests) > 1 and not batched):
        raise ValueError("number of requests")
    return Call(
        number=_count(message.pop("id")),
        kind=kind,
        batched=batched,
        requests=requests,
        chars=sum(
            REQUEST_CHARS + len(asked.prompt) + len(asked.context or "") for asked in requests
        ),
    )


def _done(message: Message, limits: ReplLimits) -> Done:
    status = message.pop("status")
    if status not in {"ok", "error", "interrupted", "memory"}:
        raise ValueError("status")
    final = None
    given = message.pop("final")
    if given is not None:
        text, via, cut = given
        if via not in VIAS:
            raise ValueError("via")
        final = Final(_text(text, limits.answer_chars), via, _flag(cut))
    return Done(
        number=_count(message.pop("number")),
        status=status,
        output=_text(message.pop("output"), limits.output_chars + OUTPUT_SLACK_CHARS),
        output_chars=_count(message.pop("output_chars")),
        error=_text_or_none(message.pop("error"), ERROR_CHARS),
        variables=tuple(
            Variable(
                _text(name, NAME_CHARS),
                _text(kind, NAME_CHARS),
                None if size is None else _count(size),
                _text(preview, NAME_CHARS),
            )
            for name, kind, size, preview in _list(message.pop("variables"), LISTED)
        ),
        final=final,
        draft=_text_or_none(message.pop("draft"), limits.answer_chars),
        restored=tuple(_text(name, NAME_CHARS) for name in _list(message.pop("restored"), LISTED)),
    )


KINDS: dict[str, Callable[[Message, ReplLimits], Said]] = {
    "hello": _hello,
    "gate": _gate,
    "refused": _refused,
    "call": _call,
    "done": _done,
}
