from itertools import combinations

import pytest

from rlm_mcp.evals.scoring import (
    clean_recall,
    f1,
    floor_of,
    oolong_lenient,
    oolong_score,
    pairs_in,
    recall,
)


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("Label: location", "location", 1),
        ("I counted.\nLabel: **location**", "location", 1),
        ("Label: [location]", "location", 1),
        ("location", "location", 1),
        ("The label that occurs most often is location", "location", 1),
        ("Label: Location", "location", 0),
        ("Label: location (see a.txt: 12)", "location", 0),
        ("Label: entity", "location", 0),
        ("Answer: spam is more common than ham", "more common", 1),
        ("Answer: less common", "more common", 0),
        ("Answer: spam is of the same frequency as ham", "same frequency", 1),
        ("", "location", 0),
    ],
)
def test_the_strict_score_takes_what_stands_behind_the_last_colon(answer, gold, score):
    assert oolong_score(answer, gold, numeric=False) == score


@pytest.mark.parametrize("error", [0, 1, 2, 7])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_is_off_by_n_scores_three_quarters_to_the_n(error, sign):
    answer = f"Answer: {40 + sign * error}"

    assert oolong_score(answer, "40", numeric=True) == pytest.approx(0.75**error)
    assert oolong_score(answer, "40", numeric=False) == (error == 0)


def test_a_number_in_words_scores_nothing():
    assert oolong_score("Answer: about forty", "40", numeric=True) == 0


def test_the_lenient_score_ignores_capitals_and_what_stands_around():
    assert oolong_lenient("It is Location (see a.txt: 12)", "location", numeric=False) == 1
    assert oolong_lenient("Answer: 12", "2", numeric=True) == 1
    assert oolong_lenient("Answer: 3", "2", numeric=True) == 0.75
    assert oolong_lenient("Label: Entity", "location", numeric=False) == 0


@pytest.mark.parametrize(
    "answer",
    [
        "(11, 12)\n(13, 14)",
        "(12,11), (14,13), (11,12)",
        "11,12\n14, 13",
        "[[11, 12], [13, 14]]",
        "Pairs: (11, 12) and (13, 14).",
        "(11,12),(13,14)",
    ],
)
def test_pairs_are_read_in_any_form_and_order(answer):
    assert pairs_in(answer) == {(11, 12), (13, 14)}


def test_words_without_pairs_hold_none():
    assert pairs_in("none of the 12 users") == frozenset()


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        (set(), set(), 1),
        (set(), {(1, 2)}, 0),
        ({(1, 2)}, set(), 0),
        ({(1, 2)}, {(1, 2)}, 1),
        ({(1, 2), (1, 3)}, {(1, 2)}, 2 / 3),
        ({(1, 2)}, {(1, 2), (1, 3), (2, 3)}, 1 / 2),
    ],
)
def test_f1_of_sets(answer, gold, score):
    assert f1(answer, gold) == pytest.approx(score)


@pytest.mark.parametrize("users", [2, 7])
@pytest.mark.parametrize("related", [0, 1])
def test_the_floor_is_the_f1_of_naming_every_pair(users, related):
    everything = list(combinations(range(users), 2))
    gold = everything[:related]

    assert floor_of(len(gold), users) == pytest.approx(f1(everything, gold))


def test_a_decoy_takes_all_but_plain_recall():
    gold, decoys = ["Amber", "birch"], ["cedar"]

    assert recall("amber, BIRCH", gold) == clean_recall("amber, BIRCH", gold, decoys) == 1
    assert clean_recall("amber", gold, decoys) == 0.5
    assert recall("amber, birch, cedar", gold) == 1
    assert clean_recall("amber, birch, Cedar", gold, decoys) == 0
