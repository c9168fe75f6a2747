"""Scores of answers, 0 to 1: official ones by name, and marks, each made with its gold.

A mark takes an answer that states the gold and adds places and quotes, as the engine asks for.
"""

import ast
import re
from collections.abc import Callable, Collection, Hashable, Sequence
from itertools import pairwise
from typing import TypeVar

from rlm_mcp.evals.reading import (
    NOTHING,
    bare,
    listed,
    number_in,
    numbers_in,
    places_in,
    without_places,
)

A = TypeVar("A")
B = TypeVar("B")
H = TypeVar("H", bound=Hashable)
Mark = Callable[[str], float]
Place = Collection[tuple[str, int]]
"""Every path and line that counts as the gold place."""

COMPARED = ("more common", "less common", "same frequency")
SHORT_CHARS = 20
NUMERIC_DECAY = 0.75
MOST_ERROR = 1_000
_ARROW = re.compile(r"\s*(?:->|→|=>|,|\n)\s*")
_CALLED = re.compile(r"\(\)$")
_NONE_FIRST = re.compile(r"(?i)\W{0,9}(?:none|nothing|n/a|not found)\W{0,2}(?:[.\n;:(—–]|- )")
_NONE_SAID = re.compile(
    r"(?i)\bno (?:such|chain|path|record|records|message|messages|calls?)\b"
    r"|\bthere (?:is|are|was|were) none\b"
)
_LETTER_TOLD = re.compile(r"\b(?i:answer(?: is)?)[\s:*]*(?:\W?([A-D])(?![\w'])|\(([a-d])\))")
_LETTER_ALONE = re.compile(r"(?is)\W*([A-D])(?:\W*|[).:*]+\s.*)")
_OF_ALL = re.compile(r"\bof (?:the |all )*[\d,]+")


def oolong_score(answer: str, gold: str, *, numeric: bool) -> float:
    """The score of OOLONG's own evaluation (arXiv 2511.02817), without its type for days.

    What counts is the text behind the last colon, or a short answer as a whole, or the last word of
    a long one. It must be the gold exactly; of a longer one that holds a comparison, that counts.
    Numbers that are off by n score 0.75^n.
    """
    said = _said(answer)
    if said == gold:
        return 1.0
    if said in COMPARED:
        return float(said in gold)
    if numeric:
        try:
            return decayed(int(said) - int(gold))
        except ValueError:
            return 0.0
    return 0.0


def oolong_lenient(answer: str, gold: str, *, numeric: bool) -> float:
    """The score that models were trained on: capitals do not count, nor does what stands around.

    An answer that holds the gold anywhere is right, so that 12 is right where 2 is.
    """
    answer, gold = answer.lower(), gold.lower()
    return 1.0 if gold in answer else oolong_score(answer, gold, numeric=numeric)


def _said(answer: str) -> str:
    if ":" not in answer:
        return answer if len(answer) < SHORT_CHARS else (answer.split() or [""])[-1]
    said = re.sub(r"[*\[\]]", "", answer.rsplit(":", 1)[1].strip())
    if len(said) >= SHORT_CHARS:
        return next((phrase for phrase in COMPARED if phrase in said), said)
    return said


def decayed(error: float) -> float:
    """0.75 to the power of the error, as OOLONG scores numbers (arXiv 2511.02817)."""
    return float(NUMERIC_DECAY ** min(abs(error), MOST_ERROR))


def f1(said: Collection[H], gold: Collection[H]) -> float:
    """The F1 of two sets; of two empty ones it is 1."""
    if not said and not gold:
        return 1.0
    return 2 * len(set(said) & set(gold)) / (len(said) + len(gold))


def floor_of(gold_pairs: int, users: int) -> float:
    """The F1 of the answer that names every pair of so many users."""
    all_pairs = users * (users - 1) // 2
    return 2 * gold_pairs / (all_pairs + gold_pairs) if gold_pairs else 0.0


def recall(answer: str, gold: Sequence[str]) -> float:
    """The share of the gold strings that stand in the answer, in any case (RULER's score)."""
    answer = answer.lower()
    return sum(each.lower() in answer for each in gold) / len(gold)


