"""The URIs of contexts and runs: `rlm://context/...` and `rlm://run/...`."""

from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SCHEME = "rlm"


@dataclass(frozen=True, slots=True)
class Address:
    """A URI taken apart: `rlm://<kind>/<id>/<part>/<path>?<query>`; what is absent is empty."""

    kind: str
    id: str
    part: str
    path: str
    query: dict[str, str]


def parse_address(uri: str) -> Address | None:
    """The parts of one of our URIs, None if it is not one."""
    try:
        split = urlsplit(uri)
    except ValueError:  # brackets that hold no IPv6 address
        return None
    if split.scheme != SCHEME:
        return None
    name, _, rest = split.path.removeprefix("/").partition("/")
    part, _, path = rest.partition("/")
    return Address(split.netloc, name, part, unquote(path), dict(parse_qsl(split.query)))


def context_uri(id: str) -> str:
    """Where a context's manifest is."""
    return f"{SCHEME}://context/{id}"


def text_uri(id: str) -> str:
    """Where a context's text is."""
    return f"{context_uri(id)}/text"


def file_uri(id: str, path: str) -> str:
    """Where a document of a context is."""
    return f"{context_uri(id)}/files/{quote(path)}"


def run_uri(id: str) -> str:
    """Where a run's trace is."""
    return f"{SCHEME}://run/{id}"


def answer_uri(id: str) -> str:
    """Where a run's whole answer is."""
    return f"{run_uri(id)}/answer"


def view_uri(id: str) -> str:
    """Where a run's page is."""
    return f"{run_uri(id)}/view"
