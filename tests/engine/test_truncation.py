"""A server that cuts prompts without a word is found out, and what it says then is no answer."""

import pytest

from rlm_mcp.engine.truncation import tokens_lost
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply
from rlm_mcp.types import Completion, Message, Usage

pytestmark = pytest.mark.anyio

LONG = "'one word after another and so on ' * 1000"


def code(text):
    return f"```repl\n{text}\n```"


async def test_a_sub_call_whose_prompt_was_cut_fails_and_says_what_fits(bench):
    sub = ScriptedModel(lambda _: ScriptedReply("sure", prompt_tokens=2048), name="small")
    program = f"r = llm_query_batched([{LONG}, 'short'])\nprint(r)\nFINAL(r[1])"
    root = ScriptedModel([code(program)])

    answer = await bench.ask(root, sub=sub)

    assert answer.text == "sure"
    cell = next(event for event in bench.events if type(event).__name__ == "CellEnded")
    assert "the server cut the prompt to 2,048 of about" in cell.output
    assert "pieces of at most" in cell.output
    (note,) = [note for note in answer.notes if "cut a prompt" in note]
    assert note.startswith("The server cut a prompt for small: of about ")
    assert "RLM_CONTEXT_WINDOW=2048" in note


async def test_a_root_whose_history_was_cut_folds_it_and_asks_again(bench):
    def cutting(messages):
        whole = sum(len(message.content) for message in messages)
        if whole > 20_000:
            return ScriptedReply(code("FINAL('from half of it')"), prompt_tokens=1500)
        if "dropped to save room" in str(messages):
            return code("FINAL('from all that is left')")
        return code("print('word ' * 1400)")

    answer = await bench.ask(ScriptedModel(cutting, name="root"))

    assert answer.text == "from all that is left"
    assert [note for note in answer.notes if "The server cut a prompt for root" in note]


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply("sure"),
        ScriptedReply("sure", prompt_tokens=0),
        ScriptedReply("sure", prompt_tokens=9, reports_usage=False),
    ],
)
async def test_a_server_that_counts_all_or_nothing_is_believed(bench, reply):
    root = ScriptedModel([code(f"FINAL(llm_query({LONG}))")])

    answer = await bench.ask(root, sub=ScriptedModel(lambda _: reply, name="small"))

    assert (answer.text, [note for note in answer.notes if "cut a prompt" in note]) == ("sure", [])


def test_a_prompt_that_was_cut_and_asked_twice_is_found_out_too():
    messages = [Message("user", "one word after another and so on " * 1000)]
    once, twice = (
        tokens_lost(messages, Completion("sure", "", "stop", "m", Usage(calls, calls * 2048, 9)))
        for calls in (1, 2)
    )

    assert once == twice
    assert once is not None
