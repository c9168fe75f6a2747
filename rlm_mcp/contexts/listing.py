"""What a source offers: documents that can be read one after the other, and what it left out."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

from rlm_mcp.rules import LoadRules
from rlm_mcp.types import UTF8, Skip

# Everything `str.splitlines` would cut at is among these, and what turns the writing direction: a
# path stays on its line and reads as it is. The backslash is, so that no two paths look the same.
_ESCAPED = re.compile(
    "[\\\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)

Stamp = str
"""What changes with a file's content (device, inode, size, times): equal stamps, equal text."""

Tick = Callable[[], None]
"""Called often by anything slow; raises when the load was cancelled."""


class Piece(NamedTuple):
    """Text, its UTF-8, the number of source bytes it was made from, and what they were taken for.

    Text that is bytes is ASCII: most text is, and needs no decoding and no encoding then.
    """

    text: str | bytes
    utf8: bytes
    size: int
    encoding: str = UTF8


@dataclass(frozen=True, slots=True)
class Asking:
    """What a source is asked with: the rules that hold, and the tick it calls while it looks.

    What a source needs open until its entries are read goes on the `stack`.
    """

    rules: LoadRules
    tick: Tick
    stack: ExitStack


@dataclass(frozen=True, slots=True)
class Text:
    """A source that is the text itself, as the document `name`."""

    content: str
    name: str = "text"


Source = str | Text


@dataclass(frozen=True, slots=True)
class Entry:
    """A document on offer.

    `read` gives its text piece by piece. With a reason for `message` its first step raises
    SourceEmpty if there is none, and any step SourceUnreadable. `stamp` is None for what cannot be
    recognised without reading it. `changed_ns` is when it last changed, in nanoseconds of the
    system clock. `bytes` is its size if it is a file's.
    """

    path: str
    read: Callable[[], Iterator[Piece]]
    stamp: Stamp | None = None
    changed_ns: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything one source offers. Paths are relative to `folder`, an absolute one.

    `named` says that its one entry is what the user named, so that a failure to read it is an error
    and not a skip. The entries are in path order, `streamed` ones in that in which they are read.
    """

    name: str
    folder: str
    entries: tuple[Entry, ...]
    skipped: tuple[Skip, ...] = ()
    named: bool = False
    streamed: bool = False

    def all_skipped(self, unread: Iterable[Skip]) -> tuple[Skip, ...]:
        """Its skips and those found by reading it, in path order."""
        return tuple(sorted({*self.skipped, *unread}, key=attrgetter("path")))


def merged(listings: Sequence[Listing]) -> Listing:
    """Several listings as one, below the deepest folder they share; what is in two counts once.

    It is in path order, or with a streamed one among them in the order given.
    """
    if len(listings) == 1:
        return listings[0]
    folder = os.path.commonpath([listing.folder for listing in listings])
    entries: dict[str, Entry] = {}
    skipped: dict[str, Skip] = {}
    for listing in listings:
        way = os.path.relpath(listing.folder, folder)
        below = "" if way == os.curdir else shown(way) + "/"
        for entry in listing.entries:
            entries[below + entry.path] = replace(entry, path=below + entry.path)
        for skip in listing.skipped:
            skipped[below + skip.path] = Skip(below + skip.path, skip.reason)
    streamed = any(listing.streamed for listing in listings)
    return Listing(
        name=f"{listings[0].name} and {len(listings) - 1} more",
        folder=folder,
        entries=tuple(entries[path] for path in (entries if streamed else sorted(entries))),
        skipped=tuple(skipped[path] for path in sorted(skipped)),
        streamed=streamed,
    )


def shown(path: str) -> str:
    """`path` as one line of clean text, another for each path.

    Control characters, stray bytes and backslashes become escapes.
    """
    if path.isascii() and path.isprintable() and "\\" not in path:
        return path
    return _ESCAPED.sub(_escape, os.fsencode(path).decode("utf-8", "surrogateescape"))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x80:
        return ascii(found[0])[1:-1]
    stray = 0xDC80 <= code <= 0xDCFF
    return f"\\x{code - 0xDC00:02x}" if stray else f"\\u{code:04x}"


def reason_of(error: OSError) -> str:
    """Why something could not be read, in words."""
    return (error.strerror or type(error).__name__).lower()
