"""Documents in parts: numbered lines to look at, and pieces to hand to a model."""

from collections.abc import Iterator

from ..contexts import present

__all__ = ["chunks", "read"]
SHOWN = ("read", "chunks")
CHARS_PER_TOKEN = 4
LINES, LINE_CHARS = 200, 500
BLOCK_CHARS = 256 << 10
# A piece is cut at the strongest of these in its last third, the first one being the strongest.
BORDERS = ("\nclass ", "\ndef ", "\nfunc ", "\nfn ", "\n# ", "\n\n", "\n", " ")


def read(path: str, start: int = 1, end: int | None = None) -> str:
    """Lines of a file with their numbers, both ends included.

    At most 200 lines at once; the last line then says how to go on.
    """
    files, text = present.context.files, present.context.text
    if path not in files:
        files.require(path)
    first, chars = files.places[path]
    last = first + chars
    start = max(start, 1)
    position = _line_start(text, first, last, start)
    shown = []
    number = start
    most = start + LINES - 1 if end is None else min(end, start + LINES - 1)
    while position < last and number <= most:
        stop = text.find("\n", position, last)
        stop = last if stop < 0 else stop
        line = text[position : min(stop, position + LINE_CHARS)]
        cut = f"… [{stop - position:,} characters]" if stop - position > LINE_CHARS else ""
        shown.append(f"{number:6}: {line}{cut}")
        position, number = stop + 1, number + 1
    if position < last and (end is None or number <= end):
        shown.append(f"… more: read({path!r}, {number})")
    return "\n".join(shown) or f"{path} ends before line {start:,}"


class Chunk(str):  # noqa: SLOT000 - a str takes no slots beside its characters
    """A piece of text. `path`, `first` and `last` are its file and lines, None of a plain text."""

    path: str | None = None
    first: int | None = None
    last: int | None = None


def chunks(text: str, tokens: int = 2000, overlap: int = 0) -> list[Chunk]:
    """A text, or the file of that path, in pieces for sub-models, cut at line ends.

    A piece holds about `tokens` tokens at most, at 4 characters each, and begins with the last
    `overlap` tokens of the one before. A file's pieces know their .path, .first and .last line.
    Without overlap they make up the whole.
    """
    most, again = tokens * CHARS_PER_TOKEN, overlap * CHARS_PER_TOKEN
    if most < 1 or not 0 <= again < most:
        raise ValueError("tokens must be at least 1, and overlap less than tokens")
    found = []
    path = text if text in present.context.files else None
    whole = text if path is None else present.context.files[path]
    counted, line = 0, 1
    for start, end in _cuts(whole, most, again):
        chunk = Chunk(whole[start:end])
        if path is not None:
            line += whole.count("\n", counted, start)
            counted = start
            chunk.path, chunk.first = path, line
            chunk.last = line + whole.count("\n", start, max(end - 1, start))
        found.append(chunk)
    return found


def _cuts(text: str, most: int, again: int) -> Iterator[tuple[int, int]]:
    start, size = 0, len(text)
    while size - start > most:
        end = _border(text, start + most - (most - again) // 3, start + most)
        yield start, end
        start = end - again
    if start < size:
        yield start, size


def _border(text: str, least: int, most: int) -> int:
    for border in BORDERS:
        at = text.rfind(border, least, most)
        if at >= 0:
            # A line's end belongs to it, and a space to the word before.
            return at + (2 if border == "\n\n" else 1)
    return most


def _line_start(text: str, first: int, last: int, number: int) -> int:
    """The offset of a line, found without a list of those before it; `last` if there is none."""
    left, position = number - 1, first
    while left and position < last:
        end = min(position + BLOCK_CHARS, last)
        breaks = text.count("\n", position, end)
        if breaks >= left:
            for _ in range(left):
                position = text.find("\n", position, end) + 1
            return position
        left, position = left - breaks, end
    return position
