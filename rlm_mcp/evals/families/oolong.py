"""Counts over labelled lines, after OOLONG-synth (arXiv 2511.02817); scored as its data set is."""

from functools import partial
from random import Random

from rlm_mcp.evals.items import Item
from rlm_mcp.evals.months import before_after, month_most, months_more
from rlm_mcp.evals.planner import program
from rlm_mcp.evals.rows import KINDS_OF_ANSWER, Labeller, Plan, Row, draw, labeller, written
from rlm_mcp.evals.scoring import oolong_lenient, oolong_score
from rlm_mcp.evals.tasks import (
    Maker,
    Task,
    most_maker,
    numeric,
    numeric_maker,
    rank_maker,
    relative,
    relative_same,
    represented_n_times,
    user_with_most,
)
from rlm_mcp.evals.wording import Reading

VARIANTS: tuple[Reading, ...] = ("semantic", "lexical", "explicit")
MAKERS: tuple[Maker, ...] = (
    rank_maker("most", "most", 0),
    rank_maker("least", "least", -1),
    rank_maker("second_most", "second most", 1),
    relative,
    relative_same,
    numeric,
    most_maker("user_most", 1),
    numeric_maker("user_numeric", 1),
    most_maker("users_most", 3),
    numeric_maker("users_numeric", 3),
    user_with_most,
    represented_n_times,
    month_most,
    months_more,
    before_after,
)
CHARS_PER_USER = 1_500
FEWEST_USERS, MOST_USERS = 4, 250
USER_SKEW = 0.8
TEXTS_TRIED = 60


def items(chars: int, seed: int, variant: Reading = "semantic") -> list[Item]:
    """A question of each kind over one text.

    A question whose answer hangs on less than 1 % of the rows, or on fewer than two of them, is not
    asked: texts are drawn until one gives a question of every kind, and if none does, the best of
    them is taken. Texts below about 4,000 characters lack some kinds.
    """
    users = min(max(chars // CHARS_PER_USER, FEWEST_USERS), MOST_USERS)
    plan = Plan(chars, users, USER_SKEW, variant)
    best_rows: tuple[Row, ...] = ()
    best: list[Task] = []
    for attempt in range(TEXTS_TRIED):
        rows = draw(plan, seed * TEXTS_TRIED + attempt)
        random = Random(seed)
        made = [task for make in MAKERS if (task := make(rows, random)) is not None]
        if len(made) > len(best):
            best_rows, best = rows, made
        if len(best) == len(MAKERS):
            break
    context = written(best_rows, variant)
    leaf = labeller(best_rows, seed)
    return [_item(task, context, best_rows, leaf) for task in best]


def _item(task: Task, context: str, rows: tuple[Row, ...], leaf: Labeller) -> Item:
    gold = task.solve(rows)
    score = partial(oolong_score, gold=gold, numeric=task.numeric)

    def ceiling(accuracy: float) -> float:
        return score(task.shape.format(task.solve(leaf.relabelled(rows, accuracy))))

    closing = f"FINAL({task.shape!r}.format(value))"
    return Item(
        id=f"oolong/{task.kind}",
        kind=task.kind,
        context=context,
        question=f"{KINDS_OF_ANSWER}\n\n{task.question}\n\nAnswer with this line alone, without"
        f" places: {task.shape.format('___')}",
        gold=gold,
        score=score,
        lenient=partial(oolong_lenient, gold=gold, numeric=task.numeric),
        program=program(f"{task.code}\n{closing}", task.kept),
        leaf=leaf,
        ceiling=ceiling,
    )
