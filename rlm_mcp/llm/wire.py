"""Chat completions on the wire: the request's bytes, and replies read whole or event by event.

The API: https://platform.openai.com/docs/api-reference/chat; events: the WHATWG's "server-sent
events". Servers deviate from both, so every field is taken as what it is and not as promised.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from rlm_mcp.llm.counts import count_of
from rlm_mcp.llm.refusals import Refusal
from rlm_mcp.types import Message

_ABOUT_FIELDS = re.compile(
    r"stream|(?:unexpected|unknown|extra) (?:field|input|param)|unrecogni[sz]ed|not permitted",
    re.IGNORECASE,
)
_ABOUT_TURNS = re.compile(r"\balternat", re.IGNORECASE)
_ABOUT_SYSTEM = re.compile(
    r"system (?:role|message)|only user.{0,40}roles are supported", re.IGNORECASE
)
Switch = Literal["enable_thinking", "reasoning_effort", "no_think"]
_SWITCH_FIELDS: dict[Switch, dict[str, Any]] = {
    "enable_thinking": {"chat_template_kwargs": {"enable_thinking": False}},
    "reasoning_effort": {"reasoning_effort": "none"},
    "no_think": {},  # Qwen 3 reads it in the prompt
}
_OPEN, _CLOSE = "<think>", "</think>"
# Templates that open the thinking themselves leave only its end in the reply, on a line of its own.
_LONE_CLOSE = re.compile(rf"(?:\A|\n)[ \t]*{_CLOSE}[ \t]*(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an endpoint is spoken to for one model: optional parts of the protocol, and roles.

    `folds`: the system message opens the first user message. `merges`: messages of one role in a
    row are one. Templates of Mistral, Devstral and Gemma ask for the one, the other or both.
    """

    streams: bool = True
    limit_field: str = "max_tokens"
    merges: bool = False
    folds: bool = False

    def after(self, refusal: Refusal) -> "Dialect | None":
        """What to try next when a request was refused for how it was put, None if it was not."""
        if refusal.status not in {400, 422, 500}:
            return None
        # llama.cpp answers 500 where a template raises, and quotes the template before its words.
        words = refusal.text.rpartition("Exception:")[2]
        if _ABOUT_TURNS.search(words):
            # Some count the system message as a turn.
            return self._folding() if self.merges else replace(self, merges=True)
        if _ABOUT_SYSTEM.search(words):
            return self._folding()
        if refusal.status == 500:
            return None
        if "max_completion_tokens" in refusal.text and self.limit_field == "max_tokens":
            return replace(self, limit_field="max_completion_tokens")
        if self.streams and _ABOUT_FIELDS.search(refusal.text):
            return replace(self, streams=False)
        return None

    def put(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as this endpoint takes them; none of their words are lost."""
        put: list[Message] = []
        for message in messages:
            is_folded = self.folds and message.role == "system"
            role = "user" if is_folded else message.role
            last = put[-1] if put else None
            if last is not None and last.role == role and (self.merges or self.folds):
                put[-1] = Message(role, f"{last.content}\n\n{message.content}")
            else:
                put.append(Message(role, message.content))
        return put

    def _folding(self) -> "Dialect | None":
        return None if self.folds else replace(self, folds=True)


def chat_request(
    model: str,
    messages: Sequence[Message],
    max_tokens: int | None,
    dialect: Dialect,
    thinking_off: Switch | None = None,
) -> bytes:
    """The body of a request; only standard fields, because some servers refuse any other.

    `thinking_off` is the exception: what is known to turn this model's thinking off.
    """
    body = chat_body(model, messages, dialect, thinking_off)
    if max_tokens is not None:
        body[dialect.limit_field] = max_tokens
    if dialect.streams:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if thinking_off is not None:
        body |= _SWITCH_FIELDS[thinking_off]
    return json_bytes(body)


def chat_body(
    model: str, messages: Sequence[Message], dialect: Dialect, thinking_off: Switch | None
) -> dict[str, Any]:
    """What every chat protocol has in a request: the model and the messages."""
    put = dialect.put(messages)
    if thinking_off == "no_think":
        put[-1] = replace(put[-1], content=f"{put[-1].content} /no_think")
    return {"model": model, "messages": [{"role": m.role, "content": m.content} for m in put]}


def json_bytes(body: dict[str, Any]) -> bytes:
    """A request's body as JSON."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # Lone surrogates (bytes that were no text) have no UTF-8 form; no server could read them.
        for message in body["messages"]:
            message["content"] = message["content"].encode("utf-8", "replace").decode()
        return orjson.dumps(body)


@dataclass(frozen=True, slots=True)
class Counted:
    """Token counts an endpoint reported. `cached` is None if it says nothing of its cache.

    `cached` of the `input` were read from it, never more than there are.
    """

    input: int
    output: int
    cached: int | None


@dataclass(frozen=True, slots=True)
class WireReply:
    """A complete reply: `text` without thinking, `counted` None if no usable usage was reported.

    `has_usage`: it held a usage, be it of nonsense. `is_tagged`: the thinking stood in the text.
    """

    text: str
    reasoning: str
    finish_reason: str | None
    counted: Counted | None
    has_usage: bool = False
    is_tagged: bool = False


class EventLines:
    """Cuts a byte stream into the payloads of its `data:` lines.

    Takes either line end, drops comments and other fields. One line is one payload: no model
    server spreads an event over several, and some forget the blank line between two.
    """

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes of the line that has no end yet."""
        return len(self._rest)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The payloads that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()

    def end(self) -> Iterator[bytes]:
        """The payload of a last line without an end."""
        return self.feed(b"\n")


class ReplyBuilder:
    """Puts a reply together from streamed chunks, or from one whole reply.

    `chars` counts text and thinking so far; `is_complete` turns true with a finish reason.
    """

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, _ToolCall] = {}
        self._finish_reason: str | None = None
        self._counted: Counted | None = None
        self._has_usage = False
        self.chars = 0
        self.is_complete = False

    def add(self, chunk: Any) -> bool:
        """Take one JSON value; False if it is no part of a chat reply."""
        if not isinstance(chunk, dict):
            return False
        self._counted = _counted(chunk) or self._counted
        self._has_usage = self._has_usage or isinstance(chunk.get("usage"), dict)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            return False
        for choice in choices[:1]:
            self._take(choice)
        return True

    def finish(self, reason: str | None = None) -> WireReply:
        """The reply; `reason` stands in for a finish reason that never came."""
        content, reasoning = "".join(self._content), "".join(self._reasoning)
        # No tools are offered; a server that reads calls out of the text takes them from it.
        content = "\n".join([content, *map(str, self._calls.values())]) if self._calls else content
        finish_reason = self._finish_reason or reason
        text, thinking = split_thinking(content, cut=finish_reason == "length")
        reasoning += thinking
        if not text.strip() and finish_reason != "length" and reasoning:
            # Some servers file the whole reply under thinking when the model never closed it.
            text, reasoning = reasoning, ""
        return WireReply(
            text, reasoning, finish_reason, self._counted, self._has_usage, bool(thinking)
        )

    def _take(self, choice: Any) -> None:
        if not isinstance(choice, dict):
            return
        part = choice.get("delta") or choice.get("message")
        if isinstance(part, dict):
            content = _text(part.get("content"))
            reasoning = _text(part.get("reasoning_content")) or _text(part.get("reasoning"))
            self._content.append(content)
            self._reasoning.append(reasoning)
            self.chars += len(content) + len(reasoning) + self._take_calls(part)
        if reason := choice.get("finish_reason"):
            self._finish_reason = str(reason)
            self.is_complete = True

    def _take_calls(self, part: dict[str, Any]) -> int:
        """Take parts of tool calls; returns how many characters they have."""
        calls, chars = part.get("tool_calls"), 0
        for number, call in enumerate(calls if isinstance(calls, list) else []):
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict):
                continue
            index = call.get("index")
            known = self._calls.setdefault(
                index if isinstance(index, int) else number, _ToolCall([], [])
            )
            name, arguments = _text(function.get("name")), function.get("arguments")
            known.name.append(name)
            known.arguments.append(
                arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
            )
            chars += len(name) + len(known.arguments[-1])
        return chars


@dataclass(frozen=True, slots=True)
class _ToolCall:
    """A tool call in the making; as text it is what a model writes who calls a tool in words."""

    name: list[str]
    arguments: list[str]

    def __str__(self) -> str:
        call = {"name": "".join(self.name), "arguments": "".join(self.arguments)}
        return f"<tool_call>{orjson.dumps(call).decode()}</tool_call>"


def is_error(chunk: Any) -> bool:
    """Whether a JSON value sent with status 200 is an error all the same."""
    return isinstance(chunk, dict) and bool(chunk.get("error") or chunk.get("object") == "error")


def split_thinking(content: str, *, cut: bool) -> tuple[str, str]:
    """The reply and the thinking in front of it; `cut` says the reply ended before its time."""
    start = content.lstrip()
    if start.startswith(_OPEN):
        thinking, close, text = start.removeprefix(_OPEN).partition(_CLOSE)
        if close:
            return text.lstrip(), thinking
        return ("", thinking) if cut else (thinking, "")
    if (lone := _LONE_CLOSE.search(content)) and _OPEN not in content[: lone.start()]:
        return content[lone.end() :].lstrip(), content[: lone.start()]
    return content, ""


def _text(value: Any) -> str:
    """Content as text; some servers send a list of parts."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _counted(chunk: dict[str, Any]) -> Counted | None:
    usage, timings = chunk.get("usage"), chunk.get("timings")
    if isinstance(usage, dict):
        given, made = count_of(usage.get("prompt_tokens")), usage.get("completion_tokens")
        details = usage.get("prompt_tokens_details")
        cached = count_of(details.get("cached_tokens")) if isinstance(details, dict) else None
    elif isinstance(timings, dict):
        cached, fresh = count_of(timings.get("cache_n")), count_of(timings.get("prompt_n"))
        given = None if fresh is None else count_of((cached or 0) + fresh)
        made = timings.get("predicted_n")
    else:
        return None
    made = count_of(made)
    # Servers that count nothing say 0 and 0; no prompt has no tokens.
    if not given or made is None:
        return None
    return Counted(given, made, cached if cached is not None and cached <= given else None)
