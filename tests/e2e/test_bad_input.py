"""What goes wrong is said in two lines, what happened and what to do; then the next call works."""

import os

import anyio
import pytest
from e2e_server import call, connected

from rlm_mcp.llm.scripted import ScriptedReply, serve

pytestmark = pytest.mark.anyio


def code(text):
    return f"```repl\n{text}\n```"


def script(messages):
    question = messages[1].content.rpartition("Question:\n")[2]
    turn = sum(message.role == "assistant" for message in messages)
    if question == "never code":
        return "I would rather talk."
    if question == "endpoint goes away":
        return code("result = 'half'") if turn == 0 else ScriptedReply("gone", status=401)
    return code(question)


@pytest.fixture
async def endpoint():
    async with serve(script) as server:
        with anyio.fail_after(90):
            yield server


@pytest.fixture
def odd_files(tmp_path):
    folder = tmp_path / "odd"
    (folder / "empty").mkdir(parents=True)
    (folder / "binary").mkdir()
    (folder / "binary" / "a.bin").write_bytes(b"\0\1\2" * 100)
    (folder / "latin.txt").write_bytes("caf\xe9 au lait".encode("latin-1"))
    os.mkfifo(folder / "binary" / "pipe")
    return folder


async def test_bad_sources_are_refused_with_a_hint_and_the_next_load_works(
    environment_for, endpoint, odd_files
):
    bad = [
        ({"source": str(odd_files / "latin.tx")}, "latin.txt"),
        ({"source": str(odd_files / "empty")}, "empty"),
        ({"source": str(odd_files / "binary")}, "skipped"),
        ({"source": str(odd_files / "binary" / "a.bin")}, "binary"),
        ({"source": str(odd_files / "binary" / "pipe")}, "named pipe"),
        ({"source": str(odd_files / "*.nothing")}, "Nothing matches"),
        ({"text": ""}, "no text"),
        ({}, "one of the two"),
        ({"text": "x", "session": "ses_nope"}, "expired"),
    ]
    async with connected(environment_for(endpoint.url)) as client:
        for arguments, word in bad:
            result = await client.call_tool("load_context", arguments)
            said = result.content[0].text
            assert result.is_error, arguments
            assert word in said, said
            assert len(said.splitlines()) >= 2, said
        loaded = await call(client, "load_context", source=str(odd_files / "latin.txt"))
        answer = await call(client, "rlm_query", query="FINAL(context)")

    assert loaded["context"]["documents"] == 1
    assert answer["answer"] == "caf\xe9 au lait"


async def test_unknown_runs_contexts_and_costs_are_refused_with_a_hint(environment_for, endpoint):
    async with connected(environment_for(endpoint.url)) as client:
        await call(client, "load_context", text="text", name="notes")
        for tool, arguments, word in [
            ("rlm_query", {"query": "x", "contexts": ["nope"]}, "'notes'"),
            ("rlm_query", {"query": "x", "session": "ses_nope"}, "load_context"),
            ("get_answer", {"run_id": "run_nope"}, "run_nope"),
            ("cancel_query", {"run_id": "run_nope"}, "run_nope"),
            ("get_trace", {"run_id": "run_nope"}, "run_nope"),
            ("get_costs", {"scope": "run", "id": "run_nope"}, "run_nope"),
        ]:
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert word in result.content[0].text
        answer = await call(client, "rlm_query", query="FINAL(context)")

    assert answer["answer"] == "text"


async def test_bad_code_and_bad_models_end_as_results_and_the_session_goes_on(
    environment_for, endpoint
):
    environment = environment_for(endpoint.url, max_errors=2, cell_s=1)
    async with connected(environment) as client:
        await call(client, "load_context", text="text")
        talker = await call(client, "rlm_query", query="never code")
        looper = await call(client, "rlm_query", query="while True: pass", budget={"turns": 1})
        printer = await call(
            client,
            "rlm_query",
            query="kept = 7\nfor _ in range(1000): print('x' * 1_000_000)",
            budget={"turns": 1},
        )
        lost = await call(client, "rlm_query", query="endpoint goes away")
        answer = await call(client, "rlm_query", query="FINAL(kept)")

    assert (talker["stopped_by"], talker["answer"]) == ("errors", "I would rather talk.")
    assert looper["stopped_by"] == "turns"
    assert printer["status"] == "done"
    assert (lost["stopped_by"], lost["answer"]) == ("endpoint", "half")
    assert answer["answer"] == "7"


async def test_an_endpoint_that_is_not_there_is_named_with_what_to_do(environment_for):
    async with connected(environment_for("http://127.0.0.1:9/v1")) as client:
        await call(client, "load_context", text="text")
        result = await client.call_tool("rlm_query", {"query": "x"})

    assert result.is_error
    assert "http://127.0.0.1:9/v1" in result.content[0].text
    assert "RLM_API_URL" in result.content[0].text
