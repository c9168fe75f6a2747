"""The real llama.cpp server with a model that says a script: discovery, asking, and giving up."""

import re
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from llama_child import SLOTS, WINDOW
from mcp import Client, StdioServerParameters
from scripted_gguf import ENDLESS, Said, write_model

from rlm_mcp.errors import PromptTooLong
from rlm_mcp.llm.models import Models
from rlm_mcp.settings import Settings
from rlm_mcp.types import Message

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
pytestmark = pytest.mark.anyio

LOG = "calm\nboom at noon\ncalm\n"
LOOK = """```repl
line = 1 + context[:context.index("boom")].count("\\n")
said = llm_query("When?", context.splitlines()[line - 1])
print(said)
```"""
ANSWER = """```repl
FINAL(f"It went boom {said}, see log.txt:{line}.")
```"""
GO_ON = f"""```repl
llm_query("{ENDLESS}")
```"""
SCRIPT = (
    Said("messages[0]['role'] != 'system'", "at noon"),
    Said(f"'{ENDLESS}' in messages[1]['content']", GO_ON),
    Said("messages[-2]['role'] == 'assistant'", ANSWER),
    Said("true", LOOK),
)
TOLD = "It went boom at noon, see log.txt:2."
WITHIN_S = 60.0


@contextmanager
def running(model, port=0):
    """The server as a child process; its standard output says when it serves, and where."""
    program = Path(__file__).with_name("llama_child.py")
    command = [sys.executable, str(program), str(model), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            yield child.stdout
        finally:
            child.kill()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    model = write_model(tmp_path_factory.mktemp("model") / "scripted.gguf", *SCRIPT)
    with running(model) as said:
        yield said.readline().decode().strip()


@pytest.fixture
async def model(address, own_environment):
    with anyio.fail_after(WITHIN_S):
        async with Models(Settings(api_url=f"{address}/v1", home=own_environment)) as models:
            yield (await models.resolve()).root


@pytest.fixture
def environment(address, environment_of):
    return environment_of(RLM_API_URL=f"{address}/v1", RLM_STRATEGY="rlm")


def prompt_tokens(*messages):
    """Tokens of a prompt, counted by hand: marks are one, any other byte is one."""
    turns = sum(len(f"{each.role}\n{each.content}\n".encode()) + 2 for each in messages)
    return turns + 1 + len(b"assistant\n") + 1


async def slots(address):
    """How many slots are at work, and how many tokens the server has made in all."""
    async with httpx.AsyncClient(base_url=address) as client:
        busy = sum(slot["is_processing"] for slot in (await client.get("/slots")).json())
        metrics = (await client.get("/metrics")).text
    made = re.search(r"^llamacpp:tokens_predicted_total (\d+)", metrics, re.MULTILINE)
    return busy, int(made[1])


async def until_busy(address, wanted):
    while (await slots(address))[0] != wanted:
        await anyio.sleep(0.01)


async def test_it_is_found_out_by_its_own_pages(model):
    assert (model.name, model.window_tokens, model.slots) == ("scripted", WINDOW, SLOTS)


async def test_a_reply_is_streamed_and_counted_and_its_prompt_is_cached(model):
    question = Message("user", "When did it go boom? " * 20)

    first = await model.complete([question])
    again = await model.complete([question])

    assert (first.text, first.finish_reason) == ("at noon", "stop")
    assert first.usage.input_tokens == again.usage.input_tokens == prompt_tokens(question)
    assert first.usage.output_tokens == 2  # the reply is one token, the end of the turn another
    assert again.usage.cached_tokens > first.usage.cached_tokens
    assert again.usage.estimated_calls == 0


async def test_a_reply_that_reaches_its_limit_says_so(model):
    completion = await model.complete([Message("user", ENDLESS)], max_tokens=10)

    assert (completion.text, completion.finish_reason) == ("a" * 10, "length")


async def test_a_prompt_beyond_the_window_is_refused_with_both_sizes(model):
    long = Message("user", "x" * WINDOW)

    with pytest.raises(PromptTooLong) as caught:
        await model.complete([long])

    assert caught.value.prompt_tokens == prompt_tokens(long)
    assert caught.value.window_tokens == WINDOW


async def test_requests_have_slots_beside_each_other_and_leave_them_when_cancelled(model, address):
    _, before = await slots(address)

    async with anyio.create_task_group() as asking:
        for _ in range(SLOTS):
            asking.start_soon(model.complete, [Message("user", ENDLESS)])
        await until_busy(address, SLOTS)
        asking.cancel_scope.cancel()
    await until_busy(address, 0)

    _, after = await slots(address)
    assert after - before < SLOTS * (WINDOW - prompt_tokens(Message("user", ENDLESS)))


@asynccontextmanager
async def loading(model):
    """The address of a server that listens, and loads its model."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(model, port):
        while True:
            try:
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                break
            except OSError:
                await anyio.sleep(0.01)
        yield f"http://127.0.0.1:{port}/v1"


async def test_a_server_that_still_loads_is_waited_for(tmp_path, own_environment):
    model = write_model(tmp_path / "slow.gguf", Said("true", "Ready."), slow_start=2000)
    waits = []

    with anyio.fail_after(WITHIN_S):
        async with loading(model) as url:
            settings = Settings(api_url=url, model="scripted", home=own_environment)
            async with Models(settings) as models:
                root = (await models.resolve()).root
                completion = await root.complete([Message("user", "Hello")], on_retry=waits.append)

    assert completion.text == "Ready."
    assert "is busy (503): Loading model" in waits[0].reason


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.txt"
    path.write_text(LOG, encoding="utf-8")
    return str(path)


async def asked(log, environment):
    command = [sys.executable, "-m", "rlm_mcp", "ask", log, "When did it go boom?"]
    with anyio.fail_after(WITHIN_S):
        ran = await anyio.run_process(command, env=environment, check=False)
    return ran.stdout.decode(), ran.stderr.decode()


async def test_ask_ends_with_the_models_answer(environment, log):
    out, err = await asked(log, environment)

    assert out == f"{TOLD}\n", err
    assert "3 calls" in err


async def test_ask_waits_for_a_server_that_still_loads(environment, log, tmp_path):
    model = write_model(tmp_path / "slow.gguf", *SCRIPT, slow_start=2000)

    with anyio.fail_after(WITHIN_S):
        async with loading(model) as url:
            out, err = await asked(log, environment | {"RLM_API_URL": url})

    assert out == f"{TOLD}\n", err


@pytest.fixture
async def client(environment):
    server = StdioServerParameters(command=sys.executable, args=["-m", "rlm_mcp"], env=environment)
    with anyio.fail_after(WITHIN_S):
        async with Client(server) as client:
            yield client


async def about(client, log, **query):
    """What rlm_query says about the log."""
    loaded = await client.call_tool("load_context", {"source": log})
    session = loaded.structured_content["session"]
    return (await client.call_tool("rlm_query", {"session": session} | query)).structured_content


async def test_a_client_of_the_server_gets_the_models_answer(client, log):
    answer = await about(client, log, query="When did it go boom?")

    assert (answer["status"], answer["answer"]) == ("done", TOLD)


async def test_a_client_that_cancels_a_run_frees_the_slot_of_the_model(client, log, address):
    _, before = await slots(address)
    begun = await about(client, log, query=ENDLESS, wait_s=0)
    await until_busy(address, 1)

    ended = await client.call_tool("cancel_query", {"run_id": begun["run_id"]})
    await until_busy(address, 0)

    _, after = await slots(address)
    assert ended.structured_content["stopped_by"] == "cancelled"
    assert after - before < WINDOW - prompt_tokens(Message("user", ENDLESS))
