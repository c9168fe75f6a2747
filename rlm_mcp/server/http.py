"""The server over Streamable HTTP at /mcp: for this machine, or with auth for a team."""

import logging
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import uvicorn
from mcp.server.auth.provider import TokenVerifier
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from rlm_mcp.errors import AuthMissing, SettingsInvalid
from rlm_mcp.server.app import App, open_app
from rlm_mcp.server.auth import PATH, Auth, auth_of, who
from rlm_mcp.server.build import build_server
from rlm_mcp.server.connections import Punctual
from rlm_mcp.server.guard import MOST_HEAD_BYTES, EndOnDelete, FairShare, InTime, Unambiguous
from rlm_mcp.server.listening import BACKLOG, address_of, bound, bracketed, is_loopback
from rlm_mcp.server.sessions import Request
from rlm_mcp.settings import MB, Settings

if TYPE_CHECKING:
    from rlm_mcp.server.users import User
    from rlm_mcp.service import Service

LOCAL_BODY_MB = 64
# JSON takes a multiple of it in memory, and a user may send many at once.
SHARED_BODY_MB = 4
GRACE_S = 3
MOST_CONNECTIONS = 1000
OTHERS = stat.S_IRWXG | stat.S_IRWXO
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
    with bound(host, port) as listener:
        at = str(address_of(listener))
        if auth is None:
            _refuse_others(settings, host, at)
        security = _only_to(settings, host, at)
        if auth is not None:
            _require_apart(settings)
        listener.listen(BACKLOG)
        async with open_app(settings, _share if auth else None) as app:
            guarded = _guarded(app, auth, security)
            ended_by = await _serve(guarded, listener, announce, app)
    if ended_by is not None:
        raise SystemExit(128 + ended_by)


async def _serve(
    guarded: ASGIApp, listener: socket, announce: Callable[[str], None], app: App
) -> signal.Signals | None:
    """Serve until a signal, which is returned; who waits for a run is told of its end by then."""
    limits: dict[str, Any] = {
        "limit_concurrency": MOST_CONNECTIONS,
        "h11_max_incomplete_event_size": MOST_HEAD_BYTES,
    }
    config = uvicorn.Config(
        guarded,
        http=Punctual if app.share is not None else "h11",  # which bounds the head of a request
        ws="none",
        proxy_headers=False,
        server_header=False,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,
        **(limits if app.share is not None else {}),
    )
    server = _Uvicorn(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_by_signal, server, app)
        host, port = listener.getsockname()[:2]
        announce(f"http://{bracketed(host)}:{port}{PATH}")
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()
    return server.ended_by


def _guarded(app: App, auth: Auth | None, security: TransportSecuritySettings) -> ASGIApp:
    settings = app.settings
    body_mb = settings.max_body_mb or (SHARED_BODY_MB if auth else LOCAL_BODY_MB)
    starlette: Starlette = build_server(app).streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=round(body_mb * MB),
        # A client that is idle keeps its id as long as its session.
        session_idle_timeout=settings.session_ttl_s,
        transport_security=security,
        auth=auth.settings if auth else None,
        token_verifier=auth.verifier if auth else None,
    )
    if auth is not None:
        starlette.router.redirect_slashes = False  # it would go wherever the Host header says
        # Behind the check of tokens, which is there already.
        starlette.user_middleware.append(Middleware(FairShare, idle_s=settings.session_ttl_s))
    return Unambiguous(InTime(EndOnDelete(starlette, app.end_session)))


class _Uvicorn(uvicorn.Server):
    """Leaves signals to us: its own way raises them again before our clean-up."""

    ended_by: signal.Signals | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _stop_by_signal(server: _Uvicorn, app: App) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            server.force_exit = server.should_exit
            server.should_exit = True
            server.ended_by = number
            app.leave()


def _share(service: "Service") -> "AbstractAsyncContextManager[Callable[[Request], User]]":
    """Tells the user of a request; imports what the service does, which the first call needs."""
    from rlm_mcp.server.users import users  # noqa: PLC0415 - see above

    return users(who, service)


def _require_apart(settings: Settings) -> None:
    """See that users are kept apart by more than our word, and the data folder from all others.

    Raises:
        SettingsInvalid: model-written code would have the server's rights, and so all that is
            anyone's; or the data folder cannot be closed.
    """
    if settings.sandbox == "plain":
        raise SettingsInvalid(
            "RLM_SANDBOX=plain runs model-written code with the server's rights: a user could read"
            " what is another's.",
            "Remove RLM_SANDBOX, or name a sandbox.",
        )
    if os.name == "posix":
        os.umask(OTHERS)
        _close(settings.home.expanduser())


def _close(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        if home.stat().st_mode & OTHERS:
            home.chmod(stat.S_IRWXU)
    except OSError as error:
        raise SettingsInvalid(
            f"The data folder {home} cannot be kept to its owner: {error.strerror}.",
            "Set RLM_HOME to a folder of the user that runs the server.",
        ) from error


def _refuse_others(settings: Settings, host: str, at: str) -> None:
    public = urlsplit(settings.public_url or "").hostname
    reached = at if not is_loopback(at) else public
    if reached is not None and not is_loopback(reached):
        named = host if host and reached == at else reached
        raise AuthMissing(
            f"{named} can be reached from other machines, and the server asks nobody who it is.",
            "Make a token with `rlm-mcp token NAME` and set RLM_TOKEN_FILE to its file, or set"
            " RLM_OAUTH_ISSUER. For this machine alone serve on 127.0.0.1.",
        )


def _only_to(settings: Settings, host: str, at: str) -> TransportSecuritySettings:
    """Refuses another Host or Origin: a page in a browser gets here by DNS rebinding.

    Raises:
        SettingsInvalid: every address is listened on, and which names it has is not told.
    """
    public = urlsplit(settings.public_url or "")
    if at in EVERY_ADDRESS and not public.netloc:
        raise SettingsInvalid(
            f"{host or at} stands for every address of this machine, so no request can be told to"
            " be for it.",
            "Set RLM_PUBLIC_URL to the URL that clients use.",
        )
    if not is_loopback(at) and public.scheme != "https":
        logger.warning("tokens travel in the clear: put a proxy with TLS before the server")
    names = {"127.0.0.1", "localhost", "[::1]", bracketed(at)} | ({bracketed(host)} - {""})
    hosts = [f"{name}:*" for name in sorted(names)]
    origins = [f"http://{name}:*" for name in sorted(names)]
    if public.netloc:
        hosts += [public.netloc, f"{bracketed(public.hostname or '')}:*"]
        origins.append(f"{public.scheme}://{public.netloc}")
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=hosts,
        allowed_origins=origins + (settings.origins or "").split(),
    )
