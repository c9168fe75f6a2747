"""One address and its key: sends a chat request, reads whatever comes back."""

from base64 import b64encode
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Any, Self

import anyio
import httpx
import orjson

from rlm_mcp.errors import EndpointFailed, EndpointRefused, EndpointUnreachable
from rlm_mcp.llm.refusals import (
    Refusal,
    Target,
    error_of,
    not_the_protocol,
    read_refusal,
    refusal_of,
)
from rlm_mcp.llm.speech import OpenAIChat, Speech
from rlm_mcp.llm.transport import Lanes
from rlm_mcp.llm.wire import Dialect, ReplyBuilder, Switch, WireReply, is_error
from rlm_mcp.types import Message

_REPLY_BYTES = 64 << 20
_LINE_BYTES = 8 << 20
_PROBE_BYTES = 4 << 20
_TAIL_S = 5.0
# No tokenizer averages more than some 10 characters a token over a reply.
_CHARS_PER_TOKEN = 32
_CHARS_SPARE = 4096


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a GET brought: the status, the headers, and the body."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def json(self) -> Any:
        """The body of a 200 as JSON; None for any other status or body."""
        if self.status != 200:
            return None
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class Endpoint:
    """An OpenAI-compatible endpoint. Use as an async context manager; it owns its connections.

    `url` is shown to people and carries no user name or password. `listed` are the models it is
    known to have, which errors name; `dialects` how it has been found to be spoken to for each.
    `speech` is the protocol it is asked in, `windows` the windows wanted of its models, in tokens,
    where the protocol lets one ask for them.
    """

    def __init__(
        self, url: str, key: str | None, idle_s: float, *, shown: str | None = None
    ) -> None:
        """`idle_s` is how long the endpoint may send nothing of a reply until it counts as hung.

        `shown` is what people see as its `url` where the address itself tells them nothing.
        """
        address = httpx.URL(url)
        clean = str(address.copy_with(userinfo=b""))
        self.url = shown or clean
        self.listed: tuple[str, ...] = ()
        self._root = clean.removesuffix("/").removesuffix("/v1")
        self._address = clean.removesuffix("/")
        self.speech: Speech = OpenAIChat()
        self.windows: dict[str, int] = {}
        self._idle_s = idle_s
        self.dialects: dict[str, Dialect] = {}
        headers = {"content-type": "application/json"}
        self._secrets: tuple[str, ...] = (key,) if key else ()
        if address.userinfo:
            name_and_password = f"{address.username}:{address.password}"
            basic = b64encode(name_and_password.encode()).decode()
            headers["authorization"] = f"Basic {basic}"
            as_written = address.userinfo.decode("ascii").partition(":")[2]
            found = (address.password, as_written, name_and_password, basic)
            self._secrets += tuple(filter(None, found))
        elif key:
            headers["authorization"] = f"Bearer {key}"
        self._lanes = Lanes(address, headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._lanes.aclose()

    def target(self, model: str) -> Target:
        """What errors about a request to `model` name."""
        return Target(self.url, model, self.listed, self._secrets)

    async def fetch(self, path: str, timeout_s: float, body: Any = None) -> Fetched:
        """GET a path below the server's root (the address without `/v1`), or POST a JSON body.

        Raises:
            EndpointUnreachable: nothing answered within `timeout_s`.
            EndpointFailed: the page is larger than any such page.
        """
        try:
            with anyio.fail_after(timeout_s):
                url = httpx.URL(self._root + path)
                method, raw = ("GET", None) if body is None else ("POST", orjson.dumps(body))
                async with aclosing(await self._lanes.send(method, url, raw)) as response:
                    page = await self._whole_body(response, _PROBE_BYTES)
                    return Fetched(response.status_code, response.headers, page)
        except TimeoutError:
            raise self._unreachable(f"no answer within {timeout_s:g} s") from None
        except httpx.RequestError as error:
            raise self._unreachable(str(error)) from error

    async def chat(
        self,
        model: str,
        messages: Sequence[Message],
        max_tokens: int | None,
        thinking_off: Switch | None = None,
    ) -> WireReply:
        """One chat request, spoken to the endpoint the way it has understood before.

        `thinking_off` throws a switch the model is known to have. Closing the connection is what
        tells a server to stop generating, so cancellation does.

        Raises:
            EndpointError: no complete reply came; its leaf says why.
        """
        dialect, target = self.dialects.get(model, Dialect()), self.target(model)
        while True:
            body = self.speech.request(
                model, messages, max_tokens, dialect, thinking_off, self.windows.get(model)
            )
            answer = await self._exchange(body, max_tokens)
            if isinstance(answer, WireReply):
                self.dialects[model] = dialect
                return answer
            error = error_of(answer, target)
            is_about_it = type(error) in {EndpointRefused, EndpointFailed}
            simpler = dialect.after(answer) if is_about_it else None
            if simpler is None:
                raise error
            dialect = simpler

    async def _exchange(self, body: bytes, max_tokens: int | None) -> WireReply | Refusal:
        builder = ReplyBuilder()
        response: httpx.Response | None = None
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + self._idle_s) as idle:
                response = await self._lanes.send(
                    "POST", httpx.URL(self.speech.url(self._address)), body
                )
                async with aclosing(response):
                    return await self._read(response, builder, idle, max_tokens)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise self._unreachable(str(error)) from error
        except httpx.RequestError as error:
            if response is None:
                raise self._dropped() from error
            if not builder.is_complete:
                raise self._broke_off(builder) from error
        if builder.is_complete:
            return builder.finish()
        raise EndpointFailed(
            f"{self.url} sent nothing for {self._idle_s:g} s.",
            "See whether the model server hangs, or set RLM_TIMEOUT_S higher.",
            url=self.url,
        )

    async def _read(
        self,
        response: httpx.Response,
        builder: ReplyBuilder,
        idle: anyio.CancelScope,
        max_tokens: int | None,
    ) -> WireReply | Refusal:
        if not response.is_success:
            body = await self._whole_body(response, _PROBE_BYTES)
            return read_refusal(response.status_code, response.headers, body)
        if self.speech.stream_type not in response.headers.get("content-type", ""):
            return self._whole_reply(await self._whole_body(response, _REPLY_BYTES), builder)
        lines, received = self.speech.lines(), 0
        most = inf if max_tokens is None else _CHARS_PER_TOKEN * max_tokens + _CHARS_SPARE
        async for chunk in response.aiter_bytes():
            said = False
            for payload in lines.feed(chunk):
                said = True
                if refusal := self._take(payload, builder):
                    return refusal
            if said:  # comments do not count: they keep a line open for hours without a reply
                patience_s = _TAIL_S if builder.is_complete else self._idle_s
                idle.deadline = anyio.current_time() + patience_s
            received += len(chunk)
            if builder.chars > most:
                return builder.finish("length")
            for size, limit in ((received, _REPLY_BYTES), (lines.pending, _LINE_BYTES)):
                if size > limit:
                    raise self._too_much(limit)
        for payload in lines.end():
            if refusal := self._take(payload, builder):
                return refusal
        if not builder.is_complete:
            raise self._broke_off(builder)
        return builder.finish()

    def _take(self, payload: bytes, builder: ReplyBuilder) -> Refusal | None:
        """Add one event to the reply, or give the refusal it holds."""
        if payload == b"[DONE]":
            builder.is_complete = True
            return None
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise self._broke_off(builder) from error
        if is_error(chunk):
            return refusal_of(chunk)
        builder.add(self.speech.chunk(chunk))
        return None

    def _whole_reply(self, body: bytes, builder: ReplyBuilder) -> WireReply | Refusal:
        start = body.lstrip()[:5]
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if start[:1] == b"{":
                raise self._broke_off(builder) from error
            kind = "an HTML page" if start[:1] == b"<" else "something else"
            raise not_the_protocol(self.url, f"sent {kind}") from error
        if is_error(value):
            return refusal_of(value)
        if not builder.add(self.speech.chunk(value)):
            raise not_the_protocol(self.url, "sent JSON that is no chat reply")
        return builder.finish()

    async def _whole_body(self, response: httpx.Response, limit: int) -> bytes:
        parts, size = [], 0
        async for chunk in response.aiter_bytes():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise self._too_much(limit)
        return b"".join(parts)

    def _unreachable(self, cause: str) -> EndpointUnreachable:
        return EndpointUnreachable(
            f"Nothing answers at {self.url}" + (f": {cause.rstrip('.')}." if cause else "."),
            "Start the model server, or set RLM_API_URL to where it listens.",
            url=self.url,
        )

    def _dropped(self) -> EndpointUnreachable:
        # Mostly a kept connection the server had just closed: a new one works at once.
        return EndpointUnreachable(
            f"{self.url} closed the connection without a reply.",
            "See the model server's own log.",
            url=self.url,
            retry_after_s=0.0,
        )

    def _broke_off(self, builder: ReplyBuilder) -> EndpointFailed:
        if builder.chars:
            what = f"broke off a reply after {builder.chars:,} characters."
            return EndpointFailed(f"{self.url} {what}", "See the server's own log.", url=self.url)
        return EndpointFailed(
            f"{self.url} sent an empty reply.",
            "Some servers do so when the prompt is longer than their context: try less text.",
            url=self.url,
        )

    def _too_much(self, limit: int) -> EndpointFailed:
        return EndpointFailed(
            f"{self.url} sent more than {limit >> 20} MB in one reply.",
            "See whether this address is a model server.",
            url=self.url,
        )
