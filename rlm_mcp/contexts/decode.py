"""Bytes to text, piece by piece, whatever they are: nothing raises and nothing is dropped.

A byte order mark decides; else the bytes are UTF-8 until one contradicts. From there on they are
what the file declares, or what the text around it looks like, in the last resort Latin-1. CRLF
stays CRLF.
"""

import codecs
import re

SNIFF_BYTES = 8 << 10
_SAMPLE_BYTES = 64 << 10
_DECLARED_BYTES = 1 << 10
_ESCAPING = "surrogateescape"
_HOLE = bytes(64 << 10)
# UTF-32 stands first: its little-endian mark begins with UTF-16's.
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_GUESSED = ["utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "utf_7"]
_ESCAPED = re.compile("[\udc80-\udcff]")
# Python (PEP 263), XML, HTML and CSS.
_DECLARED = re.compile(rb"""(?:coding[:=]|(?:encoding|charset)\s*=|@charset)\s*["']?([-\w.]+)""")
_FAMILIES = (
    "utf-8", "iso8859", "cp", "koi8", "mac", "shift_jis", "euc_", "gb", "big5", "johab", "tis-620",
)  # fmt: skip
_ASCII = bytes(range(128))


def is_binary(head: bytes) -> bool:
    """Whether a file that begins with `head` is no text: a NUL byte in its first 8 KiB."""
    return b"\0" in head[:SNIFF_BYTES] and not any(head.startswith(m) for m, _ in _WIDE_MARKS)


class Decoder:
    """Decodes one file's bytes. `head` is its beginning, at least its first four bytes.

    `declared` is what came with it, such as an HTTP content type. `encoding` is what the bytes so
    far were taken for.
    """

    def __init__(self, head: bytes, declared: bytes = b"") -> None:
        self.encoding = "utf-8"
        self._strip = 0
        self._rest = b""
        self._wide = False
        self._codec: codecs.IncrementalDecoder | None = None
        if not head[:1].isascii() or head[:1] == b"\0":
            self._obey_mark(head)
        self._head = declared + b"\n" + head[:_DECLARED_BYTES]

    def _obey_mark(self, head: bytes) -> None:
        for mark, name in _WIDE_MARKS:
            if head.startswith(mark):
                self.encoding, self._strip = name, len(mark)
                self._codec = codecs.getincrementaldecoder(name)("replace")
                return
        if head.startswith(codecs.BOM_UTF8):
            self.encoding, self._strip = "utf-8-sig", len(codecs.BOM_UTF8)

    def ends_before(self, chunk: bytes) -> bool:
        """Whether text ends before `chunk`: 64 KiB of NUL bytes that are no wide characters."""
        return chunk.startswith(_HOLE) and not self.encoding.startswith(("utf-16", "utf-32"))

    def decode(self, chunk: bytes, final: bool = False) -> tuple[str | bytes, bytes]:
        """The text so far not given, and its UTF-8; the chunk itself twice if it is ASCII.

        `final` with the last chunk.
        """
        if not (self._codec or self._rest) and chunk.isascii():
            return chunk, chunk
        cut = min(self._strip, len(chunk))
        chunk, self._strip = chunk[cut:], self._strip - cut
        if self._codec:
            return self._other_text(chunk, final)
        raw = self._rest + chunk
        try:
            text, used = codecs.utf_8_decode(raw, "strict", final)
        except UnicodeDecodeError as error:
            sample = raw[max(0, error.start - _SAMPLE_BYTES // 2) :][:_SAMPLE_BYTES]
            name = self._other(sample)
            # Only what lies beyond ASCII can be escaped: EBCDIC has gaps among the rest.
            errors = _ESCAPING if _extends_ascii(name) else "replace"
            self._codec = codecs.getincrementaldecoder(name)(errors)
            return self._other_text(raw, final)
        self._rest = raw[used:]
        self._wide = self._wide or not text.isascii()
        return text, raw[:used]

    def _other_text(self, raw: bytes, final: bool) -> tuple[str, bytes]:
        assert self._codec
        text = self._codec.decode(raw, final)
        if self._codec.errors == _ESCAPING:
            text = _mended(text)
        return text, text.encode("utf-8", "surrogatepass")

    def _other(self, sample: bytes) -> str:
        """The encoding of bytes that are no UTF-8, or not all of them."""
        name = "utf-8" if self._wide else _declared(self._head) or _encoding_of(sample)
        self.encoding = "utf-8 with stray bytes" if name == "utf-8" else name
        return name


def _declared(head: bytes) -> str | None:
    """The encoding that a file says it has, if it is one that ASCII is a part of."""
    found = _DECLARED.search(head)
    try:
        name = codecs.lookup(found[1].decode("ascii")).name if found else ""
    except (LookupError, ValueError):
        return None
    return name if not name.startswith("utf-8") and _extends_ascii(name) else None


def _extends_ascii(name: str) -> bool:
    """Whether an encoding is ASCII up to 127, and a table or pairs of bytes beyond."""
    try:
        known = codecs.lookup(name).name
        fits = known.startswith(_FAMILIES) and _ASCII.decode(name) == _ASCII.decode("ascii")
    except (LookupError, ValueError):
        return False
    return fits


def _mended(text: str) -> str:
    """Bytes that the encoding has no character for, as the Latin-1 characters of their value."""
    return _ESCAPED.sub(lambda found: chr(ord(found[0]) - 0xDC00), text)


def _encoding_of(sample: bytes) -> str:
    mixed = sample.decode("utf-8", _ESCAPING)
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
