"""Bytes to text, piece by piece, whatever they are: nothing raises and nothing is dropped.

A byte order mark decides; else the bytes are UTF-8 until one contradicts; from there on they are
what the text around it looks like, in the last resort Latin-1. CRLF stays CRLF.
"""

import codecs
import re
from typing import Protocol

_SNIFF_BYTES = 8 << 10
_SAMPLE_BYTES = 64 << 10
_HOLE = bytes(64 << 10)
# UTF-32 stands first: its little-endian mark begins with UTF-16's.
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_GUESSED = ["utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "utf_7"]
_ESCAPED = re.compile("[\udc80-\udcff]")


class Decoder(Protocol):
    """Takes one file's bytes in chunks of any size; `final` with the last or with none."""

    def decode(self, input: bytes, final: bool = ...) -> str:
        """The text so far not given."""
        ...


def is_binary(head: bytes) -> bool:
    """Whether a file that begins with `head` is no text: a NUL byte in its first 8 KiB."""
    return b"\0" in head[:_SNIFF_BYTES] and not any(head.startswith(m) for m, _ in _WIDE_MARKS)


def is_hole(chunk: bytes, decoder: Decoder) -> bool:
    """Whether text ends before `chunk`: 64 KiB of NUL bytes that are no wide characters."""
    return isinstance(decoder, _Guessing) and chunk.startswith(_HOLE)


def decoder_for(head: bytes) -> Decoder:
    """The decoder of a file that begins with `head`, which is at least its first four bytes."""
    if not head[:1].isascii() or head[:1] == b"\0":
        for mark, name in _WIDE_MARKS:
            if head.startswith(mark):
                return codecs.getincrementaldecoder(name)("replace")
    return _Guessing(strip=head.startswith(codecs.BOM_UTF8))


class _Guessing:
    """Strict UTF-8 until a byte contradicts, then a guess for the rest of the file."""

    def __init__(self, *, strip: bool) -> None:
        self._strip = len(codecs.BOM_UTF8) if strip else 0
        self._rest = b""
        self._wide = False
        self._guess: Decoder | None = None

    def decode(self, input: bytes, final: bool = False) -> str:
        if self._guess:
            return _mended(self._guess.decode(input, final))
        raw = (self._rest + input)[self._strip :] if self._rest or self._strip else input
        self._rest, self._strip = b"", 0
        try:
            text, used = codecs.utf_8_decode(raw, "strict", final)
        except UnicodeDecodeError as error:
            sample = raw[max(0, error.start - _SAMPLE_BYTES // 2) :][:_SAMPLE_BYTES]
            name = "utf-8" if self._wide else _encoding_of(sample)
            self._guess = codecs.getincrementaldecoder(name)("surrogateescape")
            return _mended(self._guess.decode(raw, final))
        self._rest = raw[used:]
        self._wide = self._wide or not text.isascii()
        return text


def _mended(text: str) -> str:
    """Bytes that the encoding has no character for, as the Latin-1 characters of their value."""
    return _ESCAPED.sub(lambda found: chr(ord(found[0]) - 0xDC00), text)


def _encoding_of(sample: bytes) -> str:
    mixed = sample.decode("utf-8", "surrogateescape")
    stray = len(_ESCAPED.findall(mixed))
    if len(mixed) - len(mixed.encode("ascii", "ignore")) > 2 * stray:
        return "utf-8"
    # Costs 30 ms, and most processes never meet such a file.
    import charset_normalizer  # noqa: PLC0415

    matches = charset_normalizer.from_bytes(sample, cp_exclusion=_NOT_GUESSED)
    best = matches.best()
    if best is None:
        return "latin-1"
    # Short western text is told from its neighbours by nothing: then the usual one it is.
    ties = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    western = any("cp1252" in match.could_be_from_charset for match in ties)
    return "cp1252" if western else best.encoding
