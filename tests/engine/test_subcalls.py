"""Sub-calls from code: leaves, batches, nested runs, limits, failures."""

import json
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest

from rlm_mcp.events import CallEnded, RunEnded, RunStarted
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply

pytestmark = pytest.mark.anyio


def seen(model):
    """The last user message of the last request to a model."""
    return model.requests[-1][-1].content


def code(text):
    return f"```repl\n{text}\n```"


async def test_a_batch_is_answered_in_order_and_at_the_same_time(bench):
    at_once = 4
    gate = anyio.Event()
    waiting = []

    async def together(messages):
        waiting.append(messages[-1].content)
        if len(waiting) == at_once:
            gate.set()
        await gate.wait()
        return messages[-1].content.upper()

    sub = ScriptedModel(together, name="sub", slots=at_once)
    answer = await bench.ask(
        [code("FINAL(' '.join(llm_query_batched(['a', 'b', 'c', 'd'])))")], sub=sub
    )

    assert answer.text == "A B C D"


async def test_a_failed_item_does_not_fail_its_batch(bench):
    def picky(messages):
        if "bad" in messages[-1].content:
            return ScriptedReply("I refuse", status=400)
        return "fine"

    root = ScriptedModel(
        [
            code("r = llm_query_batched(['good', 'bad', 'good'])\nprint([bool(x) for x in r])"),
            code("FINAL(str([type(x).__name__ for x in r]))"),
        ]
    )
    answer = await bench.ask(root, sub=picky)

    assert answer.text == "['str', 'Failed', 'str']"
    assert "1 of 3" in root.requests[-1][-1].content


async def test_a_failed_single_call_raises_in_the_cell_with_its_reason(bench):
    root = ScriptedModel([code("llm_query('x')"), code("FINAL('on')")])

    await bench.ask(root, sub=[ScriptedReply("no such luck", status=400)])

    assert "no such luck" in root.requests[-1][-1].content


async def test_text_given_as_context_reaches_the_sub_model_behind_the_prompt(bench):
    sub = ScriptedModel(["yes"], name="sub")

    await bench.ask([code("FINAL(llm_query('Is it so?', context='the text'))")], sub=sub)

    assert sub.requests[0][-1].content == "Is it so?\n\nthe text"


async def test_a_prompt_larger_than_the_window_is_not_sent_and_says_how_to_split(bench):
    sub = ScriptedModel(["never"], name="sub", window_tokens=1000)
    root = ScriptedModel([code("llm_query('word ' * 5000)"), code("FINAL('ok')")])

    await bench.ask(root, sub=sub)

    assert len(sub.requests) == 0
    assert "split the text into" in root.requests[-1][-1].content


async def test_a_batch_beyond_the_calls_left_is_refused_whole_and_says_to_group(bench):
    prompts = "[f'p{n}' for n in range(6)]"
    root = ScriptedModel(
        [
            code(f"r = llm_query_batched({prompts})\nprint(r[0])"),
            code(f"r = llm_query_batched([' '.join({prompts})])\nFINAL(r[0])"),
        ]
    )

    answer = await bench.ask(root, calls=6)

    assert "6 prompts are more than the 4 calls left" in seen(root)
    assert (answer.text, answer.stopped_by, answer.sub.calls) == (
        "[p0 p1 p2 p3 p4 p5]",
        "answer",
        1,
    )
    assert not any("failed" in note for note in answer.notes)  # it was made good


async def test_prompts_that_are_known_do_not_count_against_the_calls_left(bench):
    batch = "r = llm_query_batched([f'p{n}' for n in range(4)])"
    root = ScriptedModel([code(batch), code(f"{batch}\nFINAL(r[3])")])

    answer = await bench.ask(root, calls=8)

    assert (answer.text, answer.sub.calls) == ("[p3]", 4)


async def test_a_loop_of_single_calls_may_not_take_all_that_is_left(bench):
    loop = "done = []\nfor n in range(100):\n    done.append(llm_query(f'p{n}'))"
    root = ScriptedModel([code(loop), code("FINAL(len(done))")])

    answer = await bench.ask(root, calls=41)

    assert "group several pieces into each prompt" in seen(root)
    assert (answer.text, answer.stopped_by) == ("30", "answer")  # three quarters of 40


