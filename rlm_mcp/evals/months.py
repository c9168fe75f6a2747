"""The kinds of question that OOLONG asks about when labels occur."""

from collections import Counter
from random import Random

from rlm_mcp.evals.tasks import CHANGE_DAYS, Rows, Task, margin
from rlm_mcp.evals.wording import LABELS


def month_most(rows: Rows, random: Random) -> Task | None:
    """In which month a label is the most frequent."""
    for label in random.sample(LABELS, len(LABELS)):
        monthly = _by_month(rows, label)
        order = [count for _, count in monthly.most_common(2)]
        if len(order) == 2 and order[0] - order[1] >= margin(monthly.total()):
            break
    else:
        return None

    def solve(rows: Rows) -> str:
        counts = _by_month(rows, label)
        return min(counts, key=lambda month: (-counts[month], month), default="none")

    return Task(
        "month_most",
        f"In which month does the label {label!r} occur most often? Write it as year-month, like"
        " 2023-01.",
        "Date: {}",
        solve,
        f"counts = Counter(day[:7] for day, _, label in labelled if label == {label!r})\n"
        "value = min(counts, key=lambda month: (-counts[month], month), default='none')",
    )


def months_more(rows: Rows, random: Random) -> Task | None:
    """In how many months a label occurs more often than another; in none as often."""
    months = {row.month for row in rows}
    monthly = {label: _by_month(rows, label) for label in LABELS}
    choices = [
        (one, two)
        for one in LABELS
        for two in LABELS
        if one != two and all(monthly[one][month] != monthly[two][month] for month in months)
    ]
    if not choices:
        return None
    one, two = random.choice(choices)

    def solve(rows: Rows) -> str:
        ones, twos = _by_month(rows, one), _by_month(rows, two)
        return str(sum(ones[month] > twos[month] for month in ones))

    return Task(
        "months_more",
        f"In how many months does the label {one!r} occur more often than the label {two!r}?",
        "Answer: {}",
        solve,
        "counts = Counter((day[:7], label) for day, _, label in labelled)\n"
        "months = {month for month, _ in counts}\n"
        f"value = sum(counts[month, {one!r}] > counts[month, {two!r}] for month in months)",
        numeric=True,
    )


def before_after(rows: Rows, random: Random) -> Task | None:
    """Whether a label is more or less common before a day than from that day on."""
    choices = [
        (label, day)
        for label in LABELS
        for day in CHANGE_DAYS
        for early, late in [(_early(rows, label, day), _late(rows, label, day))]
        if abs(early - late) >= margin(early + late)
    ]
    if not choices:
        return None
    label, day = random.choice(choices)

    def solve(rows: Rows) -> str:
        one, two = _early(rows, label, day), _late(rows, label, day)
        return "more common" if one > two else "less common" if one < two else "same frequency"

    return Task(
        "before_after",
        f"Do more lines with the label {label!r} bear a date before {day} than {day} or a later"
        " one? For the blank write `more common`, `less common` or `same frequency`.",
        f"Answer: {label} is {{}} before {day}",
        solve,
        f"early = sum(day < {day!r} for day, _, label in labelled if label == {label!r})\n"
        f"late = sum(day >= {day!r} for day, _, label in labelled if label == {label!r})\n"
        "value = 'more common' if early > late else 'less common' if early < late"
        " else 'same frequency'",
    )


def _by_month(rows: Rows, label: str) -> Counter[str]:
    return Counter(row.month for row in rows if row.label == label)


def _early(rows: Rows, label: str, day: str) -> int:
    return sum(row.label == label and row.day < day for row in rows)


def _late(rows: Rows, label: str, day: str) -> int:
    return sum(row.label == label and row.day >= day for row in rows)
