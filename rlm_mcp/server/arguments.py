"""What tools are called with, and the errors that tell a model how to call them right."""

import difflib
import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rlm_mcp.conduct import Strategy
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.types import CostScope, Detail

A = TypeVar("A", bound="Arguments")


def _unwrapped(value: Any) -> Any:
    """A list or object that came as JSON text, as some hosts send them; all else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


Unwrapped = BeforeValidator(_unwrapped)
WaitS = Annotated[float | None, Field(ge=0, le=86_400, description="Seconds.")]


class Arguments(BaseModel):
    """The arguments of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoadContext(Arguments):
    """Of load_context."""

    source: Annotated[str | list[str] | None, Unwrapped] = Field(
        default=None,
        description="Absolute paths of files, folders, globs, archives; `folder@revision` of git;"
        " `rotated:/x/app.log`; https:// URL.",
    )
    text: str | None = Field(default=None, description="Text to load instead.")
    name: str | None = Field(default=None, description="To call it by.")
    session: str | None = Field(default=None, description="Session to add to.")


class Limits(Arguments):
    """The `budget` of a query; what is not named stays as the settings have it."""

    turns: int | None = Field(default=None, ge=1)
    calls: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    cost: float | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, gt=0)
    depth: int | None = Field(default=None, ge=1, le=8)


class RlmQuery(Arguments):
    """Of rlm_query."""

    query: str = Field(min_length=1, description="The question, complete in itself.")
    contexts: Annotated[list[str] | None, Unwrapped] = Field(
        default=None, description="Names or ids; default: all."
    )
    session: str | None = Field(default=None, description="Handle from load_context.")
    wait_s: WaitS = None
    budget: Annotated[Limits | None, Unwrapped] = Field(default=None, description="Its limits.")
    answer_schema: Annotated[dict[str, Any] | None, Unwrapped] = Field(
        default=None, description="JSON Schema of the answer."
    )
    strategy: Strategy | None = Field(default=None, description="`direct`: all text in one prompt.")
    estimate: bool = Field(default=False, description="Tell what it takes.")
    model: str | None = None
    sub_model: str | None = None


class GetAnswer(Arguments):
    """Of get_answer."""

    run_id: str
    wait_s: WaitS = None
    resume: bool = Field(default=False, description="Go on with a run that was interrupted.")


class CancelQuery(Arguments):
    """Of cancel_query."""

    run_id: str


class ListContexts(Arguments):
    """Of list_contexts."""

    session: str | None = None
    page: int = Field(default=1, ge=1)


class GetCosts(Arguments):
    """Of get_costs."""

    scope: CostScope = "session"
    id: str | None = Field(default=None, description="Session, run_id or YYYY-MM-DD.")


class GetTrace(Arguments):
    """Of get_trace."""

    run_id: str
    page: int = Field(default=1, ge=1)
    detail: Detail = Field(
        default="turns",
        description="`answer`: all of it. `messages`: prompts and replies, raw.",
    )
    call: str | None = Field(default=None, description="One call's messages.")


def parse(tool: str, model: type[A], given: dict[str, Any]) -> A:
    """The arguments of a call.

    Raises:
        ArgumentInvalid: one is unknown, missing or cannot be what it is; the hint names the cure.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        # An unknown name first: it is often the reason why another is missing.
        errors = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        first = errors[0]
        place = tuple(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise _unknown(tool, model, place) from error
        if first["type"] == "missing":
            raise ArgumentInvalid(f"{tool} needs `{place[0]}`.", _told(model, place[0])) from error
        name = ".".join(place[: 2 if place[0] == "budget" else 1])
        value = given.get(place[0])
        if isinstance(value, dict) and len(place) > 1:
            value = value.get(place[1])
        raise ArgumentInvalid(
            f"{tool}: `{name}` cannot be {_shown(value)}: {_lowered(first['msg'])}.",
            _told(model, place[0]),
        ) from error


def nearest(name: str, known: list[str]) -> str:
    """`Did you mean ...?`, or what there is."""
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    listed = ", ".join(known)
    return f"Did you mean `{near[0]}`? There are: {listed}." if near else f"There are: {listed}."


def _unknown(tool: str, model: type[Arguments], place: tuple[str, ...]) -> ArgumentInvalid:
    fields = Limits.model_fields if len(place) > 1 else model.model_fields
    name = ".".join(place)
    return ArgumentInvalid(f"{tool} has no argument `{name}`.", nearest(place[-1], list(fields)))


def _told(model: type[Arguments], name: str) -> str:
    description = model.model_fields[name].description
    return f"`{name}`: {description}" if description else f"Give a valid `{name}`."


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]
