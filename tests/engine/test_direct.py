"""A short text in one prompt: what the model sees, and when the long way is gone all the same."""

from dataclasses import replace

import anyio
import pytest

from rlm_mcp.engine.route import Route
from rlm_mcp.events import CallEnded, CellStarted, Note
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply

pytestmark = pytest.mark.anyio

FILES = {"a/app.py": "import os\ndef main(argv):\n    return 41\n", "b.txt": "nothing else\n"}
CODE = "```repl\nFINAL('by code')\n```"


async def ask(bench, root, query="What does main return?", *, schema=None, window=32_768):
    await bench.load(FILES, name="src")
    root = root if isinstance(root, ScriptedModel) else ScriptedModel(root, window_tokens=window)
    run = bench.run(root, query, schema=schema)
    run.question = replace(run.question, route=Route("direct", "it fits"))
    with anyio.fail_after(30):
        return root, await run.answer()


async def test_the_model_sees_every_line_with_its_number_before_the_question(bench):
    root, answer = await ask(bench, ['It returns 41: a/app.py:3 "    return 41".'])

    (request,) = root.requests
    system, shown = (message.content for message in request)
    assert "=== a/app.py ===\n1: import os\n2: def main(argv):\n3:     return 41" in shown
    assert "=== b.txt ===\n1: nothing else" in shown
    assert shown.endswith("Question:\nWhat does main return?")
    assert "path:line" in system
    assert (answer.stopped_by, answer.turns, answer.usage.calls) == ("answer", 1, 1)
    assert (answer.conduct.way, answer.conduct.why) == ("direct", "it fits")
    assert not bench.of(CellStarted)


async def test_its_quotes_are_looked_up(bench):
    _, answer = await ask(bench, ['It returns 41: a/app.py:3 "raise SystemExit(41) at once".'] * 2)

    (citation,) = answer.citations
    assert citation.check == "unverified"


async def test_a_wrong_quote_is_asked_about_once(bench):
    root, answer = await ask(
        bench,
        [
            'It returns 42: a/app.py:3 "return forty-two, as the docs have it".',
            'It returns 41: a/app.py:2-3 "def main(argv):\n    return 41".',
        ],
    )

    assert "return forty-two" in root.requests[1][-1].content
    assert answer.text.startswith("It returns 41")
    assert [each.check for each in answer.citations] == ["verified"]


async def test_a_finish_in_the_words_of_the_loop_is_understood(bench):
    _, answer = await ask(bench, ["FINAL(It returns 41.)"])

    assert answer.text == "It returns 41."


async def test_an_answer_may_show_code(bench):
    shown = "It should return 42:\n```python\ndef main(argv):\n    return 42\n```\n(a/app.py:3)"

    _, answer = await ask(bench, [shown])

    assert (answer.text, answer.conduct.way) == (shown, "direct")


async def test_an_answer_must_have_the_shape_that_was_asked_for(bench):
    root, answer = await ask(bench, ["It is 41.", "41"], schema={"type": "integer"})

    assert "JSON" in root.requests[1][-1].content
    assert answer.text == "41"


@pytest.mark.parametrize(
    "first",
    [
        ScriptedReply("request (9000 tokens) exceeds the available context size", status=400),
        "```repl\nprint(context)\n```",
        "",
    ],
    ids=["too long", "code", "silence"],
)
async def test_where_this_way_gives_no_answer_code_is_asked_for(bench, first):
    replies = [first, first, CODE] if first == "" else [first, CODE]

    _, answer = await ask(bench, replies)

    assert (answer.text, answer.conduct.way) == ("by code", "rlm")
    assert "gave no answer" in answer.conduct.why


async def test_a_shape_that_is_missed_twice_is_asked_for_by_code(bench):
    number = "```repl\nFINAL(41)\n```"

    _, answer = await ask(bench, ["no", "still no", number], schema={"type": "integer"})

    assert (answer.text, answer.conduct.way) == ("41", "rlm")


async def test_a_prompt_that_the_server_cut_is_not_believed(bench):
    log = "".join(f"entry {n} is fine and well\n" for n in range(900))
    await bench.load({"log": log}, name="log")

    root, answer = await ask(
        bench, [ScriptedReply("All is fine.", prompt_tokens=2000), CODE], window=65_536
    )

    assert (answer.text, answer.conduct.way) == ("by code", "rlm")
    assert any("cut a prompt" in note for note in answer.notes)
    assert root.window_tokens == 65_536  # a guess of ours is no proof


async def test_every_call_has_a_name_of_its_own_on_both_ways(bench):
    await ask(bench, ["", "", CODE])

    names = [event.call for event in bench.of(CallEnded)]
    assert len(set(names)) == len(names) == 3
    assert not bench.of(Note)
