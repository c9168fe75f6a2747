"""A run in a small window: what is folded, when, and what of the requests a cache can serve."""

import pytest

from rlm_mcp.events import CallEnded
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply

pytestmark = pytest.mark.anyio


def code(text):
    return f"```repl\n{text}\n```"


def printing(turns, chars=4000):
    return [code(f"step_{n} = {n}\nprint('{n % 10}' * {chars})") for n in range(turns)]


async def test_a_history_is_folded_before_the_window_is_full(bench):
    root = ScriptedModel(
        [*printing(12), code("FINAL(sum([step_0, step_5, step_11]))")], window_tokens=8192
    )

    answer = await bench.ask(root)

    assert (answer.text, answer.turns) == ("16", 13)
    assert all(call.outcome == "ok" for call in bench.of(CallEnded))  # none was too long
    assert [note for note in answer.notes if "folded" in note] == list(answer.notes)


async def test_turns_that_no_longer_fit_become_a_summary_and_the_run_goes_on(bench):
    long = [code(f"# {'why ' * 300}\nstep_{n} = {n}\nprint(step_{n})") for n in range(40)]
    root = ScriptedModel([*long, code("FINAL(step_3 + step_39)")], window_tokens=8192)

    answer = await bench.ask(root, turns=60)

    last = root.requests[-1]
    assert (answer.text, answer.stopped_by) == ("42", "answer")
    assert "dropped to save room" in last[1].content
    assert "step_30 = 30" in last[1].content
    assert [message.role for message in last[1:]] == ["user", "assistant"] * (
        len(last) // 2 - 1
    ) + ["user"]


async def test_a_window_that_only_shows_by_refusals_is_shrunk_to(bench):
    def refusing(messages):
        size = sum(len(message.content) for message in messages)
        if size > 20_000:
            words = f"request ({size // 4} tokens) exceeds the available context size (5000 tokens)"
            return ScriptedReply(words, status=400)
        return next(replies)

    replies = iter([*printing(8), code("FINAL('done')")])

    answer = await bench.ask(refusing)

    assert (answer.text, answer.stopped_by) == ("done", "answer")


async def test_a_reply_never_takes_more_than_a_quarter_of_the_window(bench):
    asked = []

    class Counting(ScriptedModel):
        async def complete(self, messages, *, max_tokens=None, on_retry=None):
            asked.append(max_tokens)
            return await super().complete(messages, max_tokens=max_tokens, on_retry=on_retry)

    root = Counting([code("print(llm_query('short?'))"), code("FINAL(1)")], window_tokens=2600)
    sub = Counting(["yes"], window_tokens=2000)

    await bench.ask(root, sub=sub)

    assert asked == [650, 500, 650]


async def test_every_request_begins_with_all_of_the_one_before(bench):
    answer = await bench.ask([*printing(5, chars=300), code("FINAL(1)")])

    assert answer.conduct.prefix_reuse == 1.0


async def test_what_was_folded_counts_as_not_reused(bench):
    root = ScriptedModel([*printing(12), code("FINAL(1)")], window_tokens=8192)

    answer = await bench.ask(root)

    assert 0 < answer.conduct.prefix_reuse < 1


async def test_a_run_of_one_request_has_no_reuse(bench):
    answer = await bench.ask([code("FINAL(1)")])

    assert answer.conduct.prefix_reuse is None


async def test_a_model_that_says_nothing_is_asked_once_more(bench):
    root = ScriptedModel(["", code("FINAL('now')")])

    answer = await bench.ask(root)

    assert (answer.text, answer.turns, len(root.requests)) == ("now", 1, 2)


async def test_a_sub_model_that_says_nothing_is_asked_once_more(bench):
    sub = ScriptedModel(["", "words"])

    answer = await bench.ask([code("FINAL(llm_query('say something'))")], sub=sub)

    assert answer.text == "words"


async def test_code_that_is_repeated_with_the_same_output_is_named(bench):
    again = code("print(6 * 7)")
    root = ScriptedModel([again, code("x = 1"), again, again, code("FINAL(42)")])

    await bench.ask(root)

    reports = [request[-1].content for request in list(root.requests)[1:]]
    assert ["same as in turn 1" in report for report in reports] == [False, False, True, True]


async def test_code_repeated_with_another_output_is_not_named(bench):
    again = code("n = globals().get('n', 0) + 1\nprint(n)")
    root = ScriptedModel([again, again, code("FINAL(42)")])

    await bench.ask(root)

    assert "same as in turn" not in "".join(request[-1].content for request in root.requests)
