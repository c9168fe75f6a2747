"""The kinds of question that OOLONG asks of labelled rows, in words, as gold and as code."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from rlm_mcp.evals.rows import Row, by_user
from rlm_mcp.evals.wording import LABELS

Rows = Sequence[Row]

FEWEST_FOR_A_USER = 4
CHANGE_DAYS = ("2023-01-15", "2023-02-01", "2023-02-15", "2023-03-01", "2023-03-15", "2023-04-01")

_RANKED = "ranked = sorted(LABELS, key=lambda label: (-counts[label], label))"
_BY_LABEL = f"counts = Counter(label for _, _, label in labelled)\n{_RANKED}"


@dataclass(frozen=True, slots=True)
class Task:
    """One question. `shape` is the form of its answer around `{}`.

    `solve` counts the labels of the rows it is given; `code` does the same in the REPL to the rows
    for which `kept` holds (without one, all), and leaves `value`.
    """

    kind: str
    question: str
    shape: str
    solve: Callable[[Rows], str]
    code: str
    kept: str = ""
    numeric: bool = False


Maker = Callable[[Rows, Random], Task | None]
"""Makes a question of one kind, or None where the rows leave none that has a clear answer."""


def margin(rows: int) -> int:
    """How far counts over so many rows must be apart to be asked about."""
    return max(2, math.ceil(rows / 100))


def by_label(rows: Iterable[Row]) -> Counter[str]:
    """Rows of each label."""
    return Counter(row.label for row in rows)


def ranked(counts: Counter[str], names: Iterable[str] = LABELS) -> list[str]:
    """The names, most frequent first, in the order of the alphabet among equals."""
    return sorted(names, key=lambda name: (-counts[name], name))


def _gap(counts: Counter[str], place: int, names: Iterable[str] = LABELS) -> int:
    """How far the name at that place is above the next."""
    order = ranked(counts, names)
    return counts[order[place]] - counts[order[place + 1]]


def _compared(one: int, two: int) -> str:
    return "more common" if one > two else "less common" if one < two else "same frequency"


def _of(rows: Rows, users: Iterable[str]) -> list[Row]:
    chosen = set(users)
    return [row for row in rows if row.user in chosen]


def _kept(users: Iterable[str]) -> str:
    return f"user in {sorted(users)!r}"


def _named(users: Sequence[str]) -> str:
    """The users in words."""
    words = ", ".join(users)
    return f"user {words}" if len(users) == 1 else f"users {words}"


def rank_maker(kind: str, words: str, place: int) -> Maker:
    """Which label is the `words` frequent of all rows; `place` counts from the most frequent."""

    def make(rows: Rows, _: Random) -> Task | None:
        counts = by_label(rows)
        at = place % len(LABELS)
        neighbours = [n for n in (at - 1, at) if 0 <= n < len(LABELS) - 1]
        apart = min(_gap(counts, n) for n in neighbours)
        if apart < margin(len(rows)) or not min(counts[label] for label in LABELS):
            return None
        return Task(
            kind,
            f"Over all lines, which label is the {words} frequent?",
            "Label: {}",
            lambda rows: ranked(by_label(rows))[place],
            f"{_BY_LABEL}\nvalue = ranked[{place}]",
        )

    return make


def relative(rows: Rows, random: Random) -> Task | None:
    """Whether one label is more or less common than another over all rows."""
    counts = by_label(rows)
    choices = [
        (one, two)
        for one in LABELS
        for two in LABELS
        if abs(counts[one] - counts[two]) >= margin(len(rows))
    ]
    if not choices:
        return None
    one, two = random.choice(choices)
    return _comparison("relative", "Over all lines", (one, two), ())


def relative_same(rows: Rows, random: Random) -> Task | None:
    """The same for a user who has as many rows of the one as of the other."""
    choices = [
        (user, one, two)
        for user, theirs in sorted(by_user(rows).items())
        for counts in [by_label(theirs)]
        for one in LABELS
        for two in LABELS
        if one != two and counts[one] == counts[two] > 0
    ]
    if not choices:
        return None
    user, one, two = random.choice(choices)
    return _comparison("relative_same", f"Among the lines of user {user}", (one, two), (user,))


def _comparison(kind: str, among: str, labels: tuple[str, str], users: tuple[str, ...]) -> Task:
    one, two = labels

    def solve(rows: Rows) -> str:
        counts = by_label(_of(rows, users) if users else rows)
        return _compared(counts[one], counts[two])

    return Task(
        kind,
        f"{among}, is the label {one!r} more common, less common or of the same frequency, compared"
        f" with the label {two!r}? For the blank write `more common`, `less common` or"
        " `same frequency`.",
        f"Answer: {one} is {{}} than {two}",
        solve,
        f"{_BY_LABEL}\none, two = counts[{one!r}], counts[{two!r}]\n"
        "value = 'more common' if one > two else 'less common' if one < two else 'same frequency'",
        _kept(users) if users else "",
    )


def numeric(rows: Rows, random: Random) -> Task | None:
    """How many rows have a label."""
    return _count("numeric", (), random.choice(ranked(by_label(rows))[:-1]))


def _count(kind: str, users: tuple[str, ...], label: str) -> Task:
    among = f"Among the lines of {_named(users)}" if users else "Over all lines"
    return Task(
        kind,
        f"{among}, how many have the label {label!r}?",
        "Answer: {}",
        lambda rows: str(by_label(_of(rows, users) if users else rows)[label]),
        f"value = sum(label == {label!r} for _, _, label in labelled)",
        _kept(users) if users else "",
        numeric=True,
    )


def numeric_maker(kind: str, users: int) -> Maker:
    """How many rows of so many users have a label."""

    def make(rows: Rows, random: Random) -> Task | None:
        chosen = _some(rows, random, users)
        counts = by_label(_of(rows, chosen))
        return _count(kind, chosen, random.choice(sorted(counts))) if chosen else None

    return make


def most_maker(kind: str, users: int) -> Maker:
    """Which label is the most frequent in the rows of so many users."""

    def make(rows: Rows, random: Random) -> Task | None:
        for _ in range(50):
            chosen = _some(rows, random, users)
            theirs = _of(rows, chosen)
            if theirs and _gap(by_label(theirs), 0) >= margin(len(theirs)):
                return _most_of(kind, chosen)
        return None

    return make


def _most_of(kind: str, users: tuple[str, ...]) -> Task:
    return Task(
        kind,
        f"Among the lines of {_named(users)}, which label is the most frequent?",
        "Label: {}",
        lambda rows: ranked(by_label(_of(rows, users)))[0],
        f"{_BY_LABEL}\nvalue = ranked[0]",
        _kept(users),
    )


def _users(rows: Rows) -> list[str]:
    """Users with rows enough to ask about."""
    counts = Counter(row.user for row in rows)
    return sorted(user for user in counts if counts[user] >= FEWEST_FOR_A_USER)


def _some(rows: Rows, random: Random, users: int) -> tuple[str, ...]:
    choices = _users(rows)
    return tuple(random.sample(choices, users)) if len(choices) >= users else ()


def user_with_most(rows: Rows, random: Random) -> Task | None:
    """Which user has the most rows of a label."""
    for label in random.sample(LABELS, len(LABELS)):
        counts = Counter(row.user for row in rows if row.label == label)
        if len(counts) > 1 and _gap(counts, 0, counts) >= margin(counts.total()):
            break
    else:
        return None

    def solve(rows: Rows) -> str:
        counts = Counter(row.user for row in rows if row.label == label)
        return next(iter(ranked(counts, counts)), "nobody")

    return Task(
        "user_with_most",
        f"Which user has the most lines with the label {label!r}?",
        "User: {}",
        solve,
        f"counts = Counter(user for _, user, label in labelled if label == {label!r})\n"
        "value = min(counts, key=lambda user: (-counts[user], user), default='nobody')",
    )


def represented_n_times(rows: Rows, random: Random) -> Task | None:
    """How many users have exactly so many rows of a label."""
    label = random.choice(LABELS)
    per_user = Counter(row.user for row in rows if row.label == label)
    shared = sorted(n for n, users in Counter(per_user.values()).items() if users > 1)
    if not shared:
        return None
    times = random.choice(shared)

    def solve(rows: Rows) -> str:
        counts = Counter(row.user for row in rows if row.label == label)
        return str(sum(n == times for n in counts.values()))

    return Task(
        "represented_n_times",
        f"How many users have exactly {times} lines with the label {label!r}?",
        "Answer: {}",
        solve,
        f"counts = Counter(user for _, user, label in labelled if label == {label!r})\n"
        f"value = sum(n == {times} for n in counts.values())",
        numeric=True,
    )
