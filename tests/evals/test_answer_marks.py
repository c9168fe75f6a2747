import pytest

from rlm_mcp.evals import marks


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
    assert marks.set_f1({"a", "b"})(answer) == pytest.approx(score)


def test_an_empty_set_is_matched_by_an_answer_of_none_alone():
    assert [marks.set_f1(())(answer) for answer in ("none", "None.", "[]", "a", "")] == [
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
    assert marks.number(1204)(answer) == pytest.approx(score)


def test_a_measure_may_be_off_by_its_share_and_no_more():
    mark = marks.within(400, 0.01)

    assert [mark(answer) for answer in ("p95: 404 ms", "396.0", "405", "none")] == [1, 1, 0, 0]


def test_a_literal_is_of_the_same_type_and_value():
    assert [marks.literal(1)(a) for a in ("1", "`1`", "True", "1.0", "'1'")] == [1, 1, 0, 0, 0]
    assert [marks.literal("x y")(a) for a in ("'x y'", '"x y"', "x y", "x")] == [1, 1, 1, 0]
    assert marks.literal(None)("None") == 1


def test_a_place_is_one_of_the_gold_places_and_nothing_beside():
    mark = marks.place([("a/b.py", 3), ("a/b.py", 4)])

    assert [mark(a) for a in ("a/b.py:3", "At `./a/b.py:4`.")] == [1, 1]
    assert [mark(a) for a in ("a/b.py:5", "b.py:3", "a/b.py:3 or c.py:9", "none")] == [0] * 4


def test_of_places_in_order_half_is_for_the_first():
    mark = marks.places_in_order([[("a.log", 1), ("a.log", 2)], [("b.log", 5)], [("c.log", 9)]])

    assert mark("a.log:2 -> b.log:5 -> c.log:9") == 1
    assert mark("a.log:1") == pytest.approx(1 / 2 + 1 / 6)
    assert mark("b.log:5 -> c.log:9") == pytest.approx(1 / 3)
    assert mark("") == 0


def test_a_sequence_counts_what_stands_in_order():
    mark = marks.sequence(["gateway", "orders", "gateway"])

    assert mark("Gateway → orders → `gateway`") == 1
    assert mark("gateway -> orders") == pytest.approx(2 / 3)
    assert mark("x") == 0


def test_a_name_may_have_what_it_is_in_before_it_but_not_less():
    mark = marks.name("Class.method")

    assert [
        mark(a) for a in ("`Class.method()`", "pkg.mod.Class.method", "m.py::Class.method")
    ] == [1] * 3
    assert [mark(a) for a in ("method", "Other.method", "Class.method_2")] == [0] * 3


def test_a_letter_is_read_alone_or_from_the_usual_sentence():
    mark = marks.letter("B")

    assert [mark(a) for a in ("B", "(b)", "**B.**", "The correct answer is (B).")] == [1] * 4
    assert [mark(a) for a in ("A", "Because", "The correct answer is (A), not B", "")] == [0] * 4


def test_nothing_is_said_without_naming_a_place():
    assert [marks.nothing(a) for a in ("none", "None.", "No such record", "0")] == [1] * 4
    assert [marks.nothing(a) for a in ("a.log:3", "none but a.log:3", "noon", "")] == [0] * 4


def test_a_chain_gets_the_share_of_its_true_steps_and_half_of_it_with_wrong_ends():
    mark = marks.call_chain(
        ("a", "c"), lambda caller, called: (caller, called) in {("a", "b"), ("b", "c")}
    )

    assert mark("a -> b -> c") == 1
    assert mark("a() → x → c") == 0
    assert mark("a -> b") == pytest.approx(1 / 2)
    assert mark("a -> b -> x") == pytest.approx(1 / 4)
    assert mark("none") == 0
