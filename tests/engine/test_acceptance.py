"""Answers that the text or the run itself does not bear out: asked about once, then said."""

import pytest

from rlm_mcp.llm.scripted import ScriptedModel

pytestmark = pytest.mark.anyio

FILES = {
    "src/app.py": "import os\n\ndef main(argv):\n    return run(argv, 'now')\n",
    "src/run.py": "def run(argv, when):\n    raise SystemExit(when)\n",
}
TRUE = "main calls run: src/app.py:3-4 \"def main(argv):\n    return run(argv, 'now')\""
FORGED = 'main never returns: src/app.py:3 "def main(argv): while True: pass"'


def code(text):
    return f"```repl\n{text}\n```"


def final(text):
    return code(f"print(len(context))\nFINAL({text!r})")


async def asked(bench, *replies, **budget):
    await bench.load(FILES, name="src")
    root = ScriptedModel(list(replies))
    return root, await bench.ask(root, **budget)


async def test_a_true_quote_is_verified_and_costs_no_turn(bench):
    root, answer = await asked(bench, final(TRUE))

    assert (len(root.requests), answer.turns) == (1, 1)
    assert [(each.check, each.start, each.end) for each in answer.citations] == [("verified", 3, 4)]


async def test_a_forged_quote_is_asked_about_once_with_what_is_wrong(bench):
    root, answer = await asked(bench, final(FORGED), final(TRUE))

    told = root.requests[1][-1].content
    assert "src/app.py:3" in told
    assert "while True: pass" in told
    assert answer.text == TRUE


async def test_a_forged_quote_that_stays_is_shown_as_unverified(bench):
    root, answer = await asked(bench, final(FORGED), final(FORGED))

    assert (answer.stopped_by, len(root.requests)) == ("answer", 2)
    assert [each.check for each in answer.citations] == ["unverified"]


async def test_a_place_that_does_not_exist_is_asked_about(bench):
    root, answer = await asked(bench, final("See src/app.py:900."), final("See src/app.py:3."))

    assert "src/app.py:900" in root.requests[1][-1].content
    assert [each.found for each in answer.citations] == [True]


async def test_a_bare_place_that_exists_is_not_asked_about(bench):
    root, answer = await asked(bench, final("See src/app.py:3."))

    assert len(root.requests) == 1
    assert [(each.found, each.check) for each in answer.citations] == [(True, None)]


async def test_the_last_turn_is_not_spent_on_a_quote(bench):
    _, answer = await asked(bench, final(FORGED), turns=1)

    assert (answer.stopped_by, answer.text) == ("answer", FORGED)


async def test_a_number_that_no_output_shows_is_asked_about_once_then_noted(bench):
    root, answer = await asked(bench, code("x = 1"), *["FINAL(There are 4711 calls.)"] * 2)

    assert "No output shows 4711" in root.requests[2][-1].content
    assert answer.text == "There are 4711 calls."
    assert any("4711" in note for note in answer.notes)


async def test_a_number_that_was_printed_is_not_asked_about(bench):
    root, answer = await asked(bench, code("print(4700 + 11)"), "FINAL(There are 4711 calls.)")

    assert (len(root.requests), answer.notes) == (2, ())


async def test_a_program_that_goes_in_circles_is_told_of_its_variables(bench):
    looks = [code(f"print('look {n}')") for n in range(5)]

    root, _ = await asked(bench, code("total = 41"), *looks, code("FINAL(total)"))

    reports = [request[-1].content for request in list(root.requests)[1:]]
    assert ["have not changed" in report for report in reports].count(True) == 1


async def test_work_on_the_first_part_of_a_text_is_said(bench):
    await bench.load("".join(f"line {n} is fine\n" for n in range(4000)), name="log")
    root = ScriptedModel([code("n = context[:20_000].count('fine')\nprint(n)"), code("FINAL(n)")])

    answer = await bench.ask(root)

    assert "20,000 of " in root.requests[1][-1].content
    assert any("20,000 of " in note for note in answer.notes)
