"""A `str` whose characters are a mapped file: any size is there at once and costs no memory.

CPython keeps the characters of an instance of a str subclass behind a pointer. `text_at` makes such
an instance from a small template, finds the words of its header that hold that pointer and the
length, and points them at the mapping. Nothing of the layout is hard-coded; `works` proves it.
"""

import ctypes
import mmap
import os
import re
import struct
from typing import Any, SupportsIndex

from .views import Lines

TEMPLATE_CHARS = 4099
SAMPLES = {"ascii": "z", "latin1": "\xe9", "ucs2": "\u20ac", "ucs4": "\U0001f680"}
CODECS = {"ascii": "latin-1", "latin1": "latin-1", "ucs2": "utf-16-le", "ucs4": "utf-32-le"}
WIDTHS = {"ascii": 1, "latin1": 1, "ucs2": 2, "ucs4": 4}
SHOWN_CHARS = 200
LAZY_CHARS = 64 << 20
MAP_FIXED = 0x10
MAP_FAILED = ctypes.c_void_p(-1).value


class Text(str):
    """The text of a context. Printing and repr of it are bounded; slices are plain `str`.

    Beyond 64 Mi characters its lines are a view: a list of them would take more than the text.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return self

    def __repr__(self) -> str:
        if len(self) <= 2 * SHOWN_CHARS:
            return str.__repr__(self)
        return (
            f"<str of {len(self):,} characters: {self[:SHOWN_CHARS]!r} ... {self[-SHOWN_CHARS:]!r}>"
        )

    def splitlines(self, keepends: bool = False) -> Any:
        """As `str.splitlines`; of a huge text, lazily."""
        if len(self) <= LAZY_CHARS:
            return str.splitlines(self, keepends)
        return Lines(self, every_break=True, keep_ends=keepends)

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> Any:
        """As `str.split`; at newlines of a huge text, lazily."""
        if sep != "\n" or maxsplit != -1 or len(self) <= LAZY_CHARS:
            return str.split(self, sep, maxsplit)
        return Lines(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return str, (self[:],)


def text_at(address: int, size: int, kind: str) -> Text:
    """The text whose `size` bytes stand at `address`, followed by a zero character, for ever.

    Raises:
        RuntimeError: this interpreter lays a str out in a way we do not know.
    """
    width, sample = WIDTHS[kind], SAMPLES[kind]
    text = Text(sample * TEMPLATE_CHARS)
    layout = struct.Struct(f"{str.__basicsize__ // struct.calcsize('N')}N")
    words = list(layout.unpack(ctypes.string_at(id(text), layout.size)))
    characters = words[-1]
    if ctypes.string_at(characters, 8 * width) != (sample * 8).encode(CODECS[kind]):
        raise RuntimeError("unknown layout of str")
    after_type = words.index(id(Text)) + 1
    for index in range(after_type, len(words)):
        if words[index] == characters:
            words[index] = address
        elif words[index] == TEMPLATE_CHARS:
            words[index] = size // width
    ctypes.memmove(id(text), layout.pack(*words), layout.size)
    # Freeing it would free the mapping as if it were heap.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(text))
    return text


def map_text(descriptor: int, size: int, kind: str, *, in_place: bool) -> str:
    """The file's `size` bytes as text; decoded to the heap where `in_place` is False."""
    if not size:
        return ""
    if not in_place:
        with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as pages:
            return str(pages, CODECS[kind], "surrogatepass")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    whole_pages = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    # One page more, left anonymous: the zero character behind a text that fills its last page.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    start = libc.mmap(None, whole_pages + mmap.PAGESIZE, mmap.PROT_READ, flags, -1, 0)
    if start != MAP_FAILED:
        flags = mmap.MAP_SHARED | MAP_FIXED
        start = libc.mmap(start, size, mmap.PROT_READ, flags, descriptor, 0)
    if start == MAP_FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "the context")
    return text_at(start, size, kind)


def works() -> bool:
    """Whether this interpreter takes such a text for a str like any other, in every width."""
    try:
        return all(_behaves(kind) for kind in SAMPLES)
    except (RuntimeError, ValueError, AssertionError):
        return False


_proofs: list[Any] = []


def _behaves(kind: str) -> bool:
    plain = "line 1\n" * 40 + SAMPLES[kind] * 7 + "END"
    encoded = plain.encode(CODECS[kind])
    place = ctypes.create_string_buffer(encoded + bytes(4))
    _proofs.append(place)
    text = text_at(ctypes.addressof(place), len(encoded), kind)
    return (
        (len(text), hash(text), text[-3:], type(text[5:9])) == (len(plain), hash(plain), "END", str)
        and text == plain
        and "END" in text
        and text + "x" == plain + "x"
        and text.find(SAMPLES[kind]) == plain.find(SAMPLES[kind])
        and text.splitlines() == plain.splitlines()
        and re.findall(r"\d", text) == re.findall(r"\d", plain)
        and text.encode() == plain.encode()
        and text.upper() == plain.upper()
        and {str(text): 1}[plain] == 1
        and f"{text}" == plain
        and text.isascii() == plain.isascii()
    )
