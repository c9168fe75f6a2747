"""An endpoint that is lost on the way: waited for by one call, then the run stops and may go on."""

from collections import Counter

import anyio
import pytest

from rlm_mcp.engine import outage
from rlm_mcp.engine.outage import Outage
from rlm_mcp.errors import EndpointRefused, EndpointUnreachable
from rlm_mcp.events import CallEnded, CallRetried, CallStarted, RunEnded, RunFailed
from rlm_mcp.llm.scripted import ScriptedModel, ScriptedReply
from rlm_mcp.types import Message, Retry

pytestmark = pytest.mark.anyio

DROPPED = ScriptedReply(fault="drop")
HELLO = (Message("user", "hello"),)
BATCH = 6


def code(text):
    return f"```repl\n{text}\n```"


class Line:
    """A script whose calls are dropped until it is mended, which happens at request `mended_at`."""

    def __init__(self, mended_at):
        self.mended_at = mended_at
        self.asked = 0

    def __call__(self, _messages):
        self.asked += 1
        return "yes" if self.asked >= self.mended_at else DROPPED


def impatient(script, name="sub"):
    """A model that gives up at once by itself: all patience is the run's."""
    return ScriptedModel(script, name=name, patience_s=0, slots=BATCH)


async def test_one_call_of_a_batch_asks_a_lost_endpoint_again_and_the_others_wait_for_it():
    line, waits, borne = Line(BATCH + 3), Counter(), Outage(has_answers=True)
    model = impatient(line)

    async def call(number):
        def on_retry(retry):
            waits[number] += retry.wait_s > 0

        await borne.bear("sub", lambda heard: model.complete(HELLO, on_retry=heard), on_retry)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for number in range(BATCH):
                tasks.start_soon(call, number)

    probes = line.mended_at - BATCH
    assert sorted(waits.values())[-2:] == [0, probes]
    assert line.asked == BATCH + probes + (BATCH - 1)
    assert borne.waited_s == 0


async def test_what_a_lost_endpoint_says_once_it_is_back_ends_the_wait(bench):
    replies = [DROPPED, ScriptedReply("no such key", status=401)]
    model, borne = impatient(replies), Outage(has_answers=True)

    with anyio.fail_after(20), pytest.raises(EndpointRefused):
        await borne.bear("sub", lambda _: model.complete(HELLO), lambda _: None)

    assert borne.waited_s == 0


async def test_a_run_that_was_answered_nothing_yet_does_not_wait(bench):
    root = impatient(Line(mended_at=10), "root")

    with pytest.raises(EndpointUnreachable):
        await bench.ask(root)

    assert len(root.requests) == 1
    assert isinstance(bench.events[-1], RunFailed)


async def test_a_lost_endpoint_that_comes_back_costs_time_and_nothing_else(bench):
    root = ScriptedModel([code("FINAL(llm_query('is it?'))")], name="root")

    answer = await bench.ask(root, sub=impatient(Line(mended_at=3)))

    assert (answer.text, answer.stopped_by, answer.notes) == ("yes", "answer", ())
    assert [event.lost for event in bench.of(CallRetried)] == [True, True]
    assert [event.attempts for event in bench.of(CallEnded)] == [1, 3]
    assert bench.of(RunEnded)[0].waited_s == 0


@pytest.mark.parametrize("asked", ["llm_query('p')", "llm_query_batched(['p', 'q', 'r'])"])
async def test_a_wait_in_vain_stops_the_run_with_what_it_has(bench, monkeypatch, asked):
    monkeypatch.setattr(outage, "PAUSE_S", 0.0)
    root = ScriptedModel([code(f"answer['content'] = 'half'\n{asked}")], name="root")

    answer = await bench.ask(root, sub=impatient(Line(mended_at=1000)))

    assert (answer.text, answer.stopped_by) == ("half", "endpoint")
    assert [note for note in answer.notes if "for the endpoint: The script dropped" in note]
    assert len(bench.of(CallStarted)) == len(bench.of(CallEnded))
    assert bench.of(RunEnded)[0].waited_s > 0


async def test_a_wait_in_vain_for_the_root_model_stops_the_run_and_says_so_once(bench, monkeypatch):
    monkeypatch.setattr(outage, "PAUSE_S", 0.0)
    replies = [code("answer['content'] = 'half'"), DROPPED]

    answer = await bench.ask(impatient(replies, "root"))

    assert (answer.text, answer.stopped_by) == ("half", "endpoint")
    assert len(answer.notes) == 1


async def test_time_that_runs_out_while_the_endpoint_is_waited_for_is_a_lost_endpoint(bench):
    hour = {"retry-after": "3600"}
    busy = ScriptedReply("Loading model", status=503, headers=hour)
    replies = [code("answer['content'] = 'half'"), busy]

    answer = await bench.ask(ScriptedModel(replies, name="root"), seconds=60)

    assert (answer.text, answer.stopped_by) == ("half", "endpoint")
    assert answer.seconds < 60


async def test_a_request_that_another_endpoint_takes_at_once_waits_for_none():
    borne, waited = Outage(has_answers=True), []
    model = ScriptedModel(["yes"])

    async def ask(heard):
        heard(Retry(1, "Nothing answers there.", 0.0, lost=True))
        completion = await model.complete(HELLO)
        waited.append(borne.waited_s)
        return completion

    await borne.bear("sub", ask, lambda _: None)

    assert waited == [0]


async def test_a_wait_that_was_broken_off_is_over_once_the_run_asks_on():
    borne, model = Outage(has_answers=True), ScriptedModel(["yes"])

    async def ask(heard):
        heard(Retry(1, "Nothing answers there.", 60.0, lost=True))
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        await borne.bear("sub", ask, lambda _: None)
    when_broken_off = borne.waited_s
    await borne.bear("root", lambda _: model.complete(HELLO), lambda _: None)

    assert when_broken_off > 0
    assert borne.waited_s == 0


async def test_a_model_is_not_waited_for_because_one_of_its_name_is_lost_elsewhere(bench):
    lost, back = anyio.Event(), anyio.Event()
    second = iter([code("print(1)"), code("FINAL('two')")])

    async def root(messages):
        match messages[1].content:
            case asked if "First?" in asked:
                return code("FINAL(llm_query('is it?'))")
            case asked if "Second?" in asked:
                await lost.wait()
                reply = next(second)
                if "two" in reply:
                    back.set()
                return reply
            case _:
                return code("FINAL(' '.join(rlm_query_batched(['First?', 'Second?'])))")

    def sub(_messages):
        lost.set()
        return "one" if back.is_set() else DROPPED

    answer = await bench.ask(
        ScriptedModel(root, name="same", slots=2), sub=impatient(sub, "same"), depth=2
    )

    assert (answer.text, answer.stopped_by) == ("one two", "answer")