async def test_failed_calls_that_are_not_made_good_are_told_to_model_and_user(bench):
    def sub(messages):
        return ScriptedReply("no", status=400) if "p1" in messages[-1].content else "fine"

    root = ScriptedModel(
        [code("r = llm_query_batched(['p0', 'p1', 'p2'])\nprint(len(r))"), code("FINAL('ok')")]
    )

    answer = await bench.ask(root, sub=sub)

    assert "1 sub-call failed: ask again" in seen(root)
    assert answer.notes == ("1 sub-call failed: the answer does without.",)


async def test_a_model_the_run_does_not_have_is_refused_by_name(bench):
    root = ScriptedModel([code("llm_query('x', model='gpt-99')"), code("FINAL('ok')")])

    await bench.ask(root)

    assert "gpt-99" in root.requests[-1][-1].content
    assert "'sub'" in root.requests[-1][-1].content


async def test_code_may_ask_the_root_model(bench):
    root = ScriptedModel([code("FINAL(llm_query('x', model='root'))"), "from the root"])

    answer = await bench.ask(root)

    assert answer.text == "from the root"
    assert [event.model for event in bench.of(CallEnded)] == [root.name] * 2


async def test_at_depth_one_rlm_query_is_a_plain_call(bench):
    answer = await bench.ask([code("FINAL(rlm_query('x'))")], depth=1)

    assert answer.text == "[x]"
    assert len(bench.of(RunStarted)) == 1


async def test_a_nested_run_has_a_repl_of_its_own_over_the_text_it_is_given(bench):
    await bench.load("outer text")

    def root(messages):
        if "Question:\ncount it" in messages[1].content:
            return code("FINAL(f'{len(context)} {\"mine\" in globals()}')")
        return code("mine = 1\nFINAL(rlm_query('count it', context='inner'))")

    answer = await bench.ask(root, depth=2)

    assert answer.text == "5 False"
    assert [event.node for event in bench.of(RunStarted)] == ["", "1"]
    assert [event.node for event in bench.of(RunEnded)] == ["1", ""]


async def test_a_nested_run_without_text_sees_the_contexts_of_its_parent(bench):
    await bench.load("outer text")

    def root(messages):
        nested = "Question:\nwhat" in messages[1].content
        return code("FINAL(context)" if nested else "FINAL(rlm_query('what'))")

    assert (await bench.ask(root, depth=2)).text == "outer text"


async def test_nested_runs_draw_on_the_ledger_of_their_parent(bench):
    def root(messages):
        nested = "Question:\ndeep" in messages[1].content
        return code("FINAL(llm_query('leaf'))" if nested else "r = rlm_query_batched(['deep'] * 3)")

    answer = await bench.ask(root, depth=2, calls=4)

    assert answer.stopped_by == "calls"
    assert answer.usage.calls == 4


async def test_threads_may_ask_at_the_same_time(bench):
    program = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(4) as pool:
    FINAL(' '.join(pool.map(llm_query, 'abcd')))
