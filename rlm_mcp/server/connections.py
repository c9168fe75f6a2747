"""Connections that ask for nothing: each has so much time for it, and each address so many."""

from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
# Half of all: a proxy is one address, and so is a whole office.
MOST_OF_PEER = 500


class Punctual(H11Protocol):
    """A connection that is closed unless the head of a request is there within `HEAD_S` seconds.

    They count from its beginning, and again from the end of each answer. uvicorn itself ends a
    connection only if nothing at all comes after an answer. Of those beyond `MOST_OF_PEER` from one
    address each is closed at once.
    """

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request, unless there are too many that do."""
        super().connection_made(transport)
        self._wait()
        self.peer = peer_of(self.client)
        others = (each for each in self.connections if isinstance(each, Punctual))
        if sum(each.peer == self.peer for each in others) > MOST_OF_PEER:
            transport.abort()

    def handle_events(self) -> None:
        """Take what the bytes so far hold; with the head of a request the wait is over."""
        super().handle_events()
        if self._is_at_work():
            self._wait_ends.cancel()

    def on_response_complete(self) -> None:
        """Wait for the next request, if it is not there already."""
        super().on_response_complete()
        self._wait_ends.cancel()
        if not self._is_at_work():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_ends.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._wait_ends = self.loop.call_later(HEAD_S, self.transport.close)

    def _is_at_work(self) -> bool:
        return bool(self.cycle) and not self.cycle.response_complete


def peer_of(client: tuple[str, int] | None) -> str:
    """Whom a connection counts for: an IPv4 address, or the 64 bits of an IPv6 one its owner has.

    See RFC 6177: no site has less than that.
    """
    if client is None:
        return ""
    address = ip_address(client[0].partition("%")[0])
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
