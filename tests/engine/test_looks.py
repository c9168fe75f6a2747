"""What an answer rests on, read from the code that was run and what it printed."""

import pytest

from rlm_mcp.engine.looks import LOOK_CHARS, literal_of, part_taken, unshown, variable_shown
from rlm_mcp.types import Variable

CHARS = 10 * LOOK_CHARS
PART = 2 * LOOK_CHARS


@pytest.mark.parametrize(
    ("code", "literal"),
    [
        ("FINAL(42)", "42"),
        ("x = 1\nFINAL('it is 42')", "it is 42"),
        ("FINAL(x)", None),
        ("FINAL(f'{x}')", None),
        ("FINAL(1)\nFINAL_VAR('x')", None),
        ("print(42)", None),
        ("FINAL(", None),
    ],
)
def test_a_literal_answer_is_told_from_one_that_is_computed(code, literal):
    assert literal_of(code) == literal


@pytest.mark.parametrize(
    ("answer", "shown", "missing"),
    [
        ("4135", ["Output: 4135"], []),
        ("4,135", ["4135 rows"], []),
        ("4135", ["4,135 rows"], []),
        ("4135", ["41350", "0.4135"], ["4135"]),
        ("It is 4135 (app.log:77)", ["4135"], []),
        ("There are 3 reasons", [], []),
        ("main.py", [], []),
        ("12.5 %", ["12.5"], []),
    ],
)
def test_numbers_that_were_never_shown_are_found(answer, shown, missing):
    assert unshown(answer, shown) == missing


@pytest.mark.parametrize(
    ("codes", "taken"),
    [
        ([f"part = context[:{PART}]\nprint(part.count('x'))"], PART),
        ([f"a = context[:{PART}]", f"b = context[{PART}:{2 * PART}]"], 2 * PART),
        ([f"a = context[:{PART}]", f"b = context[{LOOK_CHARS}:{PART}]"], PART),
        ([f"print(len(context))\na = context[-{PART}:]"], PART),
        ([f"a = context[:{PART}]", "n = context.count('x')"], None),
        ([f"a = context[:{PART}]", "print(grep('x'))"], None),
        ([f"a = context[:{PART}]\nfor path in files: pass"], None),
        (["at = 1\na = context[at:at + 9]"], None),
        ([f"print(context[:{LOOK_CHARS}])"], None),
        ([f"a = context[:{2 * CHARS}]"], None),
        (["print(1)"], None),
        (["context[:"], None),
    ],
)
def test_work_on_a_fixed_slice_alone_is_work_on_a_part(codes, taken):
    assert part_taken(codes, CHARS) == taken


def test_the_variable_that_was_printed_last_is_found():
    variables = [Variable("rows", "list", 3, "['a']"), Variable("name", "str", 3, "'abc'"),
                 Variable("total", "int", None, "42")]  # fmt: skip

    assert variable_shown(variables, "rows\n42\n") == "total"
    assert variable_shown(variables, "abc") == "name"
    assert variable_shown(variables, "something else") is None
    assert variable_shown(variables, "") is None
