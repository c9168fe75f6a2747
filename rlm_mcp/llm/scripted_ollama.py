"""A scripted server's side of Ollama's own chat API: requests read, replies and pages written.

As the server of https://github.com/ollama/ollama does it (server/routes.go, api/types.go).
"""

from collections.abc import Iterator
from typing import Any

import orjson

from rlm_mcp.llm.script import ScriptedReply, pieces

CHAT, SHOW = "/api/chat", "/api/show"
LONGEST_WINDOW = 131_072
NATIVE = "native"  # marks a request that came by this API
_CREATED = "2026-11-22T23:25:33.419799Z"


def as_completion(asked: dict[str, Any]) -> dict[str, Any]:
    """A request as the request for a chat completion that asks the same."""
    options = asked.get("options") or {}
    told = {NATIVE: True, "model": asked["model"], "messages": asked["messages"]}
    told["stream"] = asked.get("stream", True)
    if "num_predict" in options:
        told["max_tokens"] = options["num_predict"]
    if "truncate" in asked:
        told["truncate"] = asked["truncate"]
    if asked.get("think") is False:
        told |= {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False}}
    return told


def window_of(asked: dict[str, Any], loaded_tokens: int | None) -> int | None:
    """The window a request is run with: as wanted, up to what the model was made for."""
    wanted = (asked.get("options") or {}).get("num_ctx")
    return min(wanted, LONGEST_WINDOW) if wanted else loaded_tokens


def reply_body(asked: dict[str, Any], reply: ScriptedReply, usage: dict[str, Any]) -> bytes:
    """A reply as JSON values a line, or as one value where no stream is wanted."""
    head = {"model": asked["model"], "created_at": _CREATED}
    counted = usage.get("usage", {})
    names = {"prompt_tokens": "prompt_eval_count", "completion_tokens": "eval_count"}
    end = {"done": True, "done_reason": reply.finish_reason} | {
        # Counts of nothing are left out.
        new: counted[old]
        for old, new in names.items()
        if counted.get(old)
    }
    if not asked["stream"]:
        said = {"role": "assistant", "content": reply.text, "thinking": reply.reasoning}
        return orjson.dumps(head | {"message": said} | end)
    parts = [head | {"message": each, "done": False} for each in _messages(reply)]
    last = head | {"message": {"role": "assistant", "content": ""}} | end
    return b"".join(orjson.dumps(each) + b"\n" for each in [*parts, last])


def _messages(reply: ScriptedReply) -> Iterator[dict[str, str]]:
    for piece in pieces(reply.reasoning):
        yield {"role": "assistant", "content": "", "thinking": piece}
    for piece in pieces(reply.text):
        yield {"role": "assistant", "content": piece}
