"""The twenty relations of OOLONG-Pairs (arXiv 2512.24601, appendix) between two users."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from rlm_mcp.evals.reading import Pair
from rlm_mcp.evals.rows import Row, by_user
from rlm_mcp.evals.wording import ABBREVIATION, DESCRIPTION, ENTITY, HUMAN, LOCATION, NUMERIC
from rlm_mcp.words import count

_LETTERS = {
    "D": DESCRIPTION,
    "E": ENTITY,
    "H": HUMAN,
    "N": NUMERIC,
    "L": LOCATION,
    "A": ABBREVIATION,
}


@dataclass(frozen=True, slots=True)
class Count:
    """So many lines of a user have a label: at least, or exactly."""

    label: str
    times: int
    exactly: bool = False

    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether it is so in the rows of one user."""
        found = sum(row.label == self.label for row in rows)
        return found == self.times if self.exactly else found >= self.times

    def words(self) -> str:
        """As in a question."""
        times = f"{'exactly' if self.exactly else 'at least'} {count(self.times, 'line')}"
        return f"{times} labelled {self.label!r}"

    def code(self) -> str:
        """As an expression over `counts`."""
        return f"counts[{self.label!r}] {'==' if self.exactly else '>='} {self.times}"


@dataclass(frozen=True, slots=True)
class Dated:
    """All of a user's lines with a label are of days after, or before, a day that is not meant."""

    label: str
    side: Literal["after", "before"]
    day: str

    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether it is so in the rows of one user; also if none has the label."""
        days = [row.day for row in rows if row.label == self.label]
        return all(day > self.day if self.side == "after" else day < self.day for day in days)

    def words(self) -> str:
        """As in a question."""
        return f"every line of theirs labelled {self.label!r} is dated {self.side} {self.day}"

    def code(self) -> str:
        """As an expression over `days`."""
        sign = ">" if self.side == "after" else "<"
        return f"all(day {sign} {self.day!r} for day in days[{self.label!r}])"


@dataclass(frozen=True, slots=True)
class Side:
    """What one user of a pair satisfies: one of `either` if there are any, and all of `also`."""

    either: tuple[Count, ...] = ()
    also: tuple[Count | Dated, ...] = ()

    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether a user with these rows does."""
        return (not self.either or any(each.holds(rows) for each in self.either)) and all(
            each.holds(rows) for each in self.also
        )

    def words(self) -> str:
        """As in a question."""
        either = " or ".join(repr(each.label) for each in self.either)
        first = [f"at least 1 line labelled {either}"] if either else []
        return ", and ".join([*first, *(each.words() for each in self.also)])

    def code(self) -> str:
        """As an expression over `counts` and `days`."""
        either = " or ".join(each.code() for each in self.either)
        first = [f"({either})"] if either else []
        return " and ".join([*first, *(each.code() for each in self.also)])


@dataclass(frozen=True, slots=True)
class Relation:
    """One of two users satisfies `one` and the other `other`, whichever way round."""

    number: int
    one: Side
    other: Side

    @property
    def is_symmetric(self) -> bool:
        """Whether both users satisfy the same: so it is in the first ten."""
        return self.one == self.other

    def pairs(self, rows: Iterable[Row]) -> frozenset[Pair]:
        """All pairs of different users that are so related, found by trying each."""
        users = by_user(rows)
        one = {user for user, theirs in users.items() if self.one.holds(theirs)}
        other = {user for user, theirs in users.items() if self.other.holds(theirs)}
        return frozenset(
            (int(a), int(b))
            for a, b in combinations(sorted(users, key=int), 2)
            if (a in one and b in other) or (b in one and a in other)
        )

    def words(self) -> str:
        """As in a question."""
        if self.is_symmetric:
            return f"both users have {self.one.words()}"
        return f"one user has {self.one.words()}; the other has {self.other.words()}"


def _both(number: int, letters: str, *dated: Dated) -> Relation:
    side = Side(tuple(Count(_LETTERS[letter], 1) for letter in letters), dated)
    return Relation(number, side, side)


def _unlike(number: int, one: str, other: str) -> Relation:
    return Relation(number, _counts(one), _counts(other))


def _counts(conditions: str) -> Side:
    """`E1 A=2` is at least one entity and exactly two abbreviations."""
    return Side(
        also=tuple(
            Count(_LETTERS[each[0]], int(each[-1]), "=" in each) for each in conditions.split()
        )
    )


RELATIONS = (
    _both(1, "NL"),
    _both(2, "EH"),
    _both(3, "DA"),
    _both(4, "HL", Dated(HUMAN, "after", "2023-01-06")),
    _both(5, "EN", Dated(ENTITY, "before", "2023-03-15")),
    _both(6, "LA"),
    _both(7, "DN", Dated(NUMERIC, "after", "2023-02-01")),
    _both(8, "HD"),
    _both(9, "EL", Dated(LOCATION, "after", "2023-04-10")),
    _both(10, "NA", Dated(ABBREVIATION, "before", "2023-05-20")),
    _unlike(11, "E1 A1", "E=1"),
    _unlike(12, "N2", "L1 H1"),
    _unlike(13, "D=1", "A1 E1"),
    _unlike(14, "H1 N1", "L=2"),
    _unlike(15, "E1 L1 A1", "N=1"),
    _unlike(16, "D1 H1", "E2 A=1"),
    _unlike(17, "N=1", "L1 D1"),
    _unlike(18, "A1 H=1", "E1 N1"),
    _unlike(19, "L2 E1", "D=1 A=1"),
    _unlike(20, "N1 H1", "L1 E1 A=1"),
)