def clean_recall(answer: str, gold: Sequence[str], decoys: Sequence[str]) -> float:
    """The same, but 0 as soon as a decoy stands in the answer too."""
    answer = answer.lower()
    return 0.0 if any(each.lower() in answer for each in decoys) else recall(answer, gold)


def is_exact(answer: str, gold: str) -> bool:
    """Whether an answer is the gold, alone or as the only number of a sentence."""
    answer = answer.strip()
    return answer == gold or (
        gold.isdigit() and re.findall(r"\d+", answer.replace(",", "")) == [gold]
    )


def says(answer: str, gold: str) -> float:
    """1 if the gold is the only number stated or the last one, but for the M of an `N of M`."""
    said = numbers_in(_OF_ALL.sub(" ", without_places(answer)))
    return float(said[-1:] == [gold])


def set_f1(gold: Collection[str], key: Callable[[str], str] = str.strip) -> Mark:
    """F1 of the set an answer lists; `key` brings entries to one form. None for none is 1."""
    wanted = {key(entry) for entry in gold}

    def score(answer: str) -> float:
        return f1({key(entry) for entry in listed(answer)}, wanted) if answer.strip() else 0.0

    return _with_places(score)


def number(gold: int) -> Mark:
    """1 for the number exactly, and three quarters of it for each it is off."""

    def score(answer: str) -> float:
        said = number_in(answer)
        return 0.0 if said is None else decayed(said - gold)

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
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            said = text
        return float(type(said) is type(gold) and said == gold)

    return _with_places(score)


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
        said = [bare(entry).lower() for entry in _ARROW.split(answer.strip("[] "))]
        wanted = [entry.lower() for entry in gold]
        return _in_both(said, wanted, str.__eq__) / max(len(said), len(wanted))

    return _with_places(score)


def name(gold: str) -> Mark:
    """1 for a dotted name alone, whatever packages or file it is said to be in before it."""

    def score(answer: str) -> float:
        said = re.split(r"(?:\.py)?::?|\s", _CALLED.sub("", bare(answer)))[-1]
        said = _CALLED.sub("", bare(said))
        return float(said == gold or said.endswith(f".{gold}"))

    return _with_places(score)


def letter(gold: str) -> Mark:
    """1 for the right letter, alone or as LongBench v2 asks for it: "The correct answer is (A)"."""

    def score(answer: str) -> float:
        told = _LETTER_TOLD.findall(answer)
        alone = _LETTER_ALONE.fullmatch(answer.strip())
        said = "".join(told[-1]) if told else alone[1] if alone else ""
        return float(said.upper() == gold)

    return score


def nothing(answer: str) -> float:
    """1 for an answer that says there is none, and names no place as if there were."""
    stated = answer.strip()
    says_so = NOTHING.fullmatch(stated) or _NONE_FIRST.match(stated) or _NONE_SAID.search(stated)
    return float(bool(says_so) and not places_in(answer))


def call_chain(ends: tuple[str, str], calls: Callable[[str, str], bool]) -> Mark:
    """The share of the steps of an answer's chain that are calls; half of it with wrong ends."""

    def score(answer: str) -> float:
        said = [_CALLED.sub("", bare(entry)) for entry in _ARROW.split(answer.strip("[] "))]
        steps = list(pairwise(said))
        if not steps:
            return 0.0
        right = sum(calls(*step) for step in steps) / len(steps)
        return right if (said[0], said[-1]) == ends else right / 2

    return _with_places(score)


def _with_places(score: Mark) -> Mark:
    """The better score of an answer as it is and without its places."""
    return lambda answer: max(score(answer), score(without_places(answer)))


def _in_both(a: Sequence[A], b: Sequence[B], same: Callable[[A, B], bool]) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for left in a:
        above, row = row, [0]
        for column, right in enumerate(b):
            row.append(above[column] + 1 if same(left, right) else max(row[-1], above[column + 1]))
    return row[-1]
