"""The loop against scripted models: how a run looks, asks, finishes and is stopped."""

import itertools

import anyio
import pytest

from rlm_mcp.errors import EndpointRefused
from rlm_mcp.events import CallEnded, CellEnded, Note, RunEnded, RunFailed, RunStarted
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply

pytestmark = pytest.mark.anyio


def code(text):
    return f"```repl\n{text}\n```"


def seen(model, call=-1):
    """The last user message of a request to a model."""
    return model.requests[call][-1].content


async def test_a_run_looks_with_code_and_answers_with_final(bench):
    await bench.load("the secret is 7391\n", name="log")
    root = ScriptedModel(
        [code("i = context.find('secret')\nprint(context[i:])"), code("FINAL(7391)")]
    )

    answer = await bench.ask(root)

    assert (answer.text, answer.stopped_by, answer.turns) == ("7391", "answer", 2)
    assert "secret is 7391" in seen(root)


async def test_the_text_is_never_in_the_first_prompt(bench):
    await bench.load("canary-1234 " * 50)
    root = ScriptedModel([code("FINAL('done')")])

    await bench.ask(root)

    assert "canary" not in "".join(message.content for message in root.requests[0])
    assert "600 characters" in seen(root, 0)


async def test_messages_alternate_and_the_prefix_never_changes(bench):
    root = ScriptedModel([code("print(1)"), "no code", code("print(2)\nFINAL(2)")])

    await bench.ask(root)

    requests = list(root.requests)
    for before, after in itertools.pairwise(requests):
        assert after[: len(before)] == before
    roles = [message.role for message in requests[-1]]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize(
    "finish",
    [
        code("FINAL('it is ' + str(6 * 7))"),
        code("x = 'it is 42'\nFINAL_VAR('x')"),
        code("x = 'it is 42'\nFINAL_VAR(x)"),
        code("answer['content'] = 'it is 42'\nanswer['ready'] = True"),
        code("x = 'it is 42'") + "\nFINAL_VAR(x)",
    ],
    ids=["FINAL", "FINAL_VAR by name", "FINAL_VAR by value", "answer", "FINAL_VAR as text"],
)
async def test_every_way_to_finish_gives_the_answer(bench, finish):
    answer = await bench.ask([finish])

    assert (answer.text, answer.stopped_by) == ("it is 42", "answer")


async def test_a_final_in_text_is_taken_after_code_has_run(bench):
    answer = await bench.ask([code("print(42)"), "FINAL(it is 42)"])

    assert (answer.text, answer.turns) == ("it is 42", 2)


async def test_a_final_beside_code_that_had_not_run_is_not_taken(bench):
    root = ScriptedModel([code("print(6 * 7)") + "\nFINAL(41)", code("FINAL(42)")])

    answer = await bench.ask(root)

    assert answer.text == "42"
    assert "written before the code had run" in seen(root)


async def test_a_final_in_code_waits_for_the_blocks_behind_it(bench):
    root = ScriptedModel(
        [code("FINAL('too early')") + "\n" + code("1 / 0"), code("FINAL('after all')")]
    )

    answer = await bench.ask(root)

    assert answer.text == "after all"
    assert "ZeroDivisionError" in seen(root)


async def test_a_block_behind_a_failed_one_is_not_run(bench):
    root = ScriptedModel([code("1 / 0") + "\n" + code("y = 1"), code("FINAL('y' in globals())")])

    answer = await bench.ask(root)

    assert answer.text.lower() == "false"
    assert "were not run" in seen(root)


async def test_an_answer_before_any_look_is_asked_for_again_and_then_taken(bench):
    root = ScriptedModel(["FINAL(Paris)", "FINAL(Paris)"])

    answer = await bench.ask(root)

    assert (answer.text, answer.turns) == ("Paris", 2)
    assert "before looking" in seen(root)


async def test_the_name_of_a_variable_in_a_text_final_gives_its_value(bench):
    answer = await bench.ask([code("total = 41 + 1"), "FINAL(total)"])

    assert answer.text == "42"


async def test_an_unknown_variable_is_answered_with_the_nearest_name(bench):
    root = ScriptedModel([code("total = 42"), "FINAL_VAR(totals)", "FINAL_VAR(total)"])

    answer = await bench.ask(root)

    assert answer.text == "42"
    assert "total" in seen(root)


async def test_an_empty_final_is_refused(bench):
    root = ScriptedModel([code("FINAL('')"), code("FINAL('x')")])

    assert (await bench.ask(root)).text == "x"
    assert "FINAL was empty" in seen(root)


async def test_a_cell_that_raises_keeps_what_it_assigned(bench):
    answer = await bench.ask([code("found = 42\n1 / 0"), code("FINAL(found)")])

    assert answer.text == "42"


async def test_a_model_that_never_writes_code_ends_with_its_prose(bench):
    root = ScriptedModel(lambda _: "I believe the answer is 42.")

    answer = await bench.ask(root, errors=3)

    assert (answer.stopped_by, answer.text) == ("errors", "I believe the answer is 42.")
    assert "```repl" in seen(root, 1)


