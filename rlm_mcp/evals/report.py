"""Results of an evaluation by kind and in all, as a table for people and as JSON."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from rlm_mcp.evals.running import Result
from rlm_mcp.types import Usage
from rlm_mcp.words import clip, count

RIGHT = 1.0
SHOWN_CHARS = 2_000
SHOWN_PLACES = 20
TOTAL = "all"


@dataclass(frozen=True, slots=True)
class Setup:
    """What was evaluated: the family with its sentence, the text's size, the seed.

    `accuracy` is that of a scripted leaf, None where models were asked. `is_all`: more text was
    asked for than the family has.
    """

    family: str
    about: str
    chars: int
    tokens: int
    seed: int
    accuracy: float | None
    is_all: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """The results of one kind; all figures but counts are means of its items.

    `efficiency` is score / ceiling. `over_floor` is (score - floor) / (1 - floor). `silent_wrong`
    counts answers that are not right and that neither a limit nor a note of their own marks.
    """

    kind: str
    items: int
    score: float
    ceiling: float | None
    efficiency: float | None
    lenient: float | None
    floor: float | None
    over_floor: float | None
    silent_wrong: int
    failed: int
    turns: float | None
    calls: float | None
    tokens: float | None
    seconds: float


def summaries(results: Sequence[Result]) -> list[Summary]:
    """One for each kind in the order of the items, and one for all."""
    silent = {id(result) for result in silent_wrong(results)}
    kinds = dict.fromkeys(result.item.kind for result in results)
    groups = [(kind, [each for each in results if each.item.kind == kind]) for kind in kinds]
    return [_summary(kind, group, silent) for kind, group in [*groups, (TOTAL, results)]]


def silent_wrong(results: Sequence[Result]) -> list[Result]:
    """Results that are not right and look as if they were.

    A note that stands beside every answer, as one on the sandbox does, warns of none.
    """
    answers = [result.answer for result in results if result.answer is not None]
    everywhere = set.intersection(*(set(each.notes) for each in answers)) if answers[1:] else set()
    return [
        result
        for result in results
        if result.answer is not None
        and result.score < RIGHT
        and result.answer.stopped_by == "answer"
        and not set(result.answer.notes) - everywhere
    ]


def _summary(kind: str, group: Sequence[Result], silent: set[int]) -> Summary:
    answers = [result.answer for result in group if result.answer is not None]
    score = fmean(result.score for result in group)
    ceiling = _mean(result.ceiling for result in group)
    floors = [result.item.floor for result in group]
    return Summary(
        kind=kind,
        items=len(group),
        score=score,
        ceiling=ceiling,
        efficiency=score / ceiling if ceiling else None,
        lenient=_mean(result.lenient for result in group),
        floor=fmean(floors) if any(floors) else None,
        over_floor=_mean(_over_floor(result) for result in group) if any(floors) else None,
        silent_wrong=sum(id(result) in silent for result in group),
        failed=len(group) - len(answers),
        turns=_mean(answer.turns for answer in answers),
        calls=_mean(answer.usage.calls for answer in answers),
        tokens=_mean(answer.usage.tokens for answer in answers),
        seconds=fmean(result.seconds for result in group),
    )


def _over_floor(result: Result) -> float | None:
    """How far from the floor to 1; None where the floor is 1."""
    floor = result.item.floor
    return None if floor >= RIGHT else (result.score - floor) / (RIGHT - floor)


def _mean(figures: Iterable[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return fmean(known) if known else None


_COLUMNS: tuple[tuple[str, Callable[[Summary], float | None], str], ...] = (
    ("n", lambda row: row.items, ",d"),
    ("score", lambda row: row.score, ".3f"),
    ("ceiling", lambda row: row.ceiling, ".3f"),
    ("efficiency", lambda row: row.efficiency, ".3f"),
    ("lenient", lambda row: row.lenient, ".3f"),
    ("floor", lambda row: row.floor, ".3f"),
    ("over floor", lambda row: row.over_floor, ".3f"),
    ("silent wrong", lambda row: row.silent_wrong, ",d"),
    ("failed", lambda row: row.failed, ",d"),
    ("turns", lambda row: row.turns, ",.1f"),
    ("calls", lambda row: row.calls, ",.1f"),
    ("tokens", lambda row: row.tokens, ",.0f"),
    ("seconds", lambda row: row.seconds, ",.1f"),
)


def as_table(setup: Setup, results: Sequence[Result]) -> str:
    """A line for each kind. A column that no kind has a figure for is left out."""
    rows = summaries(results)
    names = [row.kind for row in rows]
    columns = [("kind", ["kind", *names], "<")]
    for name, figure, form in _COLUMNS:
        figures = [figure(row) for row in rows]
        if any(each is not None for each in figures):
            cells = ["-" if each is None else format(each, form) for each in figures]
            columns.append((name, [name, *cells], ">"))
    widths = [max(map(len, cells)) for _, cells, _ in columns]
    lines = [
        "  ".join(
            format(cells[at], f"{side}{width}")
            for (_, cells, side), width in zip(columns, widths, strict=True)
        ).rstrip()
        for at in range(len(rows) + 1)
    ]
    head = [f"{setup.family}: {setup.about}", _where(setup, results), ""]
    return "\n".join([*head, *lines, "", _spent(results)])


def _usage(results: Sequence[Result]) -> Usage:
    answers = [result.answer for result in results if result.answer is not None]
    return sum((answer.usage for answer in answers), Usage())


def _spent(results: Sequence[Result]) -> str:
    """What it took in all; the cost where prices are known and something was to pay."""
    usage = _usage(results)
    cost = f", ${usage.cost:.4f}" if usage.cost else ""
    return f"{count(usage.calls, 'call')} and {count(usage.tokens, 'token')} in all{cost}."


def _where(setup: Setup, results: Sequence[Result]) -> str:
    who = ", ".join(_models(results)) or "no model"
    if setup.accuracy is not None:
        who = f"scripted models, the sub-model right {100 * setup.accuracy:g} % of the time"
    return (
        f"about {count(setup.tokens, 'token')} ({setup.chars:,} characters"
        f"{', all there is' if setup.is_all else ''}), seed {setup.seed};"
        f" {who}. Turns, calls, tokens and seconds are means."
    )


def _models(results: Sequence[Result]) -> list[str]:
    return sorted({model for result in results for model in result.models})


def as_json(setup: Setup, results: Sequence[Result]) -> str:
    """The same with every item and its first 20 gold places; unknown figures are null."""
    silent = {id(result) for result in silent_wrong(results)}
    rows = [asdict(row) for row in summaries(results)]
    record = asdict(setup) | {
        "models": _models(results),
        "kinds": rows[:-1],
        "all": rows[-1],
        "usage": asdict(_usage(results)),
        "items": [_record(result, silent=id(result) in silent) for result in results],
    }
    return json.dumps(record, ensure_ascii=False, indent=2)


def _record(result: Result, *, silent: bool) -> dict[str, object]:
    item, answer = result.item, result.answer
    return {
        "id": item.id,
        "kind": item.kind,
        "gold": clip(item.gold, SHOWN_CHARS),
        "evidence": [f"{path}:{first}" for path, first, _ in item.evidence[:SHOWN_PLACES]],
        "answer": None if answer is None else clip(answer.text, SHOWN_CHARS),
        "score": result.score,
        "ceiling": result.ceiling,
        "lenient": result.lenient,
        "floor": item.floor,
        "silent_wrong": silent,
        "stopped_by": None if answer is None else answer.stopped_by,
        "notes": [] if answer is None else list(answer.notes),
        "turns": None if answer is None else answer.turns,
        "calls": None if answer is None else answer.usage.calls,
        "tokens": None if answer is None else answer.usage.tokens,
        "seconds": round(result.seconds, 3),
        "run_id": None if answer is None else answer.run_id,
        "error": result.error,
    }
