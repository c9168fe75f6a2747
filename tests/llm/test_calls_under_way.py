"""Calls as they go on: turns between runs over HTTP, retries, hung servers, and an exact bill."""

from contextlib import asynccontextmanager

import anyio
import pytest
from wire_server import CHAT, delta, drop, events, raw_server, silence, then

from rlm_mcp.engine.calls import Calls, CallSite
from rlm_mcp.engine.ledger import Ledger
from rlm_mcp.errors import EndpointError, EndpointFailed, ReplyEmpty
from rlm_mcp.events import CallEnded, CallRetried
from rlm_mcp.llm.client import Connection, RemoteModel, Server
from rlm_mcp.llm.endpoint import Endpoint
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.prices import price
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.scheduler import Gate
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget, Message

pytestmark = pytest.mark.anyio

THINKER = Quirks(thinking="reasoning_content", thinking_switch="enable_thinking")
OK = events(delta("OK"), delta(finish="stop"))


def asking(prompt):
    return [Message("user", prompt)]


@asynccontextmanager
async def played(script, *, slots=4, **settings):
    """The models of a scripted server, and the server."""
    async with (
        serve(script, slots=slots) as server,
        Models(Settings(api_url=server.url, **settings)) as models,
    ):
        yield await models.resolve(), server


async def test_a_batch_of_one_run_does_not_hold_up_a_call_of_another():
    slots, batch = 2, 100
    seen = []

    async def ask(model, prompt):
        seen.append((await model.complete(asking(prompt))).text)

    async with (
        played(lambda messages: messages[-1].content, slots=slots) as (pair, _),
        anyio.create_task_group() as tasks,
    ):
        for number in range(batch):
            tasks.start_soon(ask, pair.for_run("session", "one").sub, f"p{number}")
        tasks.start_soon(ask, pair.for_run("session", "other").root, "single")
    assert seen.index("single") <= 3 * slots
    assert len(seen) == batch + 1


async def test_models_of_a_run_are_those_of_all_but_for_their_turns():
    async with played({"a": ["x"]}, context_window=4000, slots=3) as (pair, _):
        mine, yours = pair.for_run("s", "mine"), pair.for_run("s", "yours")
        mine.root.learn_window(2000)
    assert mine.sub is mine.root
    assert (yours.root.name, yours.root.slots, yours.root.window_tokens) == ("a", 3, 2000)


async def test_a_call_that_is_tried_again_goes_behind_those_of_its_run_that_wait():
    seen = []

    def script(messages):
        seen.append(messages[-1].content)
        if len(seen) == 1:
            return ScriptedReply("full", status=503, headers={"Retry-After": "0"})
        return "fine"

    async with played(script, slots=1) as (pair, _), anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(pair.for_run("s", "r").sub.complete, asking(f"p{number}"))
    assert seen == ["p0", "p1", "p2", "p3", "p0"]


async def test_a_hung_call_is_tried_again_and_answered():
    async with (
        raw_server({CHAT: [silence, OK]}) as server,
        Models(Settings(api_url=server.url, model="m", timeout_s=1.0)) as models,
    ):
        with anyio.fail_after(20):
            completion = await (await models.resolve()).root.complete(asking("p"))
    assert (completion.text, completion.attempts) == ("OK", 2)


async def test_a_call_that_hangs_twice_has_an_error_of_its_own_and_holds_up_nobody():
    def script(messages):
        is_bad = messages[-1].content == "p3"
        return ScriptedReply(fault="hang") if is_bad else messages[-1].content

    outcomes = {}

    async def ask(model, prompt):
        try:
            outcomes[prompt] = (await model.complete(asking(prompt))).text
        except EndpointFailed as error:
            outcomes[prompt] = error.message

    with anyio.fail_after(20):
        async with (
            played(script, slots=2, timeout_s=1.0) as (pair, server),
            anyio.create_task_group() as tasks,
        ):
            for number in range(20):
                tasks.start_soon(ask, pair.root, f"p{number}")
    assert list(outcomes)[-1] == "p3"
    assert "sent nothing for 1 s" in outcomes.pop("p3")
    assert all(prompt == said for prompt, said in outcomes.items())
    assert server.ledger.failed == 2


@asynccontextmanager
async def thinker(*replies, patience_s=10.0):
    """A model that spends its tokens on thinking, known to have a switch against it."""
    said = [ScriptedReply("", reasoning="hm " * 40, finish_reason="length"), *replies]
    async with serve(said, quirks=THINKER) as server, Endpoint(server.url, None, 10.0) as endpoint:
        place = Server(Connection(endpoint, Gate(2)), "scripted", "enable_thinking")
        paid = price(1.0, 2.0, None)
        yield RemoteModel([place], None, price=paid, patience_s=patience_s), server


