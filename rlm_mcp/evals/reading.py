"""What an answer says: its numbers, places, pairs and entries, apart from what it rests on."""

import json
import re

__all__ = ["bare", "listed", "number_in", "numbers_in", "pairs_in", "places_in", "without_places"]

Pair = tuple[int, int]

NOTHING = re.compile(r"(?i)\W*(?:none|no|nothing|never|n/a|not found|0)\W*")
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
# Longer ones are no line and no user, and int() refuses those of thousands of digits.
_PLACE = re.compile(r"(?<![\w./-])([\w./-]++(?<=\w)):(\d{1,18})(?!\d)")
_PAIR = re.compile(r"(?<![\d,])(\d{1,18})(?!\d)\s*,\s*(\d{1,18})(?!\d)")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_MARKUP = " \t\n`'\"*"
_QUOTE = r"[ \t)\]:–—-]{0,8}(?:\"[^\"\n]*+\"|“[^”\n]*+”|`[^`\n]*+`)"
# With its column or last line. Times of a day look alike, and are no answer either.
_AT = r"(?<![\w./-])[\w./-]++:L?\d+(?:[-–:]L?\d+)*"
_BACKED = re.compile(rf"(?:\b(?:in|at|see|from) )?(?:`{_AT}`|{_AT})(?:{_QUOTE})?")
_BACKING = re.compile(
    r"(?i)\n[^\w\n]{0,8}(?:(?:evidence|sources?|places?|quotes?|references?)\b|[\w./-]++:L?\d)"
    r"(?:(?!\n[^\n]*\banswer\b)[\s\S])*"
)
_HOLLOW = re.compile(r"\([\s,;`]*\)|\[[\s,;`]*\]")
_ASIDE = re.compile(r"\([^()\n]*\)")


def bare(text: str) -> str:
    """Without markup around it and the stop behind it; an underscore of a name stays."""
    return text.strip(_MARKUP).rstrip(".,;").strip(_MARKUP)


def listed(answer: str) -> list[str]:
    """The entries of an answer that lists: a JSON list, or split at commas and lines."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, list):
        return [str(entry) for entry in found]
    entries = [bare(_BULLET.sub("", entry)) for entry in re.split(r"[,;\n]", answer.strip("[] "))]
    return [entry for entry in entries if entry and not NOTHING.fullmatch(entry)]


def without_places(answer: str) -> str:
    """What an answer states, without the places and quotes that the engine asks it to add.

    Goes: `path:line` with the quote behind it, and lines behind the first that begin with a place
    or are headed as evidence, up to one that speaks of the answer.
    """
    return _HOLLOW.sub("", _BACKED.sub(" ", _BACKING.sub("", answer))).strip()


def numbers_in(answer: str) -> list[str]:
    """The numbers that an answer states, in order, without the commas of thousands."""
    return [number.rstrip(",").replace(",", "") for number in _NUMBER.findall(answer)]


def number_in(answer: str) -> float | None:
    """The first number after the last colon, None if there is none.

    Places and what stands in parentheses count only where nothing else holds a number.
    """
    stated = without_places(answer)
    plain = _ASIDE.sub("", stated)
    for text in (plain.rpartition(": ")[2], plain, stated, answer):
        if found := numbers_in(text):
            return float(found[0])
    return None


def places_in(answer: str) -> list[tuple[str, int]]:
    """The places that an answer names as path:line, in its order."""
    return [
        (path.removeprefix("./"), int(line))
        for path, line in _PLACE.findall(answer)
        if re.search(r"\w\.\w+$", path)
    ]


def pairs_in(answer: str) -> frozenset[Pair]:
    """All pairs of numbers in an answer, as `(a, b)` or `a,b`, the smaller number first."""
    found = ((int(one), int(two)) for one, two in _PAIR.findall(answer))
    return frozenset((min(pair), max(pair)) for pair in found)
