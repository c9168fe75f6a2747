"""What a helper is asked about: all that is loaded, a file, a stretch of one, or any text."""

from collections.abc import Iterator
from typing import NamedTuple

from .contexts import present


class Window(str):  # noqa: SLOT000 - a str takes no slots beside its characters
    """A stretch of a file, `path`; `first` and `last` are its lines, counted when asked for."""

    path: str
    start: int

    @property
    def first(self) -> int:
        """Its first line, from 1."""
        origin, _ = present.context.files.places[self.path]
        return present.context.text.count("\n", origin, self.start) + 1

    @property
    def last(self) -> int:
        """Its last line, from 1."""
        return self.first + max(self.count("\n") - self.endswith("\n"), 0)


class Span(NamedTuple):
    """Characters `start` to `end` of `text`; `origin` is where line 1 of `path` begins."""

    text: str
    start: int
    end: int
    origin: int
    path: str | None

    def lines(self) -> Iterator[tuple[int, int]]:
        """Start and end of each line, without its newline."""
        position = self.start
        while position < self.end:
            stop = self.text.find("\n", position, self.end)
            stop = self.end if stop < 0 else stop
            yield position, stop
            position = stop + 1

    def line_start(self, offset: int) -> int:
        """Where the first line begins that does not begin before `offset`; the end if none does."""
        if offset <= self.start:
            return self.start
        stop = self.text.find("\n", offset - 1, self.end)
        return self.end if stop < 0 else stop + 1

    def line_of(self, offset: int) -> int:
        """The line, from 1, that a character stands in."""
        return self.text.count("\n", self.origin, offset) + 1


def spans_of(text: str | None) -> list[Span]:
    """The stretches that `text` names: None is every file, a path that file; else it is the text.

    A Window is looked at where it stands.
    """
    context = present.context
    places = context.files.places
    if text is None:
        return [Span(context.text, at, at + n, at, path) for path, (at, n) in places.items()]
    if isinstance(text, Window):
        origin, _ = places[text.path]
        return [Span(context.text, text.start, text.start + len(text), origin, text.path)]
    if len(text) < 4096 and text in places:
        start, chars = places[text]
        return [Span(context.text, start, start + chars, start, text)]
    return [Span(text, 0, len(text), 0, None)]
