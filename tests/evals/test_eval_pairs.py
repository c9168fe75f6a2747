"""The twenty relations written down a second time, and tried on every pair of users."""

import re
from collections import Counter, defaultdict
from itertools import permutations
from statistics import fmean

import pytest

from rlm_mcp.evals.families import pairs
from rlm_mcp.evals.predicates import RELATIONS
from rlm_mcp.evals.reading import pairs_in

LINE = re.compile(r"(\d{4}-\d\d-\d\d) \|\| (\d+) \|\| .* \[(.+)\]")
NAMES = {
    "D": "description",
    "E": "entity",
    "H": "human being",
    "N": "numeric value",
    "L": "location",
    "A": "abbreviation",
}


class User:
    """Counts by letter, and the first and last day of each."""

    def __init__(self, lines):
        counts = Counter(label for _, label in lines)
        self.count = {letter: counts[name] for letter, name in NAMES.items()}
        self.days = {
            letter: sorted(day for day, label in lines if label == name)
            for letter, name in NAMES.items()
        }

    def __getattr__(self, letter):
        return self.count[letter]

    def later(self, letter, day):
        return not self.days[letter] or self.days[letter][0] > day

    def sooner(self, letter, day):
        return not self.days[letter] or self.days[letter][-1] < day


BOTH = {
    1: lambda u: u.N or u.L,
    2: lambda u: u.E or u.H,
    3: lambda u: u.D or u.A,
    4: lambda u: (u.H or u.L) and u.later("H", "2023-01-06"),
    5: lambda u: (u.E or u.N) and u.sooner("E", "2023-03-15"),
    6: lambda u: u.L or u.A,
    7: lambda u: (u.D or u.N) and u.later("N", "2023-02-01"),
    8: lambda u: u.H or u.D,
    9: lambda u: (u.E or u.L) and u.later("L", "2023-04-10"),
    10: lambda u: (u.N or u.A) and u.sooner("A", "2023-05-20"),
}
UNLIKE = {
    11: lambda u, v: u.E and u.A and v.E == 1,
    12: lambda u, v: u.N >= 2 and v.L and v.H,
    13: lambda u, v: u.D == 1 and v.A and v.E,
    14: lambda u, v: u.H and u.N and v.L == 2,
    15: lambda u, v: u.E and u.L and u.A and v.N == 1,
    16: lambda u, v: u.D and u.H and v.E >= 2 and v.A == 1,
    17: lambda u, v: u.N == 1 and v.L and v.D,
    18: lambda u, v: u.A and u.H == 1 and v.E and v.N,
    19: lambda u, v: u.L >= 2 and u.E and v.D == 1 and v.A == 1,
    20: lambda u, v: u.N and u.H and v.L and v.E and v.A == 1,
}


@pytest.fixture(scope="module")
def items():
    return {int(item.id[-2:]): item for item in pairs.items(60_000, 2, "explicit")}


@pytest.fixture(scope="module")
def users(items):
    lines = defaultdict(list)
    for line in items[1].context.splitlines():
        if match := LINE.match(line):
            day, user, label = match.groups()
            lines[int(user)].append((day, label))
    return {user: User(theirs) for user, theirs in lines.items()}


def test_all_twenty_relations_are_asked_of_one_text(items):
    assert list(items) == [*BOTH, *UNLIKE] == [relation.number for relation in RELATIONS]
    assert len({item.context for item in items.values()}) == 1


@pytest.mark.parametrize("number", BOTH)
def test_gold_of_a_symmetric_relation_is_that_of_trying_all_pairs(items, users, number):
    holds = BOTH[number]
    related = {
        (one, two)
        for one, two in permutations(users, 2)
        if one < two and holds(users[one]) and holds(users[two])
    }

    assert items[number].kind == "symmetric"
    assert pairs_in(items[number].gold) == related


@pytest.mark.parametrize("number", UNLIKE)
def test_gold_of_an_asymmetric_relation_is_that_of_trying_all_pairs(items, users, number):
    related = {
        tuple(sorted((one, two)))
        for one, two in permutations(users, 2)
        if UNLIKE[number](users[one], users[two])
    }

    assert items[number].kind == "asymmetric"
    assert pairs_in(items[number].gold) == related


def test_naming_every_pair_scores_the_floor_and_gold_scores_fully(items, users):
    everything = "\n".join(f"({one}, {two})" for one, two in permutations(users, 2))

    for item in items.values():
        assert item.score(everything) == pytest.approx(item.floor)
        assert item.score(item.gold) == item.ceiling(1.0) == 1
        assert item.score("none") == 0


def test_a_relation_that_holds_of_no_pair_is_not_asked():
    asked = pairs.items(2_000, 1)

    assert 0 < len(asked) < len(RELATIONS)
    assert all(item.gold for item in asked)


def test_noise_of_the_leaf_lowers_the_ceiling_step_by_step(items):
    means = [fmean(item.ceiling(a) for item in items.values()) for a in (1.0, 0.9, 0.8, 0.6)]

    assert means == sorted(means, reverse=True)
    assert len(set(means)) == len(means)


def test_the_same_seed_gives_the_same_items():
    first, again = pairs.items(6_000, 4), pairs.items(6_000, 4)

    assert [(i.context, i.question, i.gold) for i in first] == [
        (i.context, i.question, i.gold) for i in again
    ]
