"""Pairs of users by what they asked, after OOLONG-Pairs (arXiv 2512.24601), scored as set F1."""

from collections.abc import Sequence

from rlm_mcp.evals.items import Item
from rlm_mcp.evals.planner import program
from rlm_mcp.evals.predicates import RELATIONS, Relation
from rlm_mcp.evals.reading import pairs_in
from rlm_mcp.evals.rows import (
    KINDS_OF_ANSWER,
    Labeller,
    Plan,
    Row,
    by_user,
    draw,
    labeller,
    written,
)
from rlm_mcp.evals.scoring import f1, floor_of
from rlm_mcp.evals.wording import Reading

VARIANTS: tuple[Reading, ...] = ("semantic", "lexical", "explicit")
CHARS_PER_USER = 320
FEWEST_USERS, MOST_USERS = 6, 600  # more would make answers longer than a run may give
USER_SKEW = 1.1

_QUESTION = """{kinds}

Find all pairs of two different users such that {relation}. A line counts by the label of its
question.

Answer with one pair a line and nothing else, as (id, id) with the smaller id first; each pair
once."""
_PAIRING = """
from collections import defaultdict

counted, dated = defaultdict(Counter), defaultdict(lambda: defaultdict(list))
for day, user, label in labelled:
    counted[user][label] += 1
    dated[user][label].append(day)

def one(counts, days):
    return {one}

def other(counts, days):
    return {other}

users = sorted(counted, key=int)
ones = {user for user in users if one(counted[user], dated[user])}
others = {user for user in users if other(counted[user], dated[user])}
pairs = [
    (a, b)
    for at, a in enumerate(users)
    for b in users[at + 1:]
    if (a in ones and b in others) or (b in ones and a in others)
]
FINAL("\\n".join(f"({a}, {b})" for a, b in pairs) or "none")
"""


def items(chars: int, seed: int, variant: Reading = "semantic") -> list[Item]:
    """The twenty relations over one text.

    One that holds of no pair in it is left out: to say nothing would be right.
    """
    users = min(max(chars // CHARS_PER_USER, FEWEST_USERS), MOST_USERS)
    rows = draw(Plan(chars, users, USER_SKEW, variant), seed)
    context = written(rows, variant)
    leaf = labeller(rows, seed)
    made = (_item(relation, context, rows, leaf) for relation in RELATIONS)
    return [item for item in made if item.gold]


def _item(relation: Relation, context: str, rows: Sequence[Row], leaf: Labeller) -> Item:
    gold = relation.pairs(rows)
    code = _PAIRING.replace("{one}", relation.one.code())

    def ceiling(accuracy: float) -> float:
        return f1(relation.pairs(leaf.relabelled(rows, accuracy)), gold)

    return Item(
        id=f"pairs/{relation.number:02}",
        kind="symmetric" if relation.is_symmetric else "asymmetric",
        context=context,
        question=_QUESTION.format(kinds=KINDS_OF_ANSWER, relation=relation.words()),
        gold="\n".join(f"({a}, {b})" for a, b in sorted(gold)),
        score=lambda answer: f1(pairs_in(answer), gold),
        program=program(code.replace("{other}", relation.other.code())),
        leaf=leaf,
        ceiling=ceiling,
        floor=floor_of(len(gold), len(by_user(rows))),
    )
