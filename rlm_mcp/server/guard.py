"""What stands before the SDK's HTTP: requests that are ambiguous, slow or too many are refused."""

import math
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

import anyio
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlm_mcp.server.auth import principal_of
from rlm_mcp.server.sessions import http_key, of_principal

SESSION_ID = "mcp-session-id"
VERSION = "mcp-protocol-version"
# Two parts of a server may each read another one of two.
ONCE = {b"authorization", b"content-length", b"content-type", b"host", b"origin"} | {
    SESSION_ID.encode(),
    VERSION.encode(),
}
LENGTHS = {b"content-length", b"transfer-encoding"}
MOST_HEAD_BYTES = 32 << 10
BODY_S = 60.0
MOST_AT_ONCE = 64
MOST_CLIENTS = 200


class Unambiguous:
    """ASGI middleware that refuses a request which says twice what it may say once, or too much.

    Who tells two lengths means one of them for a proxy and the other for us (RFC 9112, 6.3).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400 or 431."""
        if scope["type"] == "http":
            names = Counter(name.lower() for name, _ in scope["headers"])
            twice = [name for name in ONCE if names[name] > 1]
            if twice or names.keys() >= LENGTHS:
                what = twice[0].decode() if twice else "length"
                await PlainTextResponse(f"Only one {what} may be sent.", 400)(scope, receive, send)
                return
            if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEAD_BYTES:
                await PlainTextResponse("The headers are too long.", 431)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class InTime:
    """ASGI middleware that ends a request whose body is not there within `BODY_S` seconds."""

    def __init__(self, app: ASGIApp, body_s: float = BODY_S) -> None:
        self._app = app
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer 408 if it comes too slowly."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        until, is_whole, is_answered = anyio.current_time() + self._body_s, False, False

        async def received() -> Message:
            nonlocal is_whole
            slow.deadline = math.inf if is_whole else until
            try:
                message = await receive()
            finally:
                slow.deadline = math.inf
            is_whole = message["type"] != "http.request" or not message.get("more_body")
            return message

        async def sent(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        with anyio.CancelScope() as slow:
            await self._app(scope, received, sent)
        if slow.cancelled_caught and not is_answered:
            await PlainTextResponse("The request came too slowly.", 408)(scope, receive, send)


class EndOnDelete:
    """ASGI middleware that ends the session of a client that sends DELETE, as MCP has it.

    The SDK has no hook for that; it only forgets its own part of the session.
    """

    def __init__(self, app: ASGIApp, end: Callable[[str], Awaitable[None]]) -> None:
        self._app = app
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; after a DELETE that was taken, end the session."""
        if scope["type"] != "http" or scope["method"] != "DELETE":
            await self._app(scope, receive, send)
            return
        statuses: list[int] = []

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        await self._app(scope, receive, watched)
        session_id = Headers(scope=scope).get(SESSION_ID)
        if statuses == [200] and session_id:
            key, principal = http_key(session_id), principal_of(scope.get("user"))
            await self._end(of_principal(key, principal) if principal else key)


class FairShare:
    """ASGI middleware behind the SDK's check of tokens: no user takes all connections and clients.

    One may have `MOST_AT_ONCE` requests open, streams included, and beside those `MOST_CLIENTS`
    clients of the older revisions, which the SDK keeps for `idle_s` seconds after their last
    request.
    """

    def __init__(self, app: ASGIApp, idle_s: float) -> None:
        self._app = app
        self._idle_s = idle_s
        self._open: Counter[str] = Counter()
        self._clients: defaultdict[str, dict[str, float]] = defaultdict(dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429."""
        principal = principal_of(scope.get("user")) if scope["type"] == "http" else None
        if principal is None:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session_id = headers.get(SESSION_ID)
        is_new = session_id is None and headers.get(VERSION) not in MODERN_PROTOCOL_VERSIONS
        if self._open[principal] >= MOST_AT_ONCE:
            await _too_many("requests", scope, receive, send)
            return
        if is_new and self._held(principal) >= MOST_CLIENTS:
            await _too_many("clients", scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and (is_new or session_id is not None):
                self._note(principal, session_id, scope["method"], message)
            await send(message)

        self._open[principal] += 1
        try:
            await self._app(scope, receive, watched)
        finally:
            self._open[principal] -= 1
            if session_id in self._clients[principal]:
                self._clients[principal][session_id] = anyio.current_time()

    def _held(self, principal: str) -> int:
        oldest = anyio.current_time() - self._idle_s
        held = {key: at for key, at in self._clients[principal].items() if at >= oldest}
        self._clients[principal] = held
        return len(held)

    def _note(self, principal: str, session_id: str | None, method: str, started: Message) -> None:
        if session_id is None:
            session_id = Headers(raw=list(started["headers"])).get(SESSION_ID)
            if session_id is not None and started["status"] < 400:
                self._clients[principal][session_id] = anyio.current_time()
        elif started["status"] == 404 or (method == "DELETE" and started["status"] == 200):
            self._clients[principal].pop(session_id, None)


async def _too_many(what: str, scope: Scope, receive: Receive, send: Send) -> None:
    told = f"You have too many {what} open. Close some, then try again."
    await PlainTextResponse(told, 429, {"retry-after": "5"})(scope, receive, send)
