"""Scores of answers, 0 to 1: those of OOLONG's data set and training, of pair sets, of recall."""

import re
from collections.abc import Collection, Sequence

COMPARED = ("more common", "less common", "same frequency")
SHORT_CHARS = 20
NUMERIC_DECAY = 0.75

Pair = tuple[int, int]

_PAIR = re.compile(r"(?<![\d,])[(\[]?\s*(\d+)\s*,\s*(\d+)\s*[)\]]?(?!\d)")


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
            return float(NUMERIC_DECAY ** abs(int(said) - int(gold)))
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


def pairs_in(answer: str) -> frozenset[Pair]:
    """All pairs of numbers in an answer, as `(a, b)` or `a,b`, the smaller number first."""
    found = ((int(one), int(two)) for one, two in _PAIR.findall(answer))
    return frozenset((min(pair), max(pair)) for pair in found)


def f1(answer: Collection[Pair], gold: Collection[Pair]) -> float:
    """The F1 of two sets; of two empty ones it is 1."""
    if not answer and not gold:
        return 1.0
    return 2 * len(set(answer) & set(gold)) / (len(answer) + len(gold))


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
