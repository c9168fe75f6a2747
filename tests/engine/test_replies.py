"""What is read out of a root model's reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.engine.replies import TextFinal, parse, strip_thinking


@pytest.mark.parametrize("tag", ["repl", "python", "py", "Python3", "", "  repl"])
def test_a_fence_of_any_python_kind_is_code(tag):
    assert parse(f"Look:\n```{tag}\nx = 1\n```\n").code == ("x = 1\n",)


@pytest.mark.parametrize("tag", ["json", "text", "diff", "bash"])
def test_a_fence_of_another_language_is_not_run(tag):
    assert parse(f"```{tag}\nx = 1\n```").code == ()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("```repl\na = 1\n```\nthen\n```repl\nb = 2\n```", ("a = 1\n", "b = 2\n")),
        ("~~~python\na = 1\n~~~", ("a = 1\n",)),
        ("````repl\na = 1\n````", ("a = 1\n",)),
        ("```repl\na = 1", ("a = 1",)),
        ('```repl\ns = """\n```\nx\n```\n"""\n```\nDone.', ('s = """\n```\nx\n```\n"""\n',)),
        ("```repl\n```", ()),
        ("no code here", ()),
    ],
    ids=["two", "tilde", "four", "unclosed", "fence in a string", "empty", "none"],
)  # fmt: skip
def test_code_blocks_are_found_where_they_end(reply, code):
    assert parse(reply).code == code


@pytest.mark.parametrize(
    ("reply", "final"),
    [
        ("FINAL(42)", TextFinal("FINAL", "42")),
        ('FINAL("it is (so) at a.py:3")', TextFinal("FINAL", "it is (so) at a.py:3")),
        ("FINAL(it is (so) here)", TextFinal("FINAL", "it is (so) here")),
        ("FINAL(first :) line\nsecond line)\n", TextFinal("FINAL", "first :")),
        ('FINAL("""two\nlines""")', TextFinal("FINAL", "two\nlines")),
        ('FINAL("a" and "b")', TextFinal("FINAL", '"a" and "b"')),
        ("FINAL_VAR(answer_text)", TextFinal("FINAL_VAR", "answer_text")),
        ('Done.\n  FINAL_VAR("x")', TextFinal("FINAL_VAR", "x")),
        ("**FINAL(yes)**", TextFinal("FINAL", "yes")),
        ("FINAL(unclosed answer", TextFinal("FINAL", "unclosed answer")),
        ("I will call FINAL(x) when done", None),
        ("FINAL(<your answer>)", None),
        ("FINAL(...)", None),
        ("FINAL()", None),
        ("```repl\nFINAL(1)\n```", None),
    ],
)
def test_a_finish_in_text_counts_at_the_start_of_a_line_only(reply, final):
    assert parse(reply).final == final


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>FINAL(no)</think>yes", "yes"),
        ("plan\n```repl\nbad()\n```\n</think>\nyes", "yes"),
        ("yes <think>and so on", "yes"),
        ("<thinking>a</thinking>b<think>c</think>d", "bd"),
        ("nothing to strip", "nothing to strip"),
    ],
)
def test_thinking_is_removed_opened_or_not_closed_or_not(text, left):
    assert strip_thinking(text) == left


@given(st.text(alphabet="`~replFINAL_VAR()\n\"' x=1<think>/", max_size=200))
def test_no_reply_breaks_the_parser(text):
    reply = parse(strip_thinking(text))

    assert all(code.strip() for code in reply.code)
    assert reply.final is None or reply.final.argument
