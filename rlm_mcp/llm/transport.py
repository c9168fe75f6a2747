"""HTTP connections: the one place that makes them.

httpx's own pool walks all its connections several times for every request: 12 ms of computing a
call at 64 in flight (encode/httpx discussion 3215). One connection per call in flight, the last
used first, costs a tenth; httpcore still speaks HTTP, TLS and proxies.
"""

import ipaddress
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast
from urllib.request import getproxies, proxy_bypass

import anyio
import httpcore
import httpx

from rlm_mcp.errors import SettingsInvalid

# Model servers close an idle connection after 5 s; asking on one just then loses the request.
_KEEPALIVE_S = 2.0
_CONNECT_S = 5.0
_CLOSE_S = 1.0


class Lanes:
    """Sends requests to one origin, each on a connection of its own while it is in flight.

    How many there are at once is the caller's to bound, and how long an endpoint may be silent too:
    only connecting has a limit here, 5 s. Proxies are taken from the environment, except for
    loopback, where a local model server is meant and no proxy could reach it.
    """

    def __init__(self, url: httpx.URL, headers: dict[str, str]) -> None:
        """`headers` go with every request.

        Raises:
            SettingsInvalid: the environment names a proxy that is none for HTTP.
        """
        proxy = _proxy_for(url)
        self._origin = _raw(url).origin
        own = {"host": url.netloc.decode(), "user-agent": "rlm-mcp", "accept-encoding": "identity"}
        self._headers = httpx.Headers(own | headers).raw
        # Only makes connections; the pooling it is named for stays unused.
        self._maker = httpcore.AsyncConnectionPool(
            ssl_context=_tls(url, proxy),
            proxy=proxy,
            keepalive_expiry=_KEEPALIVE_S,
            network_backend=_Network(),
        )
        self._idle: list[httpcore.AsyncConnectionInterface] = []

    async def send(self, method: str, url: httpx.URL, body: bytes | None = None) -> httpx.Response:
        """Send a request on an idle connection or a new one; the caller closes the response.

        Raises:
            httpx.RequestError: no response came.
        """
        length = [] if body is None else [(b"content-length", b"%d" % len(body))]
        request = httpcore.Request(
            method,
            _raw(url),
            headers=[*self._headers, *length],
            content=body,
            extensions={"timeout": {"connect": _CONNECT_S}},
        )
        lane = await self._take()
        try:
            with _as_httpx():
                response = await lane.handle_async_request(request)
        except BaseException:
            # httpcore forgets a kept connection that is cancelled before its request has begun.
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await lane.aclose()
            raise
        assert isinstance(response.stream, AsyncIterable)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_LaneStream(response, lane, self._idle),
        )

    async def aclose(self) -> None:
        """Close the idle connections; those in use close with their responses."""
        with anyio.move_on_after(_CLOSE_S, shield=True):
            while self._idle:
                await self._idle.pop().aclose()

    async def _take(self) -> httpcore.AsyncConnectionInterface:
        while self._idle:
            lane = self._idle.pop()
            if not lane.has_expired():
                return lane
            await lane.aclose()
        return self._maker.create_connection(self._origin)


class _LaneStream(httpx.AsyncByteStream):
    """The body of a response; its end gives the connection back if it can be used again."""

    def __init__(
        self,
        response: httpcore.Response,
        lane: httpcore.AsyncConnectionInterface,
        idle: list[httpcore.AsyncConnectionInterface],
    ) -> None:
        self._response = response
        self._lane = lane
        self._idle = idle

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx():
            async for chunk in self._response.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        # A cancelled request must still close its connection: that frees the model's slot.
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await self._response.aclose()
        if self._lane.is_available():
            self._idle.append(self._lane)


class _Network(httpcore.AnyIOBackend):
    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        line = _Line(await super().connect_tcp(*args, **options))
        return cast("httpcore.AsyncNetworkStream", line)


class _Line:
    """A network stream that holds what is written until a reply is read.

    So head and body of a request leave in one packet, which saves a tenth of a call's computing.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._unsent: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def write(self, buffer: bytes, *_: Any, **__: Any) -> None:
        self._unsent.append(buffer)

    async def read(self, *args: Any, **options: Any) -> bytes:
        if self._unsent:
            unsent = b"".join(self._unsent)
            self._unsent.clear()
            # A server may refuse a request it has not read to its end: its reply says why.
            with suppress(httpcore.WriteError):
                await self._stream.write(unsent)
        return await self._stream.read(*args, **options)

    async def start_tls(self, *args: Any, **options: Any) -> "_Line":
        try:
            return _Line(await self._stream.start_tls(*args, **options))
        except BaseException:
            # httpcore forgets the connection when it is cancelled during the handshake.
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await self._stream.aclose()
            raise


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        kind: type[httpx.TransportError] = getattr(httpx, type(error).__name__)
        raise kind(str(error)) from error
    except httpcore.ProxyError as error:
        raise httpx.ProxyError(str(error)) from error


def _raw(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _proxy_for(url: httpx.URL) -> httpcore.Proxy | None:
    if _is_loopback(url.host) or proxy_bypass(url.host):
        return None
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found:
        return None
    if not found.startswith(("http://", "https://")):
        raise SettingsInvalid(
            f"The proxy for {url.host} in the environment is not an HTTP proxy.",
            f"Set {url.scheme.upper()}_PROXY to one, or add {url.host} to NO_PROXY.",
        )
    proxy = httpx.Proxy(found)
    return httpcore.Proxy(str(proxy.url), auth=proxy.raw_auth)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _tls(url: httpx.URL, proxy: httpcore.Proxy | None) -> ssl.SSLContext:
    # Loading the certificate store takes 20 ms, for nothing on plain HTTP; a context without
    # roots trusts no one, so nothing is weakened if TLS should be asked of it after all.
    if url.scheme == "https" or proxy is not None:
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
