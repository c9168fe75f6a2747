"""Runs that end early: nothing found is lost, and everything that began has an end."""

import anyio
import pytest

from rlm_mcp.engine.calls import CallSite
from rlm_mcp.events import (
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    RunEnded,
    RunFailed,
    RunStarted,
)
from rlm_mcp.llm.prices import Price
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio


def code(text):
    return f"```repl\n{text}\n```"


class Stuck:
    """A script that says `replies` in order and then waits for ever; `reached` tells when."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.reached = anyio.Event()

    async def __call__(self, _messages):
        if self.replies:
            return self.replies.pop(0)
        self.reached.set()
        return await anyio.sleep_forever()


async def cancelled(run, reached):
    """The answer of a run that is cancelled once `reached` is set."""
    answers = []

    async def work():
        answers.append(await run.answer())

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await reached.wait()
            run.cancel()
    return answers[0]


def assert_all_ended(bench):
    """Every call, cell and run that began has exactly one end."""
    assert [e.call for e in bench.of(CallStarted)] == sorted(
        [e.call for e in bench.of(CallEnded)], key=[e.call for e in bench.of(CallStarted)].index
    )
    assert {e.cell for e in bench.of(CellStarted)} == {e.cell for e in bench.of(CellEnded)}
    assert len(bench.of(CellStarted)) == len(bench.of(CellEnded))
    ends = [event.node for event in [*bench.of(RunEnded), *bench.of(RunFailed)]]
    assert sorted(event.node for event in bench.of(RunStarted)) == sorted(ends)


async def test_a_time_limit_takes_the_answer_from_a_variable(bench):
    await bench.ask([code("FINAL('warm')")])
    stuck = Stuck(code("final_answer = 'in a variable'"))

    answer = await bench.ask(stuck, seconds=2)

    assert (answer.stopped_by, answer.text) == ("time", "in a variable")
    assert_all_ended(bench)


async def test_a_cancel_in_the_middle_of_a_cell_keeps_its_draft_and_its_variables(bench):
    stuck = Stuck()
    program = "answer['content'] = 'half'\nkept = 5\nllm_query('hang')"

    answer = await cancelled(bench.run([code(program)], sub=stuck), stuck.reached)

    assert (answer.stopped_by, answer.text) == ("cancelled", "half")
    assert "kept" in [variable.name for variable in bench.session.variables]
    assert_all_ended(bench)


async def test_a_cancelled_nested_run_has_an_end_of_its_own(bench):
    stuck = Stuck(code("rlm_query('deep')"))

    await cancelled(bench.run(stuck, depth=2), stuck.reached)

    assert [event.stopped_by for event in bench.of(RunEnded)] == ["cancelled", "cancelled"]
    assert_all_ended(bench)


async def test_an_answer_to_an_earlier_question_is_never_given_again(bench):
    await bench.ask([code("final_answer = 'Paris'\nFINAL_VAR('final_answer')")])

    answer = await bench.ask(lambda _: "I cannot tell.", "Who wrote it?", errors=1)

    assert answer.text == "I cannot tell."


@pytest.mark.parametrize("program", ["total_lines = 5231", "def report(x):\n    return x"])
async def test_a_variable_that_only_sounds_like_an_answer_is_not_one(bench, program):
    answer = await bench.ask([code(program), "The bug is in a.py:3."], turns=1)

    assert answer.text == "The bug is in a.py:3."


@pytest.mark.parametrize(
    "reply",
    [
        code("print(undefined)") + "\nFINAL(42)",
        code("FINAL(it is 42)"),
        code("FINAL('42')"),
        "FINAL(42)",
    ],
    ids=["beside broken code", "words in a block", "code", "text"],
)
async def test_the_last_word_is_taken_however_it_is_given(bench, reply):
    answer = await bench.ask([code("x = 1"), reply], turns=1)

    assert "42" in answer.text


@pytest.mark.parametrize(
    "reply",
    ["FINAL(the answer in words)", code("FINAL('your answer with its places')")],
)
async def test_the_examples_of_the_prompts_are_no_answers(bench, reply):
    answer = await bench.ask([code("x = 1"), reply, code("FINAL('found')")])

    assert answer.text == "found"


async def test_a_reply_cut_at_its_limit_is_asked_for_again_with_more_room(bench):
    long = "FINAL(" + "a.py:1, " * 1200 + "end)"
    root = ScriptedModel([code("x = 1"), long, long])

    answer = await bench.ask(root)

    assert answer.text.endswith("end")


async def test_an_answer_in_a_reply_that_stays_cut_is_not_taken(bench):
    endless = "FINAL(" + "a.py:1, " * 9000 + "end)"
    root = ScriptedModel([code("x = 1"), endless, endless, code("FINAL('short')")])

    answer = await bench.ask(root)

    assert answer.text == "short"
    assert "was cut" in root.requests[-1][-1].content


async def test_a_sub_reply_that_was_cut_says_so_and_an_empty_one_is_an_error(bench):
    def sub(messages):
        return "y" * 10_000 if "long" in messages[-1].content else "<think>hm</think>"

    root = ScriptedModel(
        [
            code("r = llm_query_batched(['long', 'empty'])\nprint(str(r[0])[-80:], bool(r[1]))"),
            code("FINAL('ok')"),
        ]
    )
    await bench.ask(root, sub=sub)

    assert "cut here" in root.requests[-1][-1].content
    assert "False" in root.requests[-1][-1].content


async def test_an_answer_made_ready_by_a_cell_that_failed_must_be_made_ready_again(bench):
    ready = "answer['content'] = 'guess'\nanswer['ready'] = True\n1 / 0"
    root = ScriptedModel([code(ready), code("print('look again')"), code("FINAL('sure')")])

    assert (await bench.ask(root)).text == "sure"


async def test_a_batch_that_spends_the_calls_leaves_one_for_the_answer(bench):
    batch = "replies = llm_query_batched([f'p{n}' for n in range(8)])"
    root = ScriptedModel([code(batch), "FINAL_VAR(replies[0])"])

    answer = await bench.ask(root, calls=10)

    assert (answer.stopped_by, answer.text) == ("calls", "[p0]")
    assert answer.usage.calls == 10


async def test_calls_in_flight_do_not_overspend_the_tokens_by_their_prompts(bench):
    sub = ScriptedModel(lambda _: "ok", name="sub", slots=16)
    program = "r = llm_query_batched(['word ' * 400] * 30)"

    answer = await bench.ask([code(program), "FINAL(done)"], sub=sub, tokens=4000)

    assert 2000 < answer.usage.tokens < 5000


async def test_a_cost_limit_counts_what_is_known_and_says_what_is_not(bench):
    root = ScriptedModel(lambda _: code("x = 1"), name="priced", price=Price(1.0, 1.0))

    answer = await bench.ask(root, cost=0.002, turns=30)
    unpriced = await bench.ask(lambda _: code("x = 1"), cost=0.002, turns=2)

    assert answer.stopped_by == "cost"
    assert answer.usage.cost < 0.004
    assert any("No price is set for root" in note for note in unpriced.notes)


async def test_a_model_that_breaks_leaves_no_call_open_and_the_run_failed(bench):
    class Broken(ScriptedModel):
        async def complete(self, *_, **__):
            raise ValueError("not my day")

    with pytest.raises(ValueError, match="not my day"):
        await bench.ask(Broken([], name="broken"))

    assert isinstance(bench.events[-1], RunFailed)
    assert_all_ended(bench)


async def test_a_lost_repl_ends_the_run_with_what_it_had(bench):
    stuck = Stuck(code("answer['content'] = 'so far'"))
    run = bench.run(stuck)
    answers = []

    async def work():
        answers.append(await run.answer())

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await stuck.reached.wait()
            await bench.backend.close(bench.session.handle)
            run.cancel()

    assert answers[0].text == "so far"


async def test_a_nested_run_at_its_limit_is_an_error_that_brings_what_it_had(bench):
    def root(messages):
        if "Question:\ndeep" in messages[1].content:
            return "Let me think about the plan first."
        done = any(message.role == "assistant" for message in messages)
        return code("FINAL(str(r[0]))" if done else "r = rlm_query_batched(['deep'])")

    answer = await bench.ask(root, depth=2, errors=2)

    assert answer.text.startswith("[failed: ")
    assert "Let me think" in answer.text


async def test_nested_runs_stop_before_they_open_a_repl_when_the_calls_are_spent(bench):
    root = [code("r = rlm_query_batched(['deep'] * 8)\nresult = str([bool(x) for x in r])"), "Hm."]

    await bench.ask(root, depth=2, calls=2)

    assert len(bench.of(RunStarted)) == 1


async def test_an_empty_text_for_a_nested_run_is_not_the_text_of_its_parent(bench):
    await bench.load("outer text")
    root = ScriptedModel([code("rlm_query('what', context='')"), code("FINAL('ok')")])

    await bench.ask(root, depth=2)

    assert "no text" in root.requests[-1][-1].content


async def test_a_nested_question_is_kept_short_in_the_events(bench):
    await bench.load("x" * 100_000)

    def root(messages):
        nested = "Question:\nSum" in messages[1].content
        return code("FINAL('inner')" if nested else "FINAL(rlm_query('Sum: ' + context))")

    answer = await bench.ask(ScriptedModel(root, name="root"), depth=2)

    assert answer.text == "inner"
    assert len(bench.of(RunStarted)[1].query) < 3_000


async def test_a_fault_of_the_endpoint_in_the_forced_turn_still_gives_the_draft(bench):
    replies = [code("answer['content'] = 'so far'"), ScriptedReply("no", status=401)]

    answer = await bench.ask(replies, turns=1)

    assert (answer.stopped_by, answer.text) == ("turns", "so far")


async def test_the_end_of_a_call_is_told_also_where_who_asked_is_cancelled_meanwhile(bench):
    stuck = Stuck()
    run = bench.run(stuck)
    calls, model = run.ports.calls, run.ports.root
    site = CallSite("r1", 1, await calls.ledger.admit("", "root"))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(calls.ask, model, [Message("user", "x")], site, 100)
            await stuck.reached.wait()
            tasks.cancel_scope.cancel()

    assert [end.outcome for end in bench.of(CallEnded)] == ["cancelled"]
    assert calls.ledger.spent.calls == 1
