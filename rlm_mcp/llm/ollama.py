"""Ollama's own chat API: the one way to have a window of a wanted size from it.

Its OpenAI API drops `num_ctx`, so that a model has 4,096 tokens unless the server was started with
more, and cuts what is longer without a word. `/api/chat` takes the window, and refuses what is
longer if told not to cut. See https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rlm_mcp.errors import EndpointError
from rlm_mcp.llm.counts import count_in, count_of
from rlm_mcp.llm.endpoint import Endpoint
from rlm_mcp.llm.wire import Dialect, Switch, chat_body, json_bytes
from rlm_mcp.types import Message

# A run reads and keeps a history: less than this serves nobody, and more may not fit a small card.
LEAST_WINDOW = 16_384
_SHOW, _SHOW_S = "/api/show", 3.0
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)


class OllamaChat:
    """`POST /api/chat`: JSON values a line, token counts in the last."""

    stream_type = "ndjson"

    def url(self, address: str) -> str:
        """See `Speech.url`."""
        return f"{address.removesuffix('/v1')}/api/chat"

    def request(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int | None,
        dialect: Dialect,
        thinking_off: Switch | None,
        window_tokens: int | None,
    ) -> bytes:
        """See `Speech.request`; any switch of a field turns thinking off by `think`."""
        body = chat_body(model, messages, dialect, thinking_off)
        options = {"num_ctx": window_tokens, "num_predict": max_tokens}
        body |= {
            "stream": dialect.streams,
            "truncate": False,
            "shift": False,
            "options": {name: value for name, value in options.items() if value is not None},
        }
        if thinking_off not in {None, "no_think"}:
            body["think"] = False
        return json_bytes(body)

    def lines(self) -> "JsonLines":
        """See `Speech.lines`."""
        return JsonLines()

    def chunk(self, value: Any) -> Any:
        """See `Speech.chunk`."""
        message = value.get("message") if isinstance(value, dict) else None
        if not isinstance(message, dict):
            return value
        reason = (value.get("done_reason") or "stop") if value.get("done") else None
        delta = {
            "content": message.get("content"),
            "reasoning": message.get("thinking"),
            "tool_calls": message.get("tool_calls"),
        }
        chunk: dict[str, Any] = {"choices": [{"delta": delta, "finish_reason": reason}]}
        if reason and "prompt_eval_count" in value:
            # Counts of nothing are left out.
            given, made = value["prompt_eval_count"], value.get("eval_count", 0)
            chunk["usage"] = {"prompt_tokens": given, "completion_tokens": made}
        return chunk


class JsonLines:
    """Cuts a byte stream into its lines, each a JSON value."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes of the line that has no end yet."""
        return len(self._rest)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        yield from filter(None, map(bytes.strip, lines))

    def end(self) -> Iterator[bytes]:
        """A last line without an end."""
        return self.feed(b"\n")


async def wanted_window(endpoint: Endpoint, model: str, loaded_tokens: int | None) -> int | None:
    """The window to ask for: what the model has now or its Modelfile says, 16,384 at the least.

    Never more than the model was made for. `loaded_tokens` is the window it is in memory with, and
    the answer where nothing is told of the model, as by servers that only look like Ollama.
    """
    try:
        told = (await endpoint.fetch(_SHOW, _SHOW_S, {"model": model})).json
    except EndpointError:
        return loaded_tokens
    if not isinstance(told, dict):
        return loaded_tokens
    facts = told.get("model_info")
    longest = [
        tokens
        for key, value in (facts.items() if isinstance(facts, dict) else ())
        if key.endswith(".context_length") and (tokens := count_of(value))
    ]
    if not longest:
        return loaded_tokens
    written = _NUM_CTX.search(str(told.get("parameters") or ""))
    asked = count_in(written[1]) if written else None
    window = max(loaded_tokens or 0, asked or 0, LEAST_WINDOW)
    return min([window, *longest])
