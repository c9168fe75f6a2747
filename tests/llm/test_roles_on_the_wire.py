"""Requests put otherwise after a refusal: roles, and thinking turned off when it took all."""

from contextlib import asynccontextmanager

import pytest
from wire_server import CHAT, delta, events, raw_server, reply

from rlm_mcp.errors import EndpointFailed, EndpointRefused, ReplyEmpty
from rlm_mcp.llm.models import Models
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.refusals import Refusal
from rlm_mcp.llm.scripted import serve
from rlm_mcp.llm.wire import Dialect
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

SYSTEM, FIRST, SECOND = (
    Message("system", "Be brief."),
    Message("user", "Here it is."),
    Message("user", "What is it?"),
)
REPLY = Message("assistant", "A thing.")
MERGED = Message("user", f"{FIRST.content}\n\n{SECOND.content}")
FOLDED = Message("user", f"{SYSTEM.content}\n\n{FIRST.content}")
WHOLE = Message("user", f"{SYSTEM.content}\n\n{FIRST.content}\n\n{SECOND.content}")


@asynccontextmanager
async def model_at(quirks, script=lambda _: "Yes.", **settings):
    async with serve(script, quirks=quirks) as server:
        given = Settings(api_url=server.url, **settings)
        async with Models(given, patience_s=0) as models:
            yield (await models.resolve()).root, server


@pytest.mark.parametrize("vendor", ["vllm", "llamacpp", "sglang"])
@pytest.mark.parametrize(
    ("quirks", "sent", "taken"),
    [
        ({"alternates": True}, [SYSTEM, FIRST, SECOND], (SYSTEM, MERGED)),
        ({"takes_system": False}, [SYSTEM, FIRST], (FOLDED,)),
        ({"takes_system": False, "alternates": True}, [SYSTEM, FIRST, SECOND], (WHOLE,)),
        (
            {"takes_system": False, "alternates": True},
            [SYSTEM, FIRST, REPLY, SECOND],
            (FOLDED, REPLY, SECOND),
        ),
    ],
)
async def test_roles_that_are_refused_are_put_otherwise_and_stay_so(vendor, quirks, sent, taken):
    async with model_at(Quirks(vendor=vendor, **quirks)) as (model, server):
        assert (await model.complete(sent)).text == "Yes."
        refused = len(server.requests)
        assert server.requests[-1] == taken
        await model.complete(sent)
        assert len(server.requests) == refused + 1


@pytest.mark.parametrize(
    "words",
    [
        "After the optional system message, conversation roles must alternate.",
        "In source:\n..System role..\nError: Jinja Exception: Conversation roles must alternate",
    ],
)
async def test_words_on_turns_are_told_from_those_on_the_system_message(words):
    assert Dialect().after(Refusal(500, words)) == Dialect(merges=True)


@pytest.mark.parametrize(
    "words", ["System role not supported", "Only user, assistant and tool roles are supported"]
)
async def test_words_on_the_system_message_fold_it(words):
    assert Dialect().after(Refusal(400, words)) == Dialect(folds=True)


async def test_a_system_message_that_counts_as_a_turn_is_folded_next():
    turns = Refusal(400, "Conversation roles must alternate user/assistant/user/assistant/...")
    merging = Dialect().after(turns)
    folding = merging.after(turns)
    assert folding == Dialect(merges=True, folds=True)
    assert folding.after(turns) is None


@pytest.mark.parametrize(("status", "error"), [(400, EndpointRefused), (500, EndpointFailed)])
async def test_a_refusal_that_stays_is_the_error(status, error):
    body = b'{"error":{"message":"Conversation roles must alternate."}}'
    async with raw_server({CHAT: reply(status, body)}) as server:
        settings = Settings(api_url=server.url, model="m")
        async with Models(settings, patience_s=0) as models:
            with pytest.raises(error, match="must alternate"):
                await (await models.resolve()).root.complete([SYSTEM, FIRST])
    assert len(server.chats) == 3


async def test_models_at_one_endpoint_are_spoken_to_each_in_its_way():
    refusal = reply(400, b'{"error":{"message":"System role not supported"}}')
    ok = events(delta("OK"), delta(finish="stop"))
    async with raw_server({CHAT: [refusal, ok, ok]}) as server:
        settings = Settings(api_url=server.url, model="a", sub_model="b")
        async with Models(settings, patience_s=0) as models:
            pair = await models.resolve()
            await pair.root.complete([SYSTEM, FIRST])
            await pair.sub.complete([SYSTEM, FIRST])
    roles = [[each["role"] for each in seen.json["messages"]] for seen in server.chats]
    assert roles == [["system", "user"], ["user"], ["system", "user"]]


@pytest.mark.parametrize("switch", ["enable_thinking", "reasoning_effort", "no_think"])
async def test_thinking_that_took_all_tokens_is_turned_off_once_the_switch_is_known(
    switch, tmp_path
):
    quirks = Quirks(thinking="reasoning", thinking_switch=switch)
    async with model_at(quirks, home=tmp_path) as (model, server):
        with pytest.raises(ReplyEmpty):
            await model.complete([FIRST], max_tokens=4)
        assert len(server.requests) == 1
        async with Models(Settings(api_url=server.url, home=tmp_path)) as models:
            await models.measure()
            knowing = (await models.resolve()).root
            before = server.ledger.input_tokens, server.ledger.output_tokens, server.ledger.calls
            completion = await knowing.complete([FIRST], max_tokens=4)
    assert completion.text == "Yes."
    after = server.ledger.input_tokens, server.ledger.output_tokens, server.ledger.calls
    usage = completion.usage
    spent = tuple(new - old for new, old in zip(after, before, strict=True))
    assert (usage.input_tokens, usage.output_tokens, usage.calls) == spent
    assert usage.calls == 2
