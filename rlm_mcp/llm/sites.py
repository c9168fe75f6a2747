"""Where models are asked for: addresses and keys out of the settings."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from rlm_mcp.errors import SettingsInvalid
from rlm_mcp.settings import PREFIX, Settings

_SEPARATORS = re.compile(r"[\s,]+")
# A comma may stand in a password, too.
_BETWEEN = re.compile(r"[\s,]+(?=https?://)")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Site:
    """An address, None to look for one on this machine, and a key."""

    url: str | None
    key: str | None = field(repr=False)


def root_site(settings: Settings) -> Site:
    """The root model's site.

    Raises:
        SettingsInvalid: the address or the key can never work.
    """
    url, name = settings.api_url, f"{PREFIX}API_URL"
    return Site(None if url is None else _address(url, name), _key(settings.api_key, ""))


def sub_sites(settings: Settings, root: Site) -> tuple[Site, ...]:
    """The sites that share the sub-model's calls, each once; that of the root if none is set.

    The root's key goes only where the root's requests go.

    Raises:
        SettingsInvalid: an address or the key can never work.
    """
    own, name = _key(settings.sub_api_key, "SUB_"), f"{PREFIX}SUB_API_URL"
    named = (settings.sub_api_url or "").strip(", \t\r\n")
    urls = [_address(url, name) for url in _BETWEEN.split(named)] if named else [root.url]
    return tuple(
        Site(url, own or (root.key if url == root.url else None)) for url in dict.fromkeys(urls)
    )


def server_of(url: str) -> str:
    """The same for all spellings of one server's address: who asks there shares its slots.

    Case of the host, a port that goes without saying, user names and the names of this machine's
    loopback (RFC 6761, 6.3) make no difference; the path does: one host may have several servers.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if host in _LOOPBACK or host.endswith(".localhost"):
        host = "localhost"
    port = parts.port or _PORTS[parts.scheme]
    return f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/').removesuffix('/v1')}"


def _key(secret: SecretStr | None, prefix: str) -> str | None:
    key = secret.get_secret_value().strip() if secret else None
    if key and not (key.isascii() and key.isprintable()):
        name = f"{PREFIX}{prefix}API_KEY"
        raise SettingsInvalid(f"{name} has characters no key has.", f"Set {name} anew.")
    return key or None


def _address(url: str, name: str) -> str:
    """The address in one form, so that one server counts as one: ends in a path, without slash."""
    address = url.strip().rstrip("/").removesuffix("/chat/completions")
    try:
        parts = urlsplit(address)
        is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        is_web = is_web and not _SEPARATORS.search(parts.netloc.rpartition("@")[2] + parts.path)
    except ValueError:
        is_web = False
    if not is_web:
        raise SettingsInvalid(
            f"{name} is no http or https address.", f"Set {name} like http://localhost:8080/v1."
        )
    if "?" in address or "#" in address:
        raise SettingsInvalid(
            f"{name} has a query or a fragment, which no endpoint could be asked with.",
            f"Set {name} like http://localhost:8080/v1; a key goes into"
            f" {name.removesuffix('API_URL')}API_KEY.",
        )
    return address if parts.path else f"{address}/v1"