"""
    assert (await bench.ask([code(program)])).text == "[a] [b] [c] [d]"


async def test_what_was_answered_in_a_run_is_not_asked_again(bench):
    asked = "a = llm_query_batched(['same', 'other', 'same'])\nb = llm_query('same')\n"
    root = ScriptedModel([code(f"{asked}FINAL(a + [b])")])

    answer = await bench.ask(root)

    assert json.loads(answer.text) == ["[same]", "[other]", "[same]", "[same]"]
    assert answer.sub.calls == 2


async def test_a_call_that_failed_is_asked_again(bench):
    replies = iter([ScriptedReply("no", status=400), "well"])
    sub = ScriptedModel(lambda _: next(replies), name="sub")
    root = ScriptedModel(
        [code("a = llm_query_batched(['p'])\nFINAL([bool(a[0]), llm_query('p')])")]
    )

    answer = await bench.ask(root, sub=sub)

    assert json.loads(answer.text) == [False, "well"]


async def test_the_next_run_asks_anew(bench):
    for _ in range(2):
        answer = await bench.ask(ScriptedModel([code("FINAL(llm_query('p'))")]))
        assert answer.sub.calls == 1


async def test_prompts_about_one_document_follow_each_other_and_replies_keep_their_order(bench):
    sub = ScriptedModel(lambda messages: messages[-1].content[-2:], name="sub", slots=1)
    batch = "[f'{name * 2000}#{n}' for n in range(3) for name in 'ab']"

    answer = await bench.ask([code(f"FINAL(llm_query_batched({batch}))")], sub=sub)

    assert json.loads(answer.text) == [f"#{n}" for n in range(3) for _ in "ab"]
    assert [messages[0].content[0] for messages in sub.requests] == list("aaabbb")


class Slots:
    """A server that keeps what each slot has read; an idle slot that has it is taken first.

    `read_anew` counts the prompts that found their document in none.
    """

    def __init__(self, slots):
        self.idle = [""] * slots
        self.read_anew = 0

    async def __call__(self, messages):
        document = messages[-1].content[:2000]
        if document in self.idle:
            self.idle.remove(document)
        else:
            self.idle.pop(0)
            self.read_anew += 1
        for _ in range(1 + ord(document[0]) % 3):
            await anyio.lowlevel.checkpoint()
        self.idle.append(document)
        return "fine"


async def test_a_document_many_prompts_are_about_is_read_once(bench):
    slots, documents = 3, 7
    server = Slots(slots)
    batch = f"[f'{{chr(97 + d) * 2000}}{{q}}' for q in range(6) for d in range({documents})]"

    await bench.ask(
        [code(f"FINAL(len(llm_query_batched({batch})))")],
        sub=ScriptedModel(server, name="sub", slots=slots),
    )

    # At the end, one worker after the other has nothing left to follow and helps the rest.
    helped = slots * (slots - 1) // 2
    assert documents <= server.read_anew <= documents + helped


async def test_a_prompt_that_fails_is_asked_once_however_often_it_stands_in_a_batch(bench):
    sub = ScriptedModel(lambda _: ScriptedReply("no", status=400), name="sub")

    answer = await bench.ask(
        [code("FINAL([bool(x) for x in llm_query_batched(['p'] * 20)])")], sub=sub
    )

    assert json.loads(answer.text) == [False] * 20
    assert len(sub.requests) == 1


async def test_who_waits_for_a_second_attempt_has_a_stand_in(bench):
    others, answered, is_retried = 4, set(), anyio.Event()

    async def busy_for_a_while(messages):
        prompt = messages[-1].content
        if prompt != "p0":
            answered.add(prompt)
            return prompt
        if not is_retried.is_set():
            is_retried.set()
            return ScriptedReply("full", status=503, headers={"Retry-After": "2"})
        return f"after {len(answered)}"

    sub = ScriptedModel(busy_for_a_while, name="sub", slots=1)
    answer = await bench.ask(
        [code(f"FINAL(llm_query_batched([f'p{{n}}' for n in range({1 + others})])[0])")], sub=sub
    )

    assert answer.text == f"after {others}"


async def test_what_is_to_be_known_of_an_endpoint_is_told_once(bench):
    class Reduced(ScriptedModel):
        """A model one of whose endpoints is gone."""

        async def complete(self, messages, **more):
            completion = await super().complete(messages, **more)
            return replace(completion, notes=("Nothing answers at http://b.",))

    root = ScriptedModel([code("llm_query_batched(['a', 'b', 'c'])"), code("FINAL('ok')")])

    answer = await bench.ask(root, sub=Reduced(lambda _: "fine", name="sub"))

    assert answer.notes == ("Nothing answers at http://b.",)


async def test_the_bill_names_the_model_that_answered(bench):
    class Elsewhere(ScriptedModel):
        """A model that has another name at the endpoint that answered."""

        async def complete(self, messages, **more):
            return replace(await super().complete(messages, **more), model="other")

    await bench.ask([code("FINAL(llm_query('x'))")], sub=Elsewhere(lambda _: "fine", name="sub"))

    assert [event.model for event in bench.of(CallEnded) if event.role == "sub"] == ["other"]
