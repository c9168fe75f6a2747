"""Downloads: a GET whose connections go to the very addresses that were checked."""

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from rlm_mcp.contexts.listing import Piece
from rlm_mcp.contexts.reading import pieces
from rlm_mcp.errors import SourceUnreadable

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TIMEOUTS_S = {"connect": 10.0, "read": 60.0, "write": 10.0, "pool": 10.0}
_HEADERS = (
    (b"accept", b"text/*, */*;q=0.5"),
    (b"accept-encoding", b"identity"),
    (b"user-agent", b"rlm-mcp"),
)
_HINT = "Check the address, or download it and load the file."
# Of IPv6, what only carries an IPv4 address somewhere (RFC 6052, RFC 3056).
_CARRIERS = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))


def download(address: str, *, public: bool) -> Iterator[Piece]:
    """The text at a URL, at most five redirects away; with `public` from public addresses only.

    Raises:
        SourceEmpty, SourceUnreadable: it brings no text.
    """
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise SourceUnreadable(f"it is no URL: {error}", _HINT) from error
    network = _Network(public=public)
    with _failures(), httpcore.ConnectionPool(network_backend=network) as pool:
        for _ in range(_MOST_REDIRECTS + 1):
            with _asked(pool, url) as response:
                if response.status in _REDIRECTS:
                    url = _next(url, httpx.Headers(response.headers))
                    continue
                if response.status != 200:
                    raise SourceUnreadable(f"the server answered {response.status}", _HINT)
                declared = httpx.Headers(response.headers).get("content-type", "")
                raw = response.iter_stream()
                yield from pieces(iter(raw), declared=declared.encode("ascii", "replace"))
                return
    raise SourceUnreadable(f"it redirects more than {_MOST_REDIRECTS} times", _HINT)


@contextmanager
def _asked(pool: httpcore.ConnectionPool, url: httpx.URL) -> Iterator[httpcore.Response]:
    headers = [(b"host", url.netloc), *_HEADERS]
    where = httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )
    extensions = {"timeout": _TIMEOUTS_S}
    with pool.stream("GET", where, headers=headers, extensions=extensions) as response:
        yield response


def _next(url: httpx.URL, headers: httpx.Headers) -> httpx.URL:
    try:
        there = url.join(headers.get("location", ""))
    except httpx.InvalidURL as error:
        raise SourceUnreadable("it redirects to what is no URL", _HINT) from error
    if there.scheme != "https" and (there.scheme != "http" or url.scheme == "https"):
        raise SourceUnreadable("it redirects to what is not safe to load", _HINT)
    return there


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException as error:
        raise SourceUnreadable("the server does not answer in time", _HINT) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        reason = str(error) or type(error).__name__
        raise SourceUnreadable(f"the connection failed: {reason}", _HINT) from error


class _Network(httpcore.NetworkBackend):
    """Connects to the very addresses it has checked: a name may mean another one next time."""

    def __init__(self, *, public: bool) -> None:
        self._public = public
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first of the host's addresses that takes one."""
        addresses = _addresses(host, port)
        if self._public and not all(map(is_public, addresses)):
            raise SourceUnreadable(
                "its address is private", "Set RLM_HTTP=any for the server to allow that."
            )
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return self._sockets.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} is not known") from error
    return list(dict.fromkeys(str(row[4][0]) for row in found))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open Internet (IANA special-purpose registries)."""
    known = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped:
            return is_public(str(known.ipv4_mapped))
        if any(known in carrier for carrier in _CARRIERS) or known.teredo:
            return False
    return known.is_global and not known.is_multicast
