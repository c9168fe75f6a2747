"""What an endpoint's error replies mean: every server's wording becomes one leaf of the tree."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from rlm_mcp.errors import (
    EndpointBusy,
    EndpointError,
    EndpointFailed,
    EndpointRefused,
    ModelUnknown,
    NotTheProtocol,
    PromptTooLong,
)
from rlm_mcp.llm.counts import count_in, count_of

_SHOWN_CHARS = 300
_WORDS = ("message", "detail")
_BUSY = {408, 429, 502, 503, 504}
_RETRY_AFTER = ("retry-after", "llm_provider-retry-after")
_TOO_LONG = re.compile(
    "exceed_context_size_error|context_length_exceeded|ContextWindowExceeded"
    "|maximum context length is|exceeds the available context size"
    "|longer than the model's context length|context length of only"
    "|input length exceeds the context length|prompt is longer than the context length"
)
_WINDOW = re.compile(
    r"(?:maximum context length is|exceeds the available context size \("
    r"|longer than the model's context length \(|context length of only) ?(\d+)"
)
_PROMPT = re.compile(
    r"(?:request|input) \((\d+) tokens\)|requested about (\d+) tokens"
    r"|\((\d+) in the messages|resulted in (\d+) tokens"
    r"|your request has (\d+) input tokens|keep the first (\d+) tokens"
)
_MODEL_UNKNOWN = re.compile(
    r"\bmodel\b[^.]{0,120}(?:not found|not exist)|(?:invalid|unknown|not a valid) model"
    r"|model_not_found|pinned to .* requested",
    re.IGNORECASE,
)


class WindowShared(EndpointBusy):
    """Parallel requests overflowed the one cache a server shares among its slots.

    llama.cpp and LM Studio fail every request in flight with it, also those that fit.
    """


@dataclass(frozen=True, slots=True)
class Target:
    """Who was asked: what an error names, and the secrets it must not."""

    url: str
    model: str
    listed: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error reply as it was sent. `marks` are its machine-readable type and code."""

    status: int
    text: str
    marks: str = ""
    prompt_tokens: int | None = None
    window_tokens: int | None = None
    retry_after_s: float | None = None


def read_refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """Read an error reply in any of the shapes servers use, down to plain text and HTML."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = body.decode("utf-8", "replace").strip()
    return refusal_of(value, status, _retry_after_s(headers))


def refusal_of(
    value: Any, status: int | None = None, retry_after_s: float | None = None
) -> Refusal:
    """The refusal in a JSON value; without a `status`, its own `code` or else 500."""
    outer = value if isinstance(value, dict) else {}
    inner = outer.get("error")
    fields: dict[str, Any] = inner if isinstance(inner, dict) else outer
    text = next(
        (
            found if isinstance(found, str) else orjson.dumps(found).decode()
            for found in (inner if isinstance(inner, str) else None, *map(fields.get, _WORDS))
            if found
        ),
        value if isinstance(value, str) else "",
    )
    code = str(fields.get("code"))
    own = int(code) if re.fullmatch("[45][0-9][0-9]", code) else 500
    return Refusal(
        status=own if status is None else status,
        text=text,
        marks=f"{fields.get('type')} {code}",
        prompt_tokens=_count(fields.get("n_prompt_tokens")) or _first(_PROMPT, text),
        window_tokens=_count(fields.get("n_ctx")) or _first(_WINDOW, text),
        retry_after_s=retry_after_s,
    )


def error_of(refusal: Refusal, target: Target) -> EndpointError:
    """The error this refusal stands for, worded for a person who can do something about it."""
    status, url = refusal.status, target.url
    words = f"{refusal.marks} {refusal.text}"
    said = _said(refusal.text, target)
    if _TOO_LONG.search(words):
        return _too_long(refusal, url)
    if "Context size has been exceeded" in words:
        return WindowShared(
            f"{url}: requests at the same time overflowed the context the server shares.",
            "Start the server with a larger context, or set RLM_CONCURRENCY lower.",
            url=url,
        )
    if status in {401, 403}:
        return EndpointRefused(
            f"{url} refused with {status}{said}",
            "Set RLM_API_KEY (RLM_SUB_API_KEY for a sub-model elsewhere) to a key it accepts.",
            url=url,
        )
    if status in {400, 404} and _MODEL_UNKNOWN.search(words):
        return model_unknown(target)
    if "insufficient_quota" in words:
        return EndpointRefused(
            f"{url} has no quota left{said}", "Top the account up, or use another key.", url=url
        )
    if status in _BUSY:
        return EndpointBusy(
            f"{url} is busy ({status}){said}",
            "Try again when it has loaded its model or worked off its queue.",
            url=url,
            retry_after_s=refusal.retry_after_s,
        )
    if status >= 500:
        return EndpointFailed(
            f"{url} failed with {status}{said}", "The server's own log says more.", url=url
        )
    if status < 400 or status in {404, 405} or refusal.text.startswith("<"):
        return not_the_protocol(url, f"answered {status}{said}")
    return EndpointRefused(
        f"{url} refused the request with {status}{said}",
        "The server does not take what was asked; its message says which part.",
        url=url,
    )


def model_unknown(target: Target, nearest: str | None = None) -> ModelUnknown:
    """The endpoint lacks `target.model`; names what it has."""
    has = ", ".join(target.listed[:10]) + (", ..." if len(target.listed) > 10 else "")
    hint = f"Did you mean {nearest}? " if nearest else ""
    hint += f"It has: {has}." if has else "Ask it for /models, or set RLM_MODEL=auto."
    return ModelUnknown(f"{target.url} has no model {target.model!r}.", hint, url=target.url)


def not_the_protocol(url: str, what: str) -> NotTheProtocol:
    """Something at `url` answered, but not like a chat endpoint."""
    return NotTheProtocol(
        f"{url} does not speak the OpenAI chat protocol: it {what}".rstrip(".") + ".",
        "Set RLM_API_URL to the address that has /chat/completions; it mostly ends in /v1.",
        url=url,
    )


def _too_long(refusal: Refusal, url: str) -> PromptTooLong:
    prompt, window = refusal.prompt_tokens, refusal.window_tokens
    size = f" of {prompt:,} tokens" if prompt else ""
    room = f" of {window:,} tokens" if window else ""
    return PromptTooLong(
        f"The prompt{size} does not fit the model's window{room} at {url}.",
        "Send less text at a time, or start the server with a larger context.",
        url=url,
        prompt_tokens=prompt,
        window_tokens=window,
    )


def _said(text: str, target: Target) -> str:
    """`: ` and the server's words on one line, shortened, without secrets that it repeats."""
    for secret in sorted(target.secrets, key=len, reverse=True):  # one may stand in another
        text = text.replace(secret, "***")
    line = " ".join(text.split())
    if len(line) > _SHOWN_CHARS:
        line = f"{line[:_SHOWN_CHARS]}... ({len(text):,} characters)"
    return f": {line}" if line else "."


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, or until the date of an HTTP header (RFC 9110, 10.2.3); of a past one none."""
    for name in _RETRY_AFTER:
        value = headers.get(name, "")
        if value.replace(".", "", 1).isdecimal():
            return float(value)
        with suppress(ValueError):
            until = parsedate_to_datetime(value)
            if until.tzinfo is None:  # RFC 9110, 5.6.7: all dates are GMT
                until = until.replace(tzinfo=UTC)
            return max(0.0, (until - datetime.now(UTC)).total_seconds())
    return None


def _count(value: Any) -> int | None:
    return count_of(value) or None


def _first(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return count_in(next(filter(None, found.groups()))) if found else None
