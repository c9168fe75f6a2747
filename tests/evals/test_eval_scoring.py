from itertools import combinations

import pytest

from rlm_mcp.evals import scoring
from rlm_mcp.evals.reading import number_in, pairs_in, places_in, without_places
from rlm_mcp.evals.scoring import (
    clean_recall,
    f1,
    floor_of,
    is_exact,
    oolong_lenient,
    oolong_score,
    recall,
    says,
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


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("a, b", 1),
        ('["b", "a"]', 1),
        ("- a\n- b\n", 1),
        ("1. a\n2. b", 1),
        ("`a`; `b`.", 1),
        ("a, c", 0.5),
        ("a", 2 / 3),
        ("none", 0),
    ],
)
def test_a_set_is_read_from_lists_of_any_shape(answer, score):
    assert scoring.set_f1({"a", "b"})(answer) == pytest.approx(score)


def test_an_empty_set_is_matched_by_an_answer_of_none_alone():
    assert [scoring.set_f1(())(answer) for answer in ("none", "None.", "[]", "a", "")] == [
        1,
        1,
        1,
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("1,204", 1),
        ("There are 1204 of them.", 1),
        ("With more than 5 parameters: 1204", 1),
        ("1203", 0.75),
        ("1206", 0.75**2),
        ("many", 0),
    ],
)
def test_a_count_loses_a_quarter_for_each_it_is_off(answer, score):
    assert scoring.number(1204)(answer) == pytest.approx(score)


def test_a_measure_may_be_off_by_its_share_and_no_more():
    mark = scoring.within(400, 0.01)

    assert [mark(answer) for answer in ("p95: 404 ms", "396.0", "405", "none")] == [1, 1, 0, 0]


def test_a_literal_is_of_the_same_type_and_value():
    assert [scoring.literal(1)(a) for a in ("1", "`1`", "True", "1.0", "'1'")] == [1, 1, 0, 0, 0]
    assert [scoring.literal("x y")(a) for a in ("'x y'", '"x y"', "x y", "x")] == [1, 1, 1, 0]
    assert scoring.literal(None)("None") == 1


def test_a_place_is_one_of_the_gold_places_and_nothing_beside():
    mark = scoring.place([("a/b.py", 3), ("a/b.py", 4)])

    assert [mark(a) for a in ("a/b.py:3", "At `./a/b.py:4`.")] == [1, 1]
    assert [mark(a) for a in ("a/b.py:5", "b.py:3", "a/b.py:3 or c.py:9", "none")] == [0] * 4


def test_of_places_in_order_half_is_for_the_first():
    mark = scoring.places_in_order([[("a.log", 1), ("a.log", 2)], [("b.log", 5)], [("c.log", 9)]])

    assert mark("a.log:2 -> b.log:5 -> c.log:9") == 1
    assert mark("a.log:1") == pytest.approx(1 / 2 + 1 / 6)
    assert mark("b.log:5 -> c.log:9") == pytest.approx(1 / 3)
    assert mark("") == 0


def test_a_sequence_counts_what_stands_in_order():
    mark = scoring.sequence(["gateway", "orders", "gateway"])

    assert mark("Gateway → orders → `gateway`") == 1
    assert mark("gateway -> orders") == pytest.approx(2 / 3)
    assert mark("x") == 0


def test_a_name_may_have_what_it_is_in_before_it_but_not_less():
    mark = scoring.name("Class.method")

    assert [
        mark(a) for a in ("`Class.method()`", "pkg.mod.Class.method", "m.py::Class.method")
    ] == [1] * 3
    assert [mark(a) for a in ("method", "Other.method", "Class.method_2")] == [0] * 3


def test_a_letter_is_read_alone_or_from_the_usual_sentence():
    mark = scoring.letter("B")

    assert [mark(a) for a in ("B", "(b)", "**B.**", "The correct answer is (B).")] == [1] * 4
    assert [mark(a) for a in ("A", "Because", "The correct answer is (A), not B", "")] == [0] * 4


def test_nothing_is_said_without_naming_a_place():
    assert [scoring.nothing(a) for a in ("none", "None.", "No such record", "0")] == [1] * 4
    assert [scoring.nothing(a) for a in ("a.log:3", "none but a.log:3", "noon", "")] == [0] * 4


def test_a_chain_gets_the_share_of_its_true_steps_and_half_of_it_with_wrong_ends():
    mark = scoring.call_chain(
        ("a", "c"), lambda caller, called: (caller, called) in {("a", "b"), ("b", "c")}
    )

    assert mark("a -> b -> c") == 1
    assert mark("a() → x → c") == 0
    assert mark("a -> b") == pytest.approx(1 / 2)
    assert mark("a -> b -> x") == pytest.approx(1 / 4)
    assert mark("none") == 0


DIGITS = "9" * 5_000
MARKS = {
    "number": scoring.number(42),
    "within": scoring.within(42, 0.01),
    "literal": scoring.literal({"a": 1}),
    "place": scoring.place([("a.py", 3)]),
    "places": scoring.places_in_order([[("a.py", 3)]]),
    "set": scoring.set_f1({"a"}),
    "sequence": scoring.sequence(["a", "b"]),
    "name": scoring.name("a.b"),
    "letter": scoring.letter("A"),
    "nothing": scoring.nothing,
    "chain": scoring.call_chain(("a", "b"), lambda *_: True),
    "oolong": lambda answer: oolong_score(answer, "42", numeric=True),
    "lenient": lambda answer: oolong_lenient(answer, "42", numeric=True),
    "pairs": lambda answer: f1(pairs_in(answer), {(1, 2)}),
    "says": lambda answer: says(answer, "42"),
}


