"""Measures how a model at an endpoint behaves, by a handful of cheap questions."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from rlm_mcp.errors import EndpointFailed
from rlm_mcp.llm.canary import Gauge, Window
from rlm_mcp.llm.endpoint import Endpoint
from rlm_mcp.llm.interview import Asked, Bounds, Interview, rate
from rlm_mcp.llm.profiles import ModelProfile, WindowFrom
from rlm_mcp.llm.wire import Switch
from rlm_mcp.types import Message

_THINKING_TOKENS = 256
_PATIENCE_S = 30.0
_COUNT = "Count from one to twenty in words."
_TASK = "Write exactly: one two three four five six"
# Misspelt, so that a server that repeats it is told from a model that starts again.
_BEGUN, _NEXT, _FIRST = "one two thrae", "four", "one two three"
_ABOUT_THE_END = re.compile(
    r"last (?:message|role)|final position|assistant|pre-?fill|alternat", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What setting and metadata say of a model before it is measured, None where they do not."""

    setting_tokens: int | None = None
    metadata_tokens: int | None = None
    slots: int | None = None

    @property
    def window_tokens(self) -> int | None:
        """The window to try."""
        return self.setting_tokens or self.metadata_tokens


async def measure(
    endpoint: Endpoint, model: str, claim: Claim, bounds: Bounds | None = None
) -> ModelProfile:
    """Ask a model ten to thirty questions; what cannot be told within `bounds` stays unknown.

    Costs up to `bounds.tokens` of prompts, and up to `bounds.seconds` once the model is loaded.

    Raises:
        EndpointError: not even a first, plain question was answered.
    """
    interview = Interview(endpoint, model, bounds or Bounds())
    first = await _begin(interview, endpoint.url)
    thinking = _thinking(first)
    thinking_off = await _find_switch(interview) if thinking != "none" else None
    interview.thinking_off = thinking_off
    second = await interview.ask([Message("user", _COUNT)])
    if second.reply is not None:
        interview.reply_per_s = rate(second.made_tokens, second.seconds)
    system, two_users, trailing = await _ask_roles(interview)
    gauge = Gauge(interview)
    await gauge.calibrate(_COUNT, second)
    window = await gauge.find(claim.window_tokens)
    several = claim.slots is None or claim.slots > 1
    shares = await gauge.shares_context(window.tokens) if several and window.tokens else None
    assert first.reply is not None
    counted = first.reply.counted
    return ModelProfile(
        url=endpoint.url,
        model=model,
        measured_at=datetime.now(UTC),
        requests=interview.requests,
        tokens=interview.tokens,
        seconds=round(interview.seconds, 3),
        window_tokens=window.tokens,
        window_from=_from(window, claim),
        claimed_tokens=claim.metadata_tokens,
        whole_tokens=window.whole_tokens,
        failed_tokens=window.failed_tokens,
        overflow=window.overflow,
        slots=claim.slots,
        shares_context=shares,
        system=system,
        two_users=two_users,
        trailing_assistant=trailing,
        thinking=thinking,
        thinking_off=thinking_off,
        usage=_usage(first, is_honest=gauge.is_honest),
        reports_cached=counted is not None and counted.cached is not None,
        prompt_per_s=_rounded(interview.prompt_per_s),
        reply_per_s=_rounded(interview.reply_per_s),
        chars_per_token=_rounded(gauge.chars_per_token),
    )


async def _begin(interview: Interview, url: str) -> Asked:
    """The first question, with which a server may load its model."""
    first = await interview.ask([Message("user", _COUNT)], _THINKING_TOKENS, patience_s=_PATIENCE_S)
    if first.error is not None:
        raise first.error
    if first.reply is None:
        raise EndpointFailed(
            f"{url} gave no reply within {first.seconds:.0f} s.",
            "See whether the model server hangs.",
            url=url,
        )
    interview.begin()
    return first


def _thinking(first: Asked) -> Literal["none", "field", "tags"]:
    # Qwen 3 with its thinking off still writes an empty block.
    if first.reply is None or not first.reply.reasoning.strip():
        return "none"
    return "tags" if first.reply.is_tagged else "field"


async def _find_switch(interview: Interview) -> Switch | None:
    """What turns thinking off, None if nothing known does."""
    switches: tuple[Switch, ...] = get_args(Switch)
    for switch in switches:
        interview.thinking_off = switch
        asked = await interview.ask([Message("user", _COUNT)], _THINKING_TOKENS)
        if asked.reply is not None and asked.reply.text.strip() and _thinking(asked) == "none":
            return switch
    return None


Taken = Literal["taken", "refused"]
Trailing = Literal["answered", "refused", "continued"]


async def _ask_roles(
    interview: Interview,
) -> tuple[Taken | None, Taken | None, Trailing | None]:
    """How a system message, two user messages in a row and a last word are taken."""
    system = [Message("system", "Be brief."), Message("user", "What colour is grass?")]
    users = [Message("user", "Here is a question."), Message("user", "What colour is grass?")]
    asked = await interview.ask(system)
    system_taken = _taken(asked, is_put_as_sent=not interview.role_rules.folds)
    asked = await interview.ask(users)
    users_taken = _taken(asked, is_put_as_sent=not interview.role_rules.merges)
    return system_taken, users_taken, await _trailing(interview)


def _taken(asked: Asked, *, is_put_as_sent: bool) -> Taken | None:
    """An error says nothing: a refusal for the roles would have been got around."""
    if asked.reply is None:
        return None
    return "taken" if is_put_as_sent else "refused"


async def _trailing(interview: Interview) -> Trailing | None:
    asked = await interview.ask([Message("user", _TASK), Message("assistant", _BEGUN)])
    if asked.reply is None:
        return "refused" if _is_about_the_end(asked) else None
    words = " ".join(re.findall(r"\w+", asked.reply.text.lower()))
    if words.startswith((_BEGUN, _NEXT)):
        return "continued"
    return "answered" if words.startswith(_FIRST) else None


def _is_about_the_end(asked: Asked) -> bool:
    """Whether an error is about who has the last word, and not about anything else."""
    error = asked.error
    return error is not None and bool(
        _ABOUT_THE_END.search(error.message.replace(error.url or "", ""))
    )


def _from(window: Window, claim: Claim) -> WindowFrom | None:
    if window.tokens is None:
        return None
    if claim.setting_tokens is not None and window.overflow is None:
        return "setting"
    return "measured" if window.is_measured else "metadata"


def _usage(first: Asked, *, is_honest: bool) -> Literal["reported", "missing", "wrong"]:
    if is_honest:
        return "reported"
    return "wrong" if first.reply is not None and first.reply.has_usage else "missing"


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 2)
