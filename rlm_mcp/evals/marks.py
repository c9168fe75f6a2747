"""Scorers: each is made with the gold and gives 0 to 1 for an answer."""

import ast
import json
import re
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import TypeVar

__all__ = [
    "call_chain",
    "letter",
    "listed",
    "literal",
    "name",
    "nothing",
    "number",
    "place",
    "places_in_order",
    "sequence",
    "set_f1",
    "within",
]
A = TypeVar("A")
B = TypeVar("B")
Mark = Callable[[str], float]
NUMERIC_DECAY = 0.75
# Every path and line that counts as the gold place.
Place = Collection[tuple[str, int]]
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?")
_PLACE = re.compile(r"([\w./-]+\.\w+):(\d+)")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_NOTHING = re.compile(r"(?i)\W*(?:none|no|nothing|never|n/a|not found|0)\b")
_MARKUP = " \t\n`'\"*"
_ARROW = re.compile(r"\s*(?:->|→|=>|,|\n)\s*")


def _bare(text: str) -> str:
    """Without markup around it and the stop behind it; an underscore of a name stays."""
    return text.strip(_MARKUP).rstrip(".,;").strip(_MARKUP)


def listed(answer: str) -> list[str]:
    """The entries of an answer that lists: a JSON list, or split at commas and lines."""
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if isinstance(found, list):
        return [str(entry) for entry in found]
    entries = [_bare(_BULLET.sub("", entry)) for entry in re.split(r"[,;\n]", answer.strip("[] "))]
    return [entry for entry in entries if entry and not _NOTHING.fullmatch(entry)]


def set_f1(gold: Collection[str], key: Callable[[str], str] = str.strip) -> Mark:
    """F1 of the set an answer lists; `key` brings entries to one form. None for none is 1."""
    wanted = {key(entry) for entry in gold}

    def score(answer: str) -> float:
        said = {key(entry) for entry in listed(answer)}
        if not said and not wanted:
            return float(bool(answer.strip()))
        return 2 * len(said & wanted) / (len(said) + len(wanted))

    return score


def number_in(answer: str) -> float | None:
    """The first number after the last colon, None if there is none."""
    tail = answer.rpartition(": ")[2]
    found = _NUMBER.search(tail) or _NUMBER.search(answer)
    return float(found[0].replace(",", "")) if found else None


def number(gold: int) -> Mark:
    """0.75 to the power of the error, as OOLONG scores counts; 1 only where it is exact."""

    def score(answer: str) -> float:
        said = number_in(answer)
        return 0.0 if said is None else NUMERIC_DECAY ** abs(said - gold)

    return score


def within(gold: float, share: float) -> Mark:
    """1 for a number at most `share` of the gold away from it, else 0."""

    def score(answer: str) -> float:
        said = number_in(answer)
        return float(said is not None and abs(said - gold) <= share * abs(gold))

    return score


def literal(gold: object) -> Mark:
    """1 for a Python literal equal to the gold and of its type; a bare text is taken as a str."""

    def score(answer: str) -> float:
        text = answer.strip().strip("`").strip()
        try:
            said = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            said = text
        return float(type(said) is type(gold) and said == gold)

    return score


def places_in(answer: str) -> list[tuple[str, int]]:
    """The places that an answer names as path:line, in its order."""
    return [(path.removeprefix("./"), int(line)) for path, line in _PLACE.findall(answer)]


def place(gold: Place) -> Mark:
    """1 for an answer that names the gold place, and no other."""

    def score(answer: str) -> float:
        said = places_in(answer)
        return float(bool(said) and all(at in gold for at in said))

    return score


def places_in_order(gold: Sequence[Place]) -> Mark:
    """Half for the first place exact, half for the share of all places named in order."""

    def score(answer: str) -> float:
        said = places_in(answer)
        if not said:
            return 0.0
        found = _in_both(said, gold, lambda at, wanted: at in wanted)
        first = said[0] in gold[0]
        return (first + found / max(len(gold), len(said))) / 2

    return score


def sequence(gold: Sequence[str]) -> Mark:
    """The share of entries that stand in the gold's order; 1 only for exactly the gold."""

    def score(answer: str) -> float:
        said = [_bare(entry).lower() for entry in _ARROW.split(answer.strip("[] "))]
        wanted = [entry.lower() for entry in gold]
        return _in_both(said, wanted, str.__eq__) / max(len(said), len(wanted))

    return score


def name(gold: str) -> Mark:
    """1 for a dotted name alone, whatever packages or file it is said to be in before it."""

    def score(answer: str) -> float:
        said = re.sub(r"\(\)$", "", _bare(answer))
        said = re.split(r"(?:\.py)?::?|\s", said)[-1]
        return float(said == gold or said.endswith(f".{gold}"))

    return score


def letter(gold: str) -> Mark:
    """1 for the right letter, alone or as LongBench v2 asks for it: "The correct answer is (A)"."""
    form = re.compile(r"(?i)correct answer is\s*\W*([A-D])\b|^\W*([A-D])\b(?:\W|$)")

    def score(answer: str) -> float:
        found = form.search(answer.strip())
        return float(found is not None and (found[1] or found[2]).upper() == gold)

    return score


def nothing(answer: str) -> float:
    """1 for an answer that says there is none, and names no place as if there were."""
    return float(bool(_NOTHING.match(answer)) and not places_in(answer))


def call_chain(ends: tuple[str, str], calls: Callable[[str, str], bool]) -> Mark:
    """The share of the steps of an answer's chain that are calls; half of it with wrong ends."""

    def score(answer: str) -> float:
        said = [re.sub(r"\(\)$", "", _bare(entry)) for entry in _ARROW.split(answer.strip("[] "))]
        steps = list(pairwise(said))
        if not steps:
            return 0.0
        right = sum(calls(*step) for step in steps) / len(steps)
        return right if (said[0], said[-1]) == ends else right / 2

    return score


def _in_both(a: Sequence[A], b: Sequence[B], same: Callable[[A, B], bool]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for left in a:
        above, row = row, [0]
        for column, right in enumerate(b):
            row.append(above[column] + 1 if same(left, right) else max(row[-1], above[column + 1]))
    return row[-1]
