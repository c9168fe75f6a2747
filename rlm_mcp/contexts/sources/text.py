"""A text that is handed over as it is."""

from collections.abc import Iterator

from rlm_mcp.contexts.listing import Asking, Entry, Listing, Piece, Source, Text, shown

_PIECE_CHARS = 1 << 20


def offer(source: Source, _asking: Asking) -> Listing | None:
    """One document, named as the text is."""
    if not isinstance(source, Text):
        return None
    content = _paired(source.content)
    return Listing(
        name=source.name,
        folder="/",
        entries=(Entry(shown(source.name), lambda: _pieces(content)),),
        named=True,
    )


def _pieces(content: str) -> Iterator[Piece]:
    for start in range(0, len(content), _PIECE_CHARS):
        piece = content[start : start + _PIECE_CHARS]
        utf8 = piece.encode("utf-8", "surrogatepass")
        yield Piece(piece, utf8, len(utf8))


def _paired(content: str) -> str:
    """Two surrogates that make one character become it: UTF-16 could not tell them apart."""
    try:
        content.encode("utf-16-le")
    except UnicodeEncodeError:
        return content.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return content