async def test_at_the_last_turn_the_model_is_asked_once_more_and_told_its_variables(bench):
    root = ScriptedModel([code("hits = [1, 2, 3]"), "FINAL_VAR(hits)"])

    answer = await bench.ask(root, turns=1)

    assert (answer.stopped_by, answer.text) == ("turns", "[1, 2, 3]")
    assert "- hits: list of 3" in seen(root)


async def test_a_forced_answer_comes_from_a_variable_rather_than_from_prose(bench):
    root = ScriptedModel([code("final_answer = 'in a variable'"), "I could not finish."])

    answer = await bench.ask(root, turns=1)

    assert answer.text == "in a variable"
    assert "final_answer" in answer.notes[-1]


async def test_a_spent_call_budget_ends_the_run_with_the_draft(bench):
    draft = code("answer['content'] = 'so far'")

    answer = await bench.ask([draft, "unused"], calls=1)

    assert (answer.stopped_by, answer.text, answer.usage.calls) == ("calls", "so far", 1)


async def test_a_spent_token_budget_ends_the_run(bench):
    answer = await bench.ask(lambda _: code("n = 1"), tokens=1)

    assert (answer.stopped_by, answer.usage.calls) == ("tokens", 1)


async def test_time_ends_a_run_in_the_middle_of_a_cell_and_keeps_the_variables(bench):
    await bench.ask([code("kept = 5\nFINAL('ok')")])
    stopped = await bench.ask([code("while True: pass")], seconds=1)
    after = await bench.ask([code("FINAL(kept)")])

    assert stopped.stopped_by == "time"
    assert after.text == "5"


async def test_a_cancelled_run_keeps_its_draft_and_frees_the_repl(bench):
    waiting = anyio.Event()

    async def hang(_messages):
        waiting.set()
        await anyio.sleep_forever()

    draft = "answer['content'] = 'half'\nkept = 1"
    run = bench.run([code(draft), code("llm_query('x')")], sub=hang)
    answers = []

    async def work():
        answers.append(await run.answer())

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await waiting.wait()
            run.cancel()

    assert (answers[0].stopped_by, answers[0].text) == ("cancelled", "half")
    assert bench.of(CallEnded)[-1].outcome == "cancelled"
    assert (await bench.ask([code("FINAL(kept)")])).text == "1"


async def test_a_second_run_sees_the_variables_of_the_first_and_is_told_of_them(bench):
    await bench.ask([code("found = 42\nFINAL('ok')")])
    root = ScriptedModel([code("FINAL(found + 1)")])

    assert (await bench.ask(root)).text == "43"
    assert "- found: int = 42" in seen(root)


async def test_an_endpoint_that_fails_at_once_fails_the_run(bench):
    with pytest.raises(EndpointRefused):
        await bench.ask([ScriptedReply("no such key", status=401)])

    assert isinstance(bench.events[-1], RunFailed)


async def test_an_endpoint_lost_on_the_way_ends_the_run_with_what_there_is(bench):
    replies = [code("result = 'half way'"), ScriptedReply("gone", status=401)]

    answer = await bench.ask(replies)

    assert (answer.stopped_by, answer.text) == ("endpoint", "half way")


async def test_an_overgrown_history_is_folded_and_the_run_goes_on(bench):
    big = code("print('x' * 7000)")
    root = ScriptedModel([*[big] * 14, code("FINAL('through')")], window_tokens=4096)

    answer = await bench.ask(root)

    assert answer.text == "through"
    assert any("folded" in note.text for note in bench.of(Note))


async def test_thinking_is_neither_run_nor_sent_back(bench):
    root = ScriptedModel([f"<think>{code('FINAL(1)')}</think>" + code("x = 2"), code("FINAL(x)")])

    assert (await bench.ask(root)).text == "2"
    assert "<think>" not in "".join(message.content for message in root.requests[-1])


async def test_a_prompt_may_hold_braces_and_format_marks(bench):
    await bench.load("{curly} %s {0}", name="odd {name} %d")
    root = ScriptedModel([code("FINAL(context)")])

    answer = await bench.ask(root, "What of {this} and %s?")

    assert answer.text == "{curly} %s {0}"
    assert "What of {this} and %s?" in seen(root, 0)


async def test_the_events_of_a_run_add_up_to_its_answer(bench):
    answer = await bench.ask([code("r = llm_query_batched(['a', 'b', 'c'])"), code("FINAL(r[2])")])

    ended = bench.of(CallEnded)
    assert isinstance(bench.events[0], RunStarted)
    assert isinstance(bench.events[-1], RunEnded)
    assert sum(event.usage.input_tokens for event in ended) == answer.usage.input_tokens
    assert [event.role for event in ended].count("sub") == answer.sub.calls == 3
    assert len(bench.of(CellEnded)) == 2


async def test_a_run_queues_for_the_repl_of_its_session(bench):
    first_in, go_on = anyio.Event(), anyio.Event()

    async def slow(_messages):
        first_in.set()
        await go_on.wait()
        return code("order = ['first']\nFINAL('first')")

    answers = []

    async def work(run):
        answers.append((await run.answer()).text)

    second = code("order.append('second')\nFINAL(str(order))")
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work, bench.run(slow))
            await first_in.wait()
            tasks.start_soon(work, bench.run([second]))
            go_on.set()

    assert answers == ["first", "['first', 'second']"]
