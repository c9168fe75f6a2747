"""Clients of other makers drive the real server: the Inspector, and the TypeScript SDK."""

import json
from contextlib import AsyncExitStack

import anyio
import pytest
from e2e_server import COMMAND
from node_clients import INSPECTOR, driving, needs_node_clients, node, served

from rlm_mcp.llm.scripted import ScriptedReply, serve

pytestmark = [pytest.mark.anyio, needs_node_clients]

WITHIN_S = 240
ERAS = ["modern", "legacy"]
ANSWERS = ["```repl\nFINAL(context.upper())\n```"]
GIVES_UP_MS = 4_000
WAIT_S = 0.5
WAITS = 9  # together longer than a client waits for one call


class Inspector:
    """The Inspector's command line over HTTP, one method a call."""

    def __init__(self, url, era):
        self.target = ["--server-url", url, "--protocol-era", era]

    async def ask(self, method, *arguments):
        asked = ["--method", method, *arguments, "-q", "--format", "json", *self.target]
        code, out, err = await node(INSPECTOR, "--cli", *asked)
        assert code == 0, out + err
        return json.loads(out)["result"], err


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_finds_no_error_in_our_schemas(environment_for, era):
    with anyio.fail_after(WITHIN_S):
        async with serve(()) as model, served(environment_for(model.url)) as url:
            listed, lint = await Inspector(url, era).ask("tools/list", "--strict")

    nullable = {
        f"outputSchema.properties.{name}"
        for tool in listed["tools"]
        for name, schema in tool["outputSchema"].get("properties", {}).items()
        if not schema
    }
    paths = {line.split()[-1] for line in lint.splitlines() if line.strip().startswith("Path: ")}
    assert "0 errors" in lint
    # What may be null is left open: the lint knows no spelling that every host takes.
    assert paths == nullable


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_loads_asks_and_reads(environment_for, era):
    with anyio.fail_after(WITHIN_S):
        async with serve(ANSWERS) as model, served(environment_for(model.url)) as url:
            inspector = Inspector(url, era)

            async def call(tool, *arguments):
                named = ["--tool-name", tool, *(f"--tool-arg={each}" for each in arguments)]
                return (await inspector.ask("tools/call", *named))[0]

            loaded = await call("load_context", "text=alpha", "name=greek")
            session = loaded["structuredContent"]["session"]
            if era == "modern":  # the Inspector ends its session, and with it ours, at each exit
                asked = await call("rlm_query", "query=What?", f"session={session}")
                assert asked["structuredContent"]["answer"] == "ALPHA"
            uri = loaded["structuredContent"]["context"]["uri"]
            read, _ = await inspector.ask("resources/read", "--uri", f"{uri}/text")
            prompt = ["--prompt-name", "explain_trace", "--prompt-args", "run_id=run_1"]
            written, _ = await inspector.ask("prompts/get", *prompt)

    (link,) = [part for part in loaded["content"] if part["type"] == "resource_link"]
    assert (link["name"], link["uri"]) == ("greek", uri)
    assert read["contents"][0]["text"] == "alpha"
    assert '{"run_id": "run_1", "page": 1}' in written["messages"][0]["content"]["text"]


def gated(released):
    """A model that answers once it may."""

    async def script(_):
        await released.wait()
        return ANSWERS[0]

    return script


@pytest.mark.parametrize(("sdk", "transport"), [("v1", "stdio"), ("v2", "http")])
async def test_a_run_outlives_the_patience_of_a_typescript_client(environment_for, sdk, transport):
    released, made = anyio.Event(), []
    with anyio.fail_after(WITHIN_S):
        async with serve(gated(released)) as model:
            environment = environment_for(model.url)
            asked = {"sdk": sdk, "timeout_ms": GIVES_UP_MS, "wait_s": WAIT_S}
            async with AsyncExitStack() as stack:
                if transport == "stdio":
                    asked["command"] = COMMAND
                else:
                    asked["url"] = await stack.enter_async_context(served(environment))
                calls = await stack.enter_async_context(driving(environment, **asked))
                async for call in calls:
                    made.append(call)
                    if len(made) > WAITS:  # the first one loads
                        released.set()

    _, *waits, last = made
    assert len(waits) * WAIT_S * 1000 > GIVES_UP_MS
    assert {call["result"]["status"] for call in waits} == {"running"}
    assert [call["tool"] for call in waits[:2]] == ["rlm_query", "get_answer"]
    assert last["result"]["answer"] == "ALPHA"


async def test_a_client_that_gives_up_on_a_call_stops_its_run(environment_for):
    with anyio.fail_after(WITHIN_S):
        async with serve([ScriptedReply(fault="hang")]) as model:
            environment = environment_for(model.url)
            asked = {"sdk": "v1", "command": COMMAND, "timeout_ms": 1_500, "wait_s": 60}
            async with driving(environment, **asked) as calls:
                _, waited, costs = [call async for call in calls]

    assert "timed out" in waited["thrown"].lower()
    assert costs["result"]["total"]["cancelled"] == costs["result"]["total"]["calls"]
