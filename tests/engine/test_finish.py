"""An answer given as text: plain words, or something to look up in the REPL."""

import pytest

from rlm_mcp.engine.finish import Evaluation, evaluation, is_answer
from rlm_mcp.engine.replies import TextFinal
from rlm_mcp.llm.scripted import ScriptedModel

pytestmark = pytest.mark.anyio


def code(text):
    return f"```repl\n{text}\n```"


@pytest.mark.parametrize(
    ("argument", "found"),
    [
        ("it is 42 at a.py:3", None),
        ("42", None),
        ("'quoted'", None),
        ("total", Evaluation("FINAL_VAR('total')", may_be_words=True)),
        ("main.py", Evaluation("FINAL(main.py)", may_be_words=True)),
        ("str(total)", Evaluation("FINAL(str(total))", may_be_words=False)),
        ("r['summary']", Evaluation("FINAL(r['summary'])", may_be_words=False)),
        ("(" * 500, None),
    ],
)
def test_what_looks_like_an_expression_is_looked_up(argument, found):
    assert evaluation(TextFinal("FINAL", argument)) == found


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("42", True),
        ("<module>", True),
        ("the total is 42", True),
        ("[1, 2]", True),
        ("the answer is in app.py", True),
        ("", False),
        (" \n", False),
        ("<answer>", False),
        ("<the sum printed above>", False),
        ("[insert the number here]", False),
        ("{final_answer}", False),
        ("the value printed above", False),
        ("Your final answer here", False),
    ],
)
def test_an_answer_says_something(text, counts):
    assert is_answer(text) == counts


@pytest.mark.parametrize(
    ("cell", "finish", "answer"),
    [
        ("r = {'summary': 'it is 42'}", 'FINAL_VAR(r["summary"])', "it is 42"),
        ("total = 41 + 1", "FINAL(str(total))", "42"),
        ("total = 41 + 1", "FINAL(total)", "42"),
        ("answer['content'] = 'it is 42'", "FINAL(answer)", "it is 42"),
        ("total = 41 + 1", 'FINAL("total")', "42"),
        ("total = 41 + 1", code("FINAL('{total}')"), "42"),
        ("x = 1", "FINAL(Paris)", "Paris"),
        ("x = 1", "FINAL(main.py)", "main.py"),
        ("x = 1", "FINAL(Smith and Jones)", "Smith and Jones"),
    ],
)
async def test_a_finish_in_text_gives_the_value_it_means(bench, cell, finish, answer):
    assert (await bench.ask([code(cell), finish])).text == answer


async def test_a_variable_of_an_earlier_run_is_known(bench):
    await bench.ask([code("found = 'kept'\nFINAL('ok')")])

    assert (await bench.ask([code("x = 1"), "FINAL(found)"])).text == "kept"


async def test_a_call_that_fails_is_told_and_not_taken_for_the_answer(bench):
    root = ScriptedModel([code("x = 1"), "FINAL(str(nothing))", "FINAL(it is one)"])

    answer = await bench.ask(root)

    assert answer.text == "it is one"
    assert "NameError" in root.requests[-1][-1].content
