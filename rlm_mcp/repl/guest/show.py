"""Bounded looks at values and exceptions: echo, previews, listings, tracebacks."""

import linecache
import reprlib
import traceback
from collections.abc import Mapping
from itertools import islice
from types import ModuleType, TracebackType
from typing import Any

LISTED = 60
PREVIEW_CHARS = 80
NAME_CHARS = 100
FRAMES = 8
MESSAGE_CHARS = 2_000
LONGEST_INT_BITS = 2_000


def middle_cut(text: str, limit: int) -> str:
    """`text`, or head and tail of it with a note of how much is missing."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} ...[{len(text) - 2 * half:,} characters]... {text[-half:]}"


class Repr(reprlib.Repr):
    """A repr of about `chars` characters and `items` per collection, whatever the value is."""

    def __init__(self, chars: int, items: int, levels: int) -> None:
        super().__init__()
        self.chars = chars
        self.maxlevel = levels
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = items
        self.maxdict = self.maxdeque = self.maxarray = items

    def repr_dict(self, value: dict[Any, Any], level: int) -> str:
        """In the order of the dict, which the library would sort."""
        if level <= 0 and value:
            return "{...}"
        shown = [
            f"{self.repr1(key, level - 1)}: {self.repr1(item, level - 1)}"
            for key, item in islice(value.items(), self.maxdict)
        ]
        if len(value) > self.maxdict:
            shown.append("...")
        return f"{{{', '.join(shown)}}}"

    def repr_str(self, value: str, _level: int) -> str:
        """Head and tail, and the true length."""
        if len(value) <= self.chars:
            return str.__repr__(value)
        half = self.chars // 2
        return f"<str of {len(value):,} characters: {value[:half]!r} ... {value[-half:]!r}>"

    def repr_bytes(self, value: bytes, _level: int) -> str:
        """The head, and the true length."""
        if len(value) <= self.chars:
            return repr(value)
        return f"<{type(value).__name__} of {len(value):,}: {value[: self.chars // 2]!r} ...>"

    repr_bytearray = repr_bytes

    def repr_int(self, value: int, _level: int) -> str:
        """Its size where writing it out would take long."""
        if value.bit_length() <= LONGEST_INT_BITS:
            return repr(value)
        return f"<int of {value.bit_length():,} bits>"

    def repr_instance(self, value: object, _level: int) -> str:
        """What its own repr says, or that it says nothing."""
        try:
            text = repr(value)
        except Exception as error:
            return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
        return middle_cut(text, self.chars)


PREVIEW = Repr(PREVIEW_CHARS // 2, 4, 2)


def variable(name: str, value: object) -> list[Any]:
    """Name, type, length if it has one, preview."""
    try:
        size = len(value)  # type: ignore[arg-type]  # whatever has no length raises
    except Exception:
        size = None
    preview = PREVIEW.repr(value)
    if len(preview) > PREVIEW_CHARS:
        preview = preview[: PREVIEW_CHARS - 3] + "..."
    return [name[:NAME_CHARS], type(value).__name__[:NAME_CHARS], size, preview]


def user_names(namespace: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """The names the user's code has bound, newest first."""
    return [
        name
        for name, value in reversed(list(namespace.items()))
        if isinstance(name, str)
        and not name.startswith("_")
        and name not in ours
        and not isinstance(value, ModuleType)
    ]


def error_text(error: BaseException) -> str:
    """The traceback of the cell's own frames, then the error and its notes."""
    frames = [frame for frame in _frames(error.__traceback__) if frame[0].startswith("<cell ")]
    lines = []
    if frames:
        lines.append("Traceback (most recent call last):")
    for index, (file, number, function) in enumerate(frames):
        if len(frames) > FRAMES and index == FRAMES // 2:
            lines.append(f"  ... {len(frames) - FRAMES:,} more frames ...")
        if len(frames) > FRAMES and FRAMES // 2 <= index < len(frames) - FRAMES // 2:
            continue
        lines.append(f"  {file}, line {number}, in {function}")
        source = linecache.getline(file, number).strip()
        if source:
            lines.append(f"    {middle_cut(source, 200)}")
    try:
        said = "".join(traceback.format_exception_only(error)).rstrip()
    except Exception:
        said = type(error).__name__
    return "\n".join([*lines, middle_cut(said, MESSAGE_CHARS)])


def _frames(trace: TracebackType | None) -> list[tuple[str, int, str]]:
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    return frames
