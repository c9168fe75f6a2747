"""Chunks of bytes to pieces of text; what is no text, or holds a secret, is refused."""

from collections.abc import Iterator
from itertools import chain

from rlm_mcp.contexts.decode import SNIFF_BYTES, Decoder, is_binary
from rlm_mcp.contexts.listing import Piece
from rlm_mcp.contexts.secrets import OWN, UNGUARDED, Guard
from rlm_mcp.errors import SourceEmpty, SourceUnreadable

CHUNK_BYTES = 256 << 10


def pieces(
    chunks: Iterator[bytes], *, guard: Guard = UNGUARDED, declared: bytes = b""
) -> Iterator[Piece]:
    """The text of one document's bytes, which come in chunks of at most 256 KiB or so.

    `guard` refuses it by its beginning, at least 8 KiB. `declared` is a content type that came with
    it.

    Raises:
        SourceEmpty: it is no text, or a secret.
        SourceUnreadable: it stops being text on the way.
    """
    head = next(chunks, b"")
    while len(head) < SNIFF_BYTES and (more := next(chunks, b"")):
        head += more
    if is_binary(head):
        raise SourceEmpty("binary", "Name a file that holds text.")
    if (reason := guard.reason(head)) is not None:
        hint = "Take the key out of it." if reason == OWN else "Name the file itself."
        raise SourceEmpty(reason, hint)
    size = len(head)
    following = next(chunks, b"")
    if not following and head.isascii():
        # As most files are: there is nothing to decode.
        yield Piece(head, head, size)
        return
    decoder = Decoder(head, declared)
    yield Piece(*decoder.decode(head), size, decoder.encoding)
    for chunk in chain((following,), chunks):
        if decoder.ends_before(chunk):
            reason = f"binary from byte {size} on"
            raise SourceUnreadable(reason, "Name a file that holds text.")
        size += len(chunk)
        yield Piece(*decoder.decode(chunk), len(chunk), decoder.encoding)
    text, utf8 = decoder.decode(b"", True)
    if text:
        yield Piece(text, utf8, 0, decoder.encoding)
