"""Rows of a date, a user and a question whose label is hidden, and a leaf that knows the labels."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import accumulate
from random import Random

from rlm_mcp.evals.noise import misread, other
from rlm_mcp.evals.wording import LABELS, Reading, question

FIRST_DAY, LAST_DAY = date(2022, 12, 1), date(2023, 5, 31)
DAYS = (LAST_DAY - FIRST_DAY).days + 1
LABEL_SKEW = 0.7
DUPLICATES = 0.05

KINDS_OF_ANSWER = (
    "Each question asks for one of six kinds of answer, which is its label: abbreviation (a short"
    " form or what it stands for), description (a reason, a manner, a meaning, an account), entity"
    " (a thing, animal, colour, event or the like), human being (a person or group of persons),"
    " location (a place), numeric value (a count, amount, date, age or price)."
)
_NOT_GIVEN = "The labels are not given."
_GIVEN = "The label stands in brackets behind the question."
_FORM = "The lines below are questions that users asked, as: date || user id || question"

_NUMBERED = re.compile(r"^\s*(\d+)\s*[:.)]\s*(.*?)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `day` is ISO 8601, `user` digits; `label` is not shown."""

    day: str
    user: str
    text: str
    label: str

    @property
    def month(self) -> str:
        """Year and month, as 2023-01."""
        return self.day[:7]

    @property
    def line(self) -> str:
        """How it stands in the text."""
        return f"{self.day} || {self.user} || {self.text}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What rows to draw: `chars` of text in all, of so many users, whose questions read so.

    The more `user_skew`, the more rows are of a few users (Zipf).
    """

    chars: int
    users: int
    user_skew: float
    reading: Reading


def draw(plan: Plan, seed: int) -> tuple[Row, ...]:
    """Rows as planned, always the same for a seed.

    Labels and users are Zipf-distributed, in an order of the labels that the seed decides; one row
    in twenty repeats the question of an earlier one.
    """
    random = Random(seed)
    labels = random.sample(LABELS, len(LABELS))
    label_weights = _zipf(len(labels), LABEL_SKEW)
    users = [str(number) for number in random.sample(range(10_000, 100_000), plan.users)]
    user_weights = _zipf(plan.users, plan.user_skew)
    rows: list[Row] = []
    left = plan.chars - len(header(plan.reading))
    while left > 0 or not rows:
        if rows and random.random() < DUPLICATES:
            earlier = random.choice(rows)
            label, text = earlier.label, earlier.text
        else:
            label = random.choices(labels, cum_weights=label_weights)[0]
            text = question(label, plan.reading, random)
        day = FIRST_DAY + timedelta(days=random.randrange(DAYS))
        user = random.choices(users, cum_weights=user_weights)[0]
        rows.append(Row(day.isoformat(), user, text, label))
        left -= len(rows[-1].line) + 1
    return tuple(rows)


def _zipf(count: int, skew: float) -> list[float]:
    """Cumulative weights 1/k^skew."""
    return list(accumulate(1 / rank**skew for rank in range(1, count + 1)))


def by_user(rows: Iterable[Row]) -> Mapping[str, Sequence[Row]]:
    """The rows of each user."""
    users: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        users[row.user].append(row)
    return users


def header(reading: Reading) -> str:
    """The lines above the rows."""
    given = _GIVEN if reading == "explicit" else _NOT_GIVEN
    return f"{_FORM}\n{KINDS_OF_ANSWER} {given}\n\n"


def written(rows: Sequence[Row], reading: Reading) -> str:
    """The text that is asked about."""
    return header(reading) + "".join(f"{row.line}\n" for row in rows)


@dataclass(frozen=True, slots=True)
class Labeller:
    """A leaf that gives numbered questions their labels, and says nothing of what it never saw.

    A question may stand alone behind its number or in its whole row.
    """

    labels: Mapping[str, str]
    seed: int

    def __call__(self, prompt: str, accuracy: float) -> str:
        """A line `number: label` for each question of the prompt."""
        numbered = [(number, text.split(" || ")[-1]) for number, text in _NUMBERED.findall(prompt)]
        return "\n".join(
            f"{number}: {self.label(text, accuracy)}"
            for number, text in numbered
            if text in self.labels
        )

    def label(self, text: str, accuracy: float) -> str:
        """What it takes the label of a question for."""
        right = self.labels[text]
        if not misread(self.seed, text, accuracy):
            return right
        return other(self.seed, text, right, LABELS)

    def relabelled(self, rows: Sequence[Row], accuracy: float) -> tuple[Row, ...]:
        """The rows with the labels that a leaf of that accuracy gives them."""
        return tuple(replace(row, label=self.label(row.text, accuracy)) for row in rows)


def labeller(rows: Sequence[Row], seed: int) -> Labeller:
    """A leaf for these rows."""
    return Labeller({row.text: row.label for row in rows}, seed)
