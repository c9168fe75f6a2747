"""Scripted models behind real HTTP: a small OpenAI-compatible server on loopback."""

from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import anyio
import orjson
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteStream

from rlm_mcp.llm import scripted_ollama, vendors
from rlm_mcp.llm.quirks import Quirks, Thinking
from rlm_mcp.llm.script import Ledger, Player, Script, ScriptedReply, count_prompt, cut, pieces
from rlm_mcp.types import Message

_HEAD_BYTES = 64 << 10
_TRICKLE_S = 0.05
_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


@asynccontextmanager
async def serve(
    script: Script | Mapping[str, Script],
    *,
    port: int = 0,
    latency_s: float = 0.0,
    slots: int = 4,
    window_tokens: int | None = None,
    quirks: Quirks = Quirks(),  # noqa: B008 - frozen
) -> AsyncIterator["ScriptedServer"]:
    """Serve one script as the model `scripted`, or several by model name, on 127.0.0.1.

    Each reply comes `latency_s` after its request. `slots` is what the metadata reports; requests
    beyond are answered too, and `peak` tells. `window_tokens` is the true window, `quirks` how the
    server is like a real one. What a script raises ends the server.
    """
    scripts = script if isinstance(script, Mapping) else {"scripted": script}
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    server = ScriptedServer(
        port=listener.extra_attributes[SocketAttribute.local_port](),
        players={name: Player(each, None) for name, each in scripts.items()},
        latency_s=latency_s,
        window_tokens=window_tokens,
        quirks=quirks,
        pages=quirks.pages(tuple(scripts), window_tokens, slots),
    )
    async with listener, anyio.create_task_group() as connections:
        connections.start_soon(listener.serve, server.converse)
        yield server
        connections.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    body: bytes


