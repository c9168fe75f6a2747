"""The server over Streamable HTTP at /mcp: for this machine, or with auth for a team."""

import ipaddress
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import anyio
import uvicorn
from mcp.server.auth.provider import TokenVerifier
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlm_mcp.errors import AuthMissing, SettingsInvalid
from rlm_mcp.server.app import open_app
from rlm_mcp.server.auth import PATH, auth_of
from rlm_mcp.server.build import build_server
from rlm_mcp.server.sessions import http_key
from rlm_mcp.settings import Settings

MB = 10**6
GRACE_S = 3
EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104 - told apart, not listened on

logger = logging.getLogger(__name__)


async def serve_http(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8765,
    announce: Callable[[str], None] = logger.info,
    verifier: TokenVerifier | None = None,
) -> None:
    """Serve any number of clients until SIGTERM or SIGINT; exits with 143 or 130 then.

    `announce` is told the address once it takes connections; `port` 0 takes a free one. Tokens of
    the settings' issuer are verified by `verifier`, if one is given (see `server.auth`).

    Raises:
        AuthMissing: others could reach it, and the settings name neither tokens nor an issuer.
        SettingsInvalid: the settings do not fit, or `port` is taken.
    """
    auth = auth_of(settings, verifier)
    if auth is None:
        _refuse_others(settings, host)
    security = _only_to(settings, host)
    listener = _listen(host, port)
    async with open_app(settings, shared=auth is not None) as app:
        starlette = build_server(app).streamable_http_app(
            streamable_http_path=PATH,
            max_request_body_size=round(settings.max_body_mb * MB),
            # A client that is idle keeps its id as long as its session.
            session_idle_timeout=settings.session_ttl_s,
            transport_security=security,
            auth=auth.settings if auth else None,
            token_verifier=auth.verifier if auth else None,
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


def _refuse_others(settings: Settings, host: str) -> None:
    public = urlsplit(settings.public_url or "").hostname
    reached = next((name for name in (host, public) if name and not _is_loopback(name)), None)
    if reached is not None:
        raise AuthMissing(
            f"{reached} can be reached from other machines, and the server asks nobody who it is.",
            "Make a token with `rlm-mcp token NAME` and set RLM_TOKEN_FILE to its file, or set"
            " RLM_OAUTH_ISSUER. For this machine alone serve on 127.0.0.1.",
        )


def _listen(host: str, port: int) -> socket.socket:
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


def _only_to(settings: Settings, host: str) -> TransportSecuritySettings:
    """Refuses another Host or Origin: a page in a browser gets here by DNS rebinding."""
    public = urlsplit(settings.public_url or "")
    if host in EVERY_ADDRESS and not public.netloc:
        raise SettingsInvalid(
            f"{host} stands for every address of this machine, so no request can be told to be for"
            " it.",
            "Set RLM_PUBLIC_URL to the URL that clients use.",
        )
    names = sorted({"127.0.0.1", "localhost", "[::1]", _bracketed(host)})
    hosts, origins = [f"{name}:*" for name in names], [f"http://{name}:*" for name in names]
    if public.netloc:
        hosts += [public.netloc, f"{_bracketed(public.hostname or '')}:*"]
        origins.append(f"{public.scheme}://{public.netloc}")
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=origins + (settings.origins or "").split(),
    )


def _url(host: str, port: int) -> str:
    return f"http://{_bracketed(host)}:{port}{PATH}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
