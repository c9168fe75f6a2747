"""Where the server listens, and who can reach it there: told by the address that was bound."""

import os
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from rlm_mcp.errors import SettingsInvalid

BACKLOG = 2048


def bound(host: str, port: int) -> socket.socket:
    """A socket at that address that does not listen yet.

    Many words mean the same place: an empty one, `0` and `0x0` are every address. So who wants to
    know which it is asks the socket.

    Raises:
        SettingsInvalid: there is no such address here, or `port` is taken.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None,
            0,
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it lets another process take the port over
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((place[0], port, *place[2:]))
        except BaseException:
            made.close()
            raise
    except (OSError, UnicodeError, OverflowError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SettingsInvalid(
            f"Cannot listen on {host or 'every address'} port {port}: {why}.",
            "Choose another --host or --port.",
        ) from error
    return made


def address_of(listener: socket.socket) -> IPv4Address | IPv6Address:
    """The address that was really bound; of an IPv4 one in an IPv6 the former."""
    address = ip_address(listener.getsockname()[0].partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Whether a name or address can only be this machine's."""
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host.lower() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def bracketed(host: str) -> str:
    """An address as URLs have it."""
    return f"[{host}]" if ":" in host else host