class ScriptedServer:
    """A running server and what it saw.

    `ledger` is its own bill, `requests` the last 1,000 prompts, `peak` the most chat requests it
    had at once, `disconnects` how many clients left before their reply; `disconnected` is set by
    the first of them.
    """

    def __init__(
        self,
        *,
        port: int,
        players: Mapping[str, Player],
        latency_s: float,
        window_tokens: int | None,
        quirks: Quirks,
        pages: Mapping[str, bytes],
    ) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.ledger = Ledger()
        self.requests: deque[tuple[Message, ...]] = deque(maxlen=1000)
        self.in_flight = 0
        self.peak = 0
        self.disconnects = 0
        self.disconnected = anyio.Event()
        self._players = players
        self._latency_s = latency_s
        self._window_tokens = window_tokens
        self._quirks = quirks
        self._pages = pages
        self._loads = quirks.loading_requests
        self._last: tuple[Message, ...] = ()
        self._held_tokens = 0
        self._spilt = anyio.Event()

    async def converse(self, stream: SocketStream) -> None:
        """Answer the requests of one connection until either side ends it."""
        async with stream:
            buffered = BufferedByteStream(stream)
            try:
                while await self._answer(await _receive(buffered), buffered):
                    pass
            except (*_GONE, anyio.IncompleteRead, anyio.DelimiterNotFound):
                return

    async def _answer(self, request: _Request, stream: BufferedByteStream) -> bool:
        """Send the reply to one request; False if the connection must not be used again."""
        route = (request.method, request.path.partition("?")[0])
        if route == ("POST", "/v1/chat/completions"):
            asked = orjson.loads(request.body)
            return await self._chat(asked, self._window_tokens, stream)
        if route == ("POST", scripted_ollama.CHAT) and scripted_ollama.SHOW in self._pages:
            sent = orjson.loads(request.body)
            window = scripted_ollama.window_of(sent, self._window_tokens)
            return await self._chat(scripted_ollama.as_completion(sent), window, stream)
        is_page = route[0] == "GET" or route[1] == scripted_ollama.SHOW
        page = self._pages.get(route[1]) if is_page else None
        missing = _whole(404, vendors.detail("Not Found"))
        await stream.send(missing if page is None else _whole(200, page))
        return True

    async def _chat(
        self, asked: dict[str, Any], window: int | None, stream: BufferedByteStream
    ) -> bool:
        name = asked["model"]
        if name not in self._players:
            words = f"The model `{name}` does not exist."
            await stream.send(_whole(404, vendors.error(self._quirks.vendor, words, 404)))
            return True
        messages = tuple(Message(each["role"], each["content"]) for each in asked["messages"])
        self.requests.append(messages)
        if refusal := self._refusal(messages, asked, window):
            self.ledger.fail(name)
            await stream.send(_whole(refusal.status, refusal.error_body))
            return True
        seen = self._quirks.seen(messages, window)
        async with self._in_flight(count_prompt(seen)) as spilt:
            reply = self._quirks.dressed(await self._players[name].reply(seen, None), seen, asked)
            reply = cut(reply, asked.get("max_tokens") or asked.get("max_completion_tokens"))
            if not await self._wait(reply, stream):
                self.ledger.fail(name)
                return False
            reply = vendors.spilt() if spilt.is_set() else reply
            self.ledger.add(name, seen, reply)
        wire = _reply_bytes(reply, asked, self._quirks.thinking, self._usage(reply, seen))
        if reply.fault == "drop_mid":
            wire = wire[: len(wire) // 2]
        await stream.send(wire)
        return reply.fault is None

    def _refusal(
        self, messages: tuple[Message, ...], asked: dict[str, Any], window: int | None
    ) -> ScriptedReply | None:
        if self._loads:
            self._loads -= 1
            return ScriptedReply("Loading model", status=503)
        return self._quirks.refusal(messages, asked, window)

    @asynccontextmanager
    async def _in_flight(self, tokens: int) -> AsyncIterator[anyio.Event]:
        """Count a request as under way; the event is set if it and others overflow the window."""
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        self._held_tokens += tokens
        spilt = self._spilt
        window = self._window_tokens
        if self._quirks.shares_context and window is not None and self._held_tokens > window:
            spilt.set()
            self._spilt = anyio.Event()
        try:
            yield spilt
        finally:
            self.in_flight -= 1
            self._held_tokens -= tokens

    def _usage(self, reply: ScriptedReply, seen: tuple[Message, ...]) -> dict[str, Any]:
        """The usage it reports, empty if none."""
        if not reply.reports_usage:
            return {}
        is_true = self._quirks.usage == "true"
        given, made = (reply.input_tokens(seen), reply.output_tokens) if is_true else (0, 0)
        usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
        if not self._quirks.reports_cached:
            return {"usage": usage}
        pairs = zip(self._last, seen, strict=False)
        same = [new for _, new in takewhile(lambda pair: pair[0] == pair[1], pairs)]
        self._last = seen
        return {"usage": usage | {"prompt_tokens_details": {"cached_tokens": count_prompt(same)}}}

    async def _wait(self, reply: ScriptedReply, stream: BufferedByteStream) -> bool:
        """Let the latency pass; False if the client left meanwhile or is to be dropped."""
        if reply.fault == "drop":
            return False
        keeps = reply.fault in {"hang", "trickle"}
        if not keeps and not self._latency_s:
            return True
        with anyio.move_on_after(None if keeps else self._latency_s):
            with suppress(*_GONE):
                if reply.fault == "trickle":
                    await _trickle(stream)
                await stream.receive(1)
            self.disconnects += 1
            self.disconnected.set()
            return False
        return True


async def _trickle(stream: BufferedByteStream) -> None:
    """Keep an event stream open by comments until the client goes, which raises."""
    await stream.send(b"HTTP/1.1 200 Scripted\r\ncontent-type: text/event-stream\r\n\r\n")
    while True:
        await stream.send(b": waiting\n\n")
        await anyio.sleep(_TRICKLE_S)


async def _receive(stream: BufferedByteStream) -> _Request:
    head = await stream.receive_until(b"\r\n\r\n", _HEAD_BYTES)
    start, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = start.split(" ", 2)
    fields = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await stream.receive_exactly(int(fields.get("content-length", 0)))
    return _Request(method, path, body)


def _reply_bytes(
    reply: ScriptedReply, asked: dict[str, Any], thinking: Thinking, usage: dict[str, Any]
) -> bytes:
    if reply.status != 200 or reply.raw is not None:
        return _whole(reply.status, reply.error_body, reply.headers)
    if scripted_ollama.NATIVE in asked:
        body = scripted_ollama.reply_body(asked, reply, usage)
        kind = "application/x-ndjson" if asked["stream"] else "application/json"
        return _whole(200, body, {"content-type": kind, **reply.headers})
    field = "reasoning" if thinking == "reasoning" else "reasoning_content"
    head = {"id": "scripted", "created": 0, "model": asked["model"]}
    if asked.get("stream"):
        head["object"] = "chat.completion.chunk"
        wanted = (asked.get("stream_options") or {}).get("include_usage")
        last = [{"choices": [], **usage}] if wanted and usage else []
        events = [orjson.dumps(head | chunk) for chunk in [*_choices(reply, field), *last]]
        body = b"".join(b"data: %b\n\n" % event for event in [*events, b"[DONE]"])
        return _whole(200, body, {"content-type": "text/event-stream", **reply.headers})
    head["object"] = "chat.completion"
    message = {"role": "assistant", "content": reply.text, field: reply.reasoning}
    choice = {"index": 0, "finish_reason": reply.finish_reason, "message": message}
    return _whole(200, orjson.dumps(head | {"choices": [choice], **usage}), reply.headers)


def _choices(reply: ScriptedReply, field: str) -> Iterator[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    deltas += [{field: piece} for piece in pieces(reply.reasoning)]
    deltas += [{"content": piece} for piece in pieces(reply.text)]
    for delta in deltas:
        yield {"choices": [{"index": 0, "finish_reason": None, "delta": delta}]}
    yield {"choices": [{"index": 0, "finish_reason": reply.finish_reason, "delta": {}}]}


def _whole(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    fields = {"content-type": "application/json", "content-length": str(len(body))}
    fields |= {name.lower(): value for name, value in (headers or {}).items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode("latin-1") + body
