"""A raw HTTP server on loopback: answers with recorded bytes, and misbehaves as told."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import orjson
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteStream

RECORDED = Path(__file__).parents[1] / "fixtures" / "endpoints"
CHAT = "/v1/chat/completions"

Answer = bytes | Callable[[BufferedByteStream], Awaitable[None]]
NOT_FOUND = b'HTTP/1.1 404 Not Found\r\ncontent-length: 22\r\n\r\n{"detail":"Not Found"}'
WITHOUT_SLOTS = {"ollama", "ollama_native", "lmstudio", "litellm", "openrouter", "openai"}
GONE = (anyio.EndOfStream, anyio.BrokenResourceError)


def told_slots(vendor: str, slots: int) -> int | None:
    """The slots a scripted server's pages tell, None if they tell none."""
    return None if vendor in WITHOUT_SLOTS else slots


def recorded(name: str) -> bytes:
    """The recorded response `family/exchange`, framed by the end of the connection."""
    response = re.sub(rb"\A#[^\n]*\n", b"", (RECORDED / f"{name}.http").read_bytes())
    head, _, body = response.partition(b"\r\n\r\n")
    if re.match(rb"[0-9a-f]+\r\n", body):
        return response  # recorded with its chunk sizes
    kept = [
        line
        for line in head.split(b"\r\n")
        if not line.lower().startswith((b"content-length:", b"transfer-encoding:", b"keep-alive:"))
    ]
    return b"\r\n".join(kept) + b"\r\n\r\n" + body


def reply(status: int, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def events(*chunks: object, done: bool = True) -> bytes:
    payloads = [chunk if isinstance(chunk, bytes) else orjson.dumps(chunk) for chunk in chunks]
    body = b"".join(b"data: %b\n\n" % payload for payload in payloads)
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + (
        body + (b"data: [DONE]\n\n" if done else b"")
    )


def delta(text: str | None = None, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


@dataclass(slots=True)
class Seen:
    method: str
    path: str
    head: str
    body: bytes

    @property
    def json(self):
        return orjson.loads(self.body)


@dataclass(slots=True)
class RawServer:
    """What was asked of it; `left` is set when a client goes while an answer is under way."""

    port: int
    pages: Mapping[str, Answer | Sequence[Answer]]
    seen: list[Seen] = field(default_factory=list)
    left: anyio.Event = field(default_factory=anyio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def chats(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.path == CHAT]

    async def converse(self, stream: SocketStream) -> None:
        async with stream:
            wire = BufferedByteStream(stream)
            try:
                head = (await wire.receive_until(b"\r\n\r\n", 1 << 16)).decode()
                length = [x for x in head.lower().split("\r\n") if x.startswith("content-length:")]
                body = await wire.receive_exactly(int(length[0][15:]) if length else 0)
            except (*GONE, anyio.IncompleteRead):
                return
            method, path, _ = head.split(" ", 2)
            self.seen.append(Seen(method, path, head, body))
            answer = self._answer(path)
            try:
                if isinstance(answer, bytes):
                    await wire.send(answer)
                else:
                    await answer(wire)
            except GONE:
                self.left.set()

    def _answer(self, path: str) -> Answer:
        page = self.pages.get(path, NOT_FOUND)
        if isinstance(page, bytes) or callable(page):
            return page
        asked = sum(seen.path == path for seen in self.seen)
        return page[min(asked, len(page)) - 1]


@asynccontextmanager
async def raw_server(pages: Mapping[str, Answer | Sequence[Answer]]) -> AsyncIterator[RawServer]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = RawServer(listener.extra_attributes[SocketAttribute.local_port](), pages)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, server.converse)
        yield server
        group.cancel_scope.cancel()


async def silence(wire: BufferedByteStream) -> None:
    """Say nothing until the client goes, which raises."""
    await wire.receive(1)


async def drop(wire: BufferedByteStream) -> None:
    """Close the connection without a byte."""


def then(start: bytes, rest: Answer) -> Answer:
    """Send `start`, then do `rest`."""

    async def answer(wire: BufferedByteStream) -> None:
        await wire.send(start)
        if isinstance(rest, bytes):
            await wire.send(rest)
        else:
            await rest(wire)

    return answer
