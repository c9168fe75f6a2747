"""The loaded contexts as code sees them: `context`, `files` and `contexts`."""

import bisect
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any, TypeVar

from .views import Lines

Item = TypeVar("Item")
SHOWN_NAMES = 8
NEAREST_OF = 20_000
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Named(Mapping[str, Item]):
    """A read-only mapping whose KeyError names the nearest key."""

    what = "item"

    def find(self, name: object) -> Item | None:
        """The item of that name, None if there is none."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Item:
        return self.require(name)

    def require(self, name: str) -> Item:
        """The item of that name.

        Raises:
            KeyError: there is none.
        """
        item = self.find(name)
        if item is None:
            near = difflib.get_close_matches(str(name), islice(self, NEAREST_OF), n=1, cutoff=0.4)
            meant = f"did you mean {near[0]!r}?" if near else f"there are {len(self):,}."
            raise KeyError(f"no {self.what} is named {name!r}; {meant}")
        return item

    def get(self, name: str, default: Any = None) -> Any:
        """The item of that name, or `default`."""
        item = self.find(name)
        return default if item is None else item

    def __contains__(self, name: object) -> bool:
        return self.find(name) is not None

    def __repr__(self) -> str:
        names = ", ".join(repr(name) for name in islice(self, SHOWN_NAMES))
        more = ", ..." if len(self) > SHOWN_NAMES else ""
        return f"<{len(self):,} {self.what}s by name: {names}{more}>"


class Files(Named[str]):
    """Path -> text of every document, cut from the context when asked for.

    `files.at(offset)` gives the path and the line, counted from 1, of a place in `context`.
    `files("src/**/*.py")` are those whose path matches: `*` stays in a folder, `**` crosses them,
    and a pattern without a slash matches in every folder.
    """

    what = "file"

    def __init__(self, text: str, manifest: bytes) -> None:
        self._text = text
        self._manifest = manifest

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """Path -> first character and number of characters."""
        documents = json.loads(self._manifest)["documents"] if self._manifest else []
        return {path: (start, chars) for path, start, chars, *_ in documents}

    @cached_property
    def _starts(self) -> list[tuple[int, int, str]]:
        return sorted((start, chars, path) for path, (start, chars) in self.places.items())

    def __call__(self, pattern: str) -> "Files":
        """The files whose path matches a glob."""
        matches = path_pattern(pattern).fullmatch
        narrowed = Files(self._text, self._manifest)
        narrowed.places = {path: at for path, at in self.places.items() if matches(path)}
        narrowed._starts = self._starts  # `at` answers for all of the context
        return narrowed

    def find(self, name: object) -> str | None:
        """The document's text."""
        place = self.places.get(str(name))
        return None if place is None else self._text[place[0] : sum(place)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def at(self, offset: int) -> tuple[str, int]:
        """The document and the line at `offset`; a header line belongs to what it heads.

        Raises:
            IndexError: the context does not reach that far.
        """
        if not 0 <= offset < len(self._text):
            raise IndexError(f"offset {offset:,} is outside 0..{len(self._text):,}")
        index = max(bisect.bisect_right(self._starts, offset, key=lambda place: place[0]) - 1, 0)
        start, chars, path = self._starts[index]
        if offset >= start + chars and index + 1 < len(self._starts):
            start, _, path = self._starts[index + 1]
        return path, self._text.count("\n", start, max(start, offset)) + 1


@lru_cache
def path_pattern(glob: str) -> re.Pattern[str]:
    """What a glob means: `*` and `?` stay in a folder, `**` does not; [sets] as in a shell."""
    parts = ["" if "/" in glob else "(?:.*/)?"]
    for token in re.finditer(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", glob, re.DOTALL):
        found = token[0]
        if found in _WILD:
            parts.append(_WILD[found])
        elif len(found) > 1:
            inner = found[1:-1].replace("\\", "\\\\")
            parts.append(f"(?!/)[{'^' + inner[1:] if inner.startswith('!') else inner}]")
        else:
            parts.append(re.escape(found))
    return re.compile("".join(parts), re.DOTALL)


class Context:
    """One loaded context: `.text` is the whole of it, `.files` its documents by path."""

    __slots__ = ("files", "name", "text")

    def __init__(self, name: str, text: str, manifest: bytes) -> None:
        self.name = name
        self.text = text
        self.files = Files(text, manifest)

    def __repr__(self) -> str:
        return (
            f"<context {self.name!r}: .text is a str of {len(self.text):,} characters,"
            f" .files maps {len(self.files):,} paths to their text>"
        )


class Contexts(Named[Context]):
    """Name -> context, in the order they were given."""

    what = "context"

    def __init__(self, contexts: list[Context]) -> None:
        self._contexts = {context.name: context for context in contexts}

    def find(self, name: object) -> Context | None:
        """The context of that name."""
        return self._contexts.get(str(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._contexts)

    def __len__(self) -> int:
        return len(self._contexts)


class Present:
    """What is loaded now, for the REPL's helpers: `context` is the first, an empty one if none."""

    def __init__(self) -> None:
        self.context = Context("", "", b"")


present = Present()


def names_of(contexts: list[Context]) -> dict[str, Any]:
    """What code finds by name: `contexts`; and of the first, `context`, its `lines` and `files`."""
    first = present.context = contexts[0] if contexts else Context("", "", b"")
    return {
        "context": first.text,
        "lines": Lines(first.text, has_rest=False),
        "files": first.files,
        "contexts": Contexts(contexts),
    }
