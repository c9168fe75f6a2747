"""The server over Streamable HTTP at /mcp, for clients on this machine."""

import ipaddress
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlm_mcp.errors import SettingsInvalid
from rlm_mcp.server.app import open_app
from rlm_mcp.server.build import build_server
from rlm_mcp.server.sessions import http_key
from rlm_mcp.settings import Settings

PATH = "/mcp"
MOST_BODY_BYTES = 64 << 20
GRACE_S = 3

logger = logging.getLogger(__name__)


async def serve_http(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8765,
    announce: Callable[[str], None] = logger.info,
) -> None:
    """Serve any number of clients until SIGTERM or SIGINT; exits with 143 or 130 then.

    `announce` is told the address once it takes connections; `port` 0 takes a free one.

    Raises:
        SettingsInvalid: `host` is not of this machine alone, or `port` is taken.
    """
    listener = _listen(host, port)
    async with open_app(settings) as app:
        starlette = build_server(app).streamable_http_app(
            streamable_http_path=PATH,
            max_request_body_size=MOST_BODY_BYTES,
            # A client that is idle keeps its id as long as its session.
            session_idle_timeout=settings.session_ttl_s,
            transport_security=_only_to(host),
        )
        config = uvicorn.Config(
            EndOnDelete(starlette, app.end_session),
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=GRACE_S,
        )
        server = _Uvicorn(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_by_signal, server)
            announce(_url(host, listener.getsockname()[1]))
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()
    if server.ended_by is not None:
        raise SystemExit(128 + server.ended_by)


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
        session_id = dict(scope["headers"]).get(b"mcp-session-id")
        if statuses == [200] and session_id:
            await self._end(http_key(session_id.decode("latin-1")))


class _Uvicorn(uvicorn.Server):
    """Leaves signals to us: its own way raises them again before our clean-up."""

    ended_by: signal.Signals | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _stop_by_signal(server: _Uvicorn) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            server.force_exit = server.should_exit
            server.should_exit = True
            server.ended_by = number


def _listen(host: str, port: int) -> socket.socket:
    if not _is_loopback(host):
        raise SettingsInvalid(
            f"{host} can be reached from other machines, and the server asks for no password.",
            "Serve on 127.0.0.1; for other machines put a proxy with a login in front.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsInvalid(
            f"Cannot listen on {host} port {port}: {error.strerror}.", "Choose another --port."
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _only_to(host: str) -> TransportSecuritySettings:
    """Requests whose Host or Origin is another: a page in a browser, by DNS rebinding."""
    names = sorted({"127.0.0.1", "localhost", "[::1]", _bracketed(host)})
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{name}:*" for name in names],
        allowed_origins=[f"http://{name}:*" for name in names],
    )


def _url(host: str, port: int) -> str:
    return f"http://{_bracketed(host)}:{port}{PATH}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