@pytest.mark.parametrize(
    "answer",
    [
        f"Label: {DIGITS[:400]}",
        DIGITS,
        f"({DIGITS}, {DIGITS})",
        f"a.py:{DIGITS}",
        "{{'a': 1}}",
        "[" * 200_000,
        "{" * 200_000,
        " " * 50_000 + "x",
        "\n" * 50_000 + "x",
        "/" * 50_000,
        "a.py:1:" * 10_000,
        '"' * 50_001,
        "(" * 50_000,
        "`" * 50_001,
    ],
    ids=lambda answer: f"{answer[:7]!r} {len(answer)}",
)
@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS)
def test_a_degenerate_answer_is_wrong_and_breaks_no_scorer(mark, answer):
    assert 0 <= mark(answer) < 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("There are 42 records.\n\nEvidence: gateway.jsonl:17", 42),
        ('There are 42.\n- gateway.jsonl:17-19: "took 9 ms"\n- a.log:4 "7 of 8"', 42),
        ("I counted.\nEvidence: gateway.jsonl:17\nAnswer: 42", 42),
        ("480 ms (window: 10:00 to 11:00)", 480),
        ("480 ms (of 7 answers)", 480),
        ("(12)", 12),
        ("p95:480", 480),
        ("none", None),
    ],
)
def test_a_number_is_read_apart_from_places_quotes_and_asides(answer, said):
    assert number_in(answer) == said


@pytest.mark.parametrize(
    ("answer", "stated"),
    [
        ('It is Foo (a/b.py:12 "class Foo:").', "It is Foo ."),
        ("Foo.bar (`a/b.py:12`)", "Foo.bar"),
        ("Foo in a/b.py:12-14", "Foo"),
        ("`Foo`, `Bar`", "`Foo`, `Bar`"),
        ('Foo\n\nSources:\n- a.py:1 "x"\n- b.py:2', "Foo"),
    ],
)
def test_places_with_their_quotes_are_taken_from_what_is_stated(answer, stated):
    assert without_places(answer) == stated


@pytest.mark.parametrize(
    ("mark", "answer"),
    [
        (scoring.number(42), "There are 42 records.\n\nEvidence: gateway.jsonl:17"),
        (scoring.within(480, 0.01), "480 ms (window: 10:00 to 11:00)"),
        (scoring.name("Foo.bar"), "Foo.bar (json/decoder.py:12)"),
        (scoring.name("Foo.bar"), "`Foo.bar()`\n\nEvidence:\n- json/decoder.py:12"),
        (scoring.literal("x y"), "'x y' (a.py:3)"),
        (scoring.literal("h.io:80"), "'h.io:80'"),
        (scoring.set_f1({"a", "b"}), "a (m.py:3), b (m.py:9)"),
        (scoring.sequence(["a", "b"]), "a -> b\n\nEvidence: x.log:3 and y.log:4"),
        (scoring.call_chain(("a", "b"), lambda *_: True), "a -> b (m.py:3)"),
        (scoring.place([("a.py", 3)]), 'a.py:3 "def a():"'),
        (scoring.letter("B"), "(B)\n\nEvidence: a.py:3"),
    ],
)
def test_a_right_answer_with_places_and_quotes_is_right(mark, answer):
    assert mark(answer) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("A careful reading shows: the correct answer is (B)", "B"),
        ("The answer could be (A) at first. The correct answer is (C).", "C"),
        ("B. Foo.bar", "B"),
        ("(D) the last", "D"),
        ("Answer: C", "C"),
        ("A careful reading shows nothing.", ""),
    ],
)
def test_a_letter_of_a_sentence_is_the_one_it_concludes_with(answer, said):
    assert "".join(each for each in "ABCD" if scoring.letter(each)(answer)) == said


@pytest.mark.parametrize(
    "answer",
    ["There is none.", "No such record.", "None. I read every line.", "There is no chain."],
)
def test_that_there_is_none_is_said_in_many_words(answer):
    assert scoring.nothing(answer) == 1


@pytest.mark.parametrize(
    "answer", ["No idea, I ran out of turns.", "No problem: user 7 at 12:03:01.", "No. 7 did it"]
)
def test_a_no_of_another_kind_is_not_none(answer):
    assert scoring.nothing(answer) == 0


def test_places_have_a_file_before_their_line():
    assert places_in("./a/b.py:3, `c.log:4` at 10:15, ms:7") == [("a/b.py", 3), ("c.log", 4)]


@pytest.mark.parametrize(
    ("answer", "exact"),
    [
        ("4135", True),
        (" 4135\n", True),
        ("The sum is 4,135.", True),
        ("4135 of 9000", False),
        ("41350", False),
        ("", False),
    ],
)
def test_an_exact_answer_has_the_gold_and_no_other_number(answer, exact):
    assert is_exact(answer, "4135") is exact


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("4135", 1.0),
        ("It is 4,135 ms (see app.log:12-3000).", 1.0),
        ("app.log:4135 says 12", 0.0),
        ("4135.5", 0.0),
        ("14135", 0.0),
        ("Of 4135 or 57, I cannot tell.", 0.0),
        ("It is 4135 of the 9,000 lines.", 1.0),
    ],
)
def test_a_models_answer_counts_if_it_says_the_gold_last_beside_places(answer, score):
    assert says(answer, "4135") == score
