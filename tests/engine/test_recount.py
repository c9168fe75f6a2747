"""Figures of an answer, computed again by the same program in a fresh REPL."""

import pytest

from rlm_mcp.engine.recount import MOST_CELLS, figures
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply

pytestmark = pytest.mark.anyio

TEXT = "".join(
    f"line {number}: {'error' if number % 7 == 0 else 'fine'}\n" for number in range(700)
)
COUNTED = TEXT.count("error")


def code(text):
    return f"```repl\n{text}\n```"


async def recounted(bench, *replies, sub=None):
    await bench.load(TEXT, name="log")
    root = ScriptedModel(list(replies))
    answer = await bench.ask(root, sub=sub)
    return answer, answer.conduct.recount


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("There are 1,204 errors, 3.5 % of 34000.", ["1204", "3.5", "34000"]),
        ("See app.log:12-14 and src/v2/main.py:7.", []),
        ("none at all", []),
        ("from 10:00 on", []),
    ],
)
def test_figures_are_the_numbers_an_answer_states(text, found):
    assert figures(text) == found


async def test_a_count_that_comes_out_again_is_reproduced(bench):
    answer, outcome = await recounted(
        bench,
        code("n = sum('error' in line for line in lines)\nprint(n)"),
        code("FINAL(f'{n} lines are errors')"),
    )

    assert (answer.text, outcome) == (f"{COUNTED} lines are errors", "reproduced")


async def test_a_count_told_in_words_is_looked_for_in_what_was_printed(bench):
    _, outcome = await recounted(
        bench, code("print(context.count('error'))"), f"FINAL(There are {COUNTED} of them.)"
    )

    assert outcome == "reproduced"


async def test_a_figure_that_rests_on_chance_differs(bench):
    _, outcome = await recounted(bench, code("import secrets\nFINAL(secrets.randbits(60))"))

    assert outcome == "differs"


async def test_a_figure_that_no_code_gave_is_not_said_to_be_reproduced(bench):
    _, outcome = await recounted(bench, code("print(context[:3])"), "FINAL(There are 98765.)")

    assert outcome is None


async def test_an_answer_without_figures_is_not_run_again(bench):
    _, outcome = await recounted(bench, code("FINAL('many')"))

    assert outcome is None


async def test_answers_of_sub_models_are_remembered_and_not_asked_again(bench):
    sub = ScriptedModel(lambda messages: str(messages[-1].content.count("error")))

    answer, outcome = await recounted(
        bench,
        code("r = llm_query_batched([context[:5000], context[5000:]])\nFINAL(sum(map(int, r)))"),
        sub=sub,
    )

    assert (answer.text, outcome) == (str(COUNTED), "reproduced")
    assert (len(sub.requests), answer.sub.calls) == (2, 2)


async def test_a_program_with_a_failed_call_cannot_be_tried(bench):
    sub = ScriptedModel([ScriptedReply("no", status=400)])

    _, outcome = await recounted(
        bench, code("r = llm_query_batched(['one'])\nFINAL(len(r) + 41)"), sub=sub
    )

    assert outcome is None


async def test_a_cell_that_failed_is_run_again_too(bench):
    _, outcome = await recounted(
        bench, code("n = context.count('error')\n1 / 0"), code("FINAL(n + 10_000)")
    )

    assert outcome == "reproduced"


async def test_a_long_program_is_not_run_again(bench):
    cells = [code(f"x_{number} = {number}") for number in range(MOST_CELLS)]
    await bench.load(TEXT, name="log")

    answer = await bench.ask([*cells, code("FINAL(12345)")], turns=MOST_CELLS + 5)

    assert (answer.text, answer.conduct.recount) == ("12345", None)


async def test_what_rests_on_variables_of_an_earlier_question_is_not_tried(bench):
    await recounted(bench, code("kept = 12345\nFINAL('ok')"))

    answer = await bench.ask([code("FINAL(kept)")])

    assert (answer.text, answer.conduct.recount) == ("12345", None)