def on_the_servers_bill(usage, server):
    """Whether a bill is the server's own."""
    of_server = server.ledger.calls, server.ledger.input_tokens, server.ledger.output_tokens
    return (usage.calls, usage.input_tokens, usage.output_tokens) == of_server


async def test_thinking_that_was_paid_for_is_on_the_bill_when_the_second_ask_succeeds():
    async with thinker("Yes.") as (model, server):
        completion = await model.complete(asking("Is it?"), max_tokens=30)
    assert completion.text == "Yes."
    assert completion.usage.calls == 2
    assert on_the_servers_bill(completion.usage, server)


@pytest.mark.parametrize("fault", ["drop", "drop_mid"])
async def test_thinking_that_was_paid_for_is_on_the_bill_when_the_second_ask_is_tried_again(fault):
    async with thinker(ScriptedReply("Ye", fault=fault), "Yes.") as (model, server):
        completion = await model.complete(asking("Is it?"), max_tokens=30)
    assert (completion.text, completion.attempts) == ("Yes.", 2)
    assert len(server.requests) == 3
    assert on_the_servers_bill(completion.usage, server)
    assert completion.usage.cost == pytest.approx(
        (server.ledger.input_tokens + 2 * server.ledger.output_tokens) / 1e6
    )


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply("no", status=400),
        ScriptedReply("no such model", status=404),
        ScriptedReply("Ye", fault="drop_mid"),
    ],
)
async def test_thinking_that_was_paid_for_is_on_the_bill_when_the_call_fails(reply):
    async with thinker(reply, reply, reply) as (model, server):
        with pytest.raises(EndpointError) as caught:
            await model.complete(asking("Is it?"), max_tokens=30)
    assert server.ledger.calls == 1
    assert on_the_servers_bill(caught.value.usage, server)


async def test_thinking_twice_is_paid_for_twice():
    again = ScriptedReply("", finish_reason="length")
    async with thinker(again) as (model, server):
        with pytest.raises(ReplyEmpty) as caught:
            await model.complete(asking("Is it?"), max_tokens=30)
    assert caught.value.usage.calls == 2
    assert on_the_servers_bill(caught.value.usage, server)


class Told(list):
    """A sink that keeps what it is told, and calls `then` after the first event of a kind."""

    def __init__(self, kind=None, then=None):
        self.kind, self.then = kind, then

    def emit(self, event):
        self.append(event)
        if self.kind is not None and isinstance(event, self.kind):
            self.then()


async def asked_in_a_run(model, told):
    """The call as a run makes and bills it."""
    calls = Calls(Ledger(Budget()), told)
    calls.outage.has_answers = True
    site = CallSite("s1", 1, await calls.ledger.admit("", "sub"))
    with anyio.fail_after(20):
        await calls.ask(model, asking("Is it?"), site, 30)


async def test_thinking_that_was_paid_for_is_on_the_bill_when_the_second_ask_is_cancelled():
    async with thinker(ScriptedReply(fault="hang")) as (model, server):
        with anyio.CancelScope() as scope:
            told = Told(CallRetried, scope.cancel)
            await asked_in_a_run(model, told)
        assert scope.cancelled_caught
    (ended,) = [event for event in told if isinstance(event, CallEnded)]
    assert ended.outcome == "cancelled"
    assert server.ledger.calls == 1
    assert on_the_servers_bill(ended.usage, server)


async def test_thinking_that_was_paid_for_is_on_the_bill_after_an_outage():
    lost = ScriptedReply("Loading model", status=503, headers={"retry-after": "0.01"})
    again = ScriptedReply("", reasoning="hm " * 40, finish_reason="length")
    async with thinker(lost, again, "Yes.", patience_s=0) as (model, server):
        await asked_in_a_run(model, told := Told())
    ended = told[-1]
    assert (ended.outcome, ended.reply) == ("ok", "Yes.")
    assert ended.usage.calls == server.ledger.calls == 3
    assert on_the_servers_bill(ended.usage, server)


async def test_what_is_known_of_no_reply_is_not_put_on_the_bill():
    async with (
        raw_server({CHAT: [then(events(delta("O"), done=False), drop)]}) as server,
        Models(Settings(api_url=server.url, model="m"), patience_s=0) as models,
    ):
        with pytest.raises(EndpointFailed) as caught:
            await (await models.resolve()).root.complete(asking("p"))
    assert caught.value.usage is None
