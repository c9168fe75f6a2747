"""A URL, where settings allow it: one document, streamed."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from rlm_mcp.contexts.listing import Asking, Entry, Listing, Piece, Source, shown
from rlm_mcp.errors import SourceForbidden, SourceMissing


def offer(source: Source, asking: Asking) -> Listing | None:
    """What stands at a URL. It is asked for when it is read.

    Raises:
        SourceForbidden: URLs are off, or it carries a password.
        SourceMissing: it is no URL.
    """
    if not isinstance(source, str) or not source.lower().startswith(("http://", "https://")):
        return None
    if asking.rules.http == "off":
        raise SourceForbidden(
            f"{shown(source)} may not be loaded: URLs are off.",
            "Set RLM_HTTP=public for the server, or RLM_HTTP=any for private addresses too.",
        )
    try:
        url = urlsplit(source)
        host = url.hostname or ""
    except ValueError as error:
        reason = f"{shown(source)} is no URL: {error}."
        raise SourceMissing(reason, "Check its spelling.") from error
    if "@" in url.netloc:
        raise SourceForbidden(
            "A URL with a user name or a password is not loaded.", "Download it and load the file."
        )
    public = asking.rules.http == "public"
    folder, _, name = url.path.rpartition("/")

    def read() -> Iterator[Piece]:
        # Its packages cost 0.1 s, and most loads are of files.
        from rlm_mcp.contexts.download import download  # noqa: PLC0415

        yield from download(source, public=public)

    entry = Entry(shown(name or host), read)
    return Listing(entry.path, f"/{host}{folder}", (entry,), named=True)
