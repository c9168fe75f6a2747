"""Text cut and counted for readers."""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def clip(text: str, most: int) -> str:
    """Head and tail of a text longer than `most` characters, with its true size between them."""
    if len(text) <= most:
        return text
    edge = most // 2
    return f"{text[:edge]}\n… [{len(text):,} characters] …\n{text[-edge:]}"


def weight(value: Any) -> int:
    """Bytes of its JSON in UTF-8 without spaces: what hosts measure of a result."""
    return len(_as_json(value).encode("utf-8", "surrogatepass"))


def clip_json(text: str, most: int) -> str:
    """As `clip`, with `most` for the bytes it takes in JSON: quotes, line ends, wide characters."""
    if len(text) <= most and weight(text) <= most:
        return text
    mark = f"\n… [{len(text):,} characters] …\n"
    room = max(0, most - weight(mark))

    def edges(edge: int) -> int:
        return weight(text[:edge] + text[len(text) - edge :])

    edge = max(0, bisect_right(range(min(len(text), room) // 2 + 1), room, key=edges) - 1)
    return f"{text[:edge]}{mark}{text[len(text) - edge :]}"


def within(items: Sequence[T], most: int, weigh: Callable[[T], int] = weight) -> list[T]:
    """The first of them that weigh at most `most` together, commas included."""
    taken: list[T] = []
    for item in items:
        most -= weigh(item) + 1
        if most < 0:
            break
        taken.append(item)
    return taken


def paged(items: Iterable[T], most: int, weigh: Callable[[T], int]) -> list[list[T]]:
    """At least one page, each of items that weigh at most `most` together, or of a single one."""
    pages: list[list[T]] = [[]]
    room = most
    for item in items:
        heavy = weigh(item)
        if pages[-1] and heavy > room:
            pages.append([])
            room = most
        pages[-1].append(item)
        room -= heavy
    return pages


def pieces(text: str, most: int) -> list[str]:
    """The text in parts of at most `most` bytes of JSON each; one empty part if it is empty."""
    if 6 * len(text) + 2 <= most:  # the most that a character takes, as \u0001 does
        return [text]
    parts: list[str] = []
    start = 0
    while start < len(text) or not parts:
        ahead = text[start : start + most]
        fit = bisect_right(range(1, len(ahead) + 1), most, key=lambda end: weight(ahead[:end]))
        parts.append(ahead[: max(1, fit)])
        start += max(1, fit)
    return parts


def count(number: int, noun: str) -> str:
    """`1 document`, `1,204 documents`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(amount: int) -> str:
    """Bytes in the unit that suits them: `512 bytes`, `1.5 GB` (of 1000 MB each)."""
    if amount < 1000:
        return count(amount, "byte")
    for unit, factor in (("kB", 10**3), ("MB", 10**6)):
        if amount < 999.5 * factor:
            return f"{amount / factor:.3g} {unit}"
    return f"{amount / 10**9:,.3g} GB" if amount < 10**12 else f"{amount / 10**9:,.0f} GB"


def sendable(text: str) -> str:
    """The text with `?` for each lone surrogate: those have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")
