"""The main job as a client sees it: the real command, a real endpoint, this repository."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from e2e_server import COMMAND, call, connected

from rlm_mcp.llm.scripted import serve

pytestmark = pytest.mark.anyio

REPOSITORY = Path(__file__).parents[2]

FIND = """
import re
hits = []
for path, text in files.items():
    for found in re.finditer(r"^class Settings\\b", text, re.MULTILINE):
        hits.append((path, text.count("\\n", 0, found.start()) + 1))
print(hits)
"""
JUDGE = """
pieces = [files[path][:2000] for path, _ in hits]
said = llm_query_batched([f"Is this about settings?\\n{piece}" for piece in pieces])
path, line = hits[0]
FINAL(f"Settings are a class at {path}:{line}; the sub-model says {said[0]}.")
"""


def code(text):
    return f"```repl\n{text}\n```"


def script(messages):
    """Plays the root model for three known questions, and every sub-model."""
    if messages[0].role != "system":
        return "yes"
    question = messages[1].content.rpartition("Question:\n")[2]
    turn = sum(message.role == "assistant" for message in messages)
    if question == "Where are settings?":
        return [code(FIND), code(JUDGE)][turn]
    if question == "How many did you find?":
        return code("FINAL(f'{len(hits)} from before')")
    if question == "Spin":
        return code("while True: pass")
    return code(question)


@pytest.fixture
async def endpoint():
    async with serve(script) as server:
        with anyio.fail_after(90):
            yield server


@pytest.fixture
def environment(endpoint, environment_for):
    return environment_for(endpoint.url)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_repository_is_loaded_asked_and_answered_with_citations(
    environment, endpoint, mode
):
    lines = []

    async def heard(progress, _total, message):
        lines.append((progress, message))

    async with connected(environment, mode) as client:
        loaded = await call(client, "load_context", source=str(REPOSITORY))
        session = loaded["session"]
        result = await client.call_tool(
            "rlm_query",
            {"query": "Where are settings?", "session": session},
            progress_callback=heard,
        )
        answer = result.structured_content
        again = await call(client, "rlm_query", query="How many did you find?", session=session)
        costs = await call(client, "get_costs", scope="session", id=session)
        trace = await call(client, "get_trace", run_id=answer["run_id"])
        manifest = await client.read_resource(loaded["context"]["uri"])
        listed = await client.list_resources()

    source = REPOSITORY / "rlm_mcp" / "settings.py"
    line = 1 + source.read_text(encoding="utf-8").split("class Settings(")[0].count("\n")
    assert answer["status"] == "done"
    assert f"rlm_mcp/settings.py:{line}; the sub-model says yes" in answer["answer"]
    cited = answer["citations"][0]
    assert (cited["path"], cited["start"], cited["found"]) == ("rlm_mcp/settings.py", line, True)
    assert answer["answer"] in result.content[0].text

    assert [value for value, _ in lines] == sorted({value for value, _ in lines})
    assert all(len(message) <= 100 for _, message in lines)

    assert again["answer"].endswith("from before")
    bill = endpoint.ledger
    total = costs["total"]
    assert (total["calls"], total["input_tokens"], total["output_tokens"]) == (
        bill.calls,
        bill.input_tokens,
        bill.output_tokens,
    )
    assert costs["root"]["calls"] + costs["sub"]["calls"] == total["calls"]

    assert "re.finditer" in json.dumps(trace["steps"])
    assert loaded["context"]["documents"] > 50
    assert "rlm_mcp/settings.py" in manifest.contents[0].text
    assert loaded["context"]["uri"] in [str(each.uri) for each in listed.resources]


async def test_two_servers_on_one_data_folder_see_nothing_of_each_other(environment):
    async with connected(environment) as one, connected(environment) as two:
        await call(one, "load_context", text="first secret", name="mine")
        await call(two, "load_context", text="second text", name="theirs")
        await call(one, "rlm_query", query="canary = context\nFINAL('kept')")
        seen = await call(
            two, "rlm_query", query="FINAL(f'{\"canary\" in globals()} {list(contexts)} {context}')"
        )
        own = await call(one, "rlm_query", query="FINAL(canary)")

    assert seen["answer"] == "False ['theirs'] second text"
    assert own["answer"] == "first secret"


async def test_a_long_run_hands_out_its_id_and_can_be_cancelled(environment):
    async with connected(environment) as client:
        await call(client, "load_context", text="anything")
        running = await call(client, "rlm_query", query="Spin", wait_s=0.5)
        stopped = await call(client, "cancel_query", run_id=running["run_id"])
        after = await call(client, "rlm_query", query="FINAL('still here')")

    assert (running["status"], running["answer"]) == ("running", None)
    assert running["run_id"] in running["next"]
    assert (stopped["status"], stopped["stopped_by"]) == ("done", "cancelled")
    assert after["answer"] == "still here"


async def test_every_line_on_standard_output_is_json_rpc(environment):
    await anyio.to_thread.run_sync(talk_raw, environment)


def talk_raw(environment):
    noisy = "import sys\nprint('x')\nsys.stdout.write('y')\nsys.stderr.write('z')\nFINAL('said')"
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}}
    requests = [
        ("initialize", hello | {"clientInfo": {"name": "raw", "version": "1"}}),
        ("tools/call", {"name": "load_context", "arguments": {"text": "text"}}),
        ("tools/call", {"name": "rlm_query", "arguments": {"query": noisy}}),
        ("tools/call", {"name": "rlm_query", "arguments": {"qeury": "typo"}}),
    ]
    lines = []
    with subprocess.Popen(
        COMMAND, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def send(message):
            server.stdin.write(json.dumps({"jsonrpc": "2.0"} | message) + "\n")
            server.stdin.flush()

        for number, (method, params) in enumerate(requests):
            send({"id": number, "method": method, "params": params})
            while not lines or lines[-1].get("id") != number:
                lines.append(json.loads(server.stdout.readline()))
            if method == "initialize":
                send({"method": "notifications/initialized"})
        server.stdin.close()
        rest = server.stdout.read()

    assert server.wait(20) == 0
    assert rest == ""
    assert all(line["jsonrpc"] == "2.0" for line in lines)
    assert lines[-1]["result"]["isError"]
    assert "Did you mean `query`" in lines[-1]["result"]["content"][0]["text"]


CLIENT = """
import json, os, sys
import anyio
from mcp import Client, StdioServerParameters

async def main():
    server = StdioServerParameters(command=sys.argv[1], args=sys.argv[2:], env=dict(os.environ))
    async with Client(server) as client:
        await client.call_tool("load_context", {"text": "text"})
        result = await client.call_tool("rlm_query", {"query": "Spin", "wait_s": 0.5})
        print(result.structured_content["status"], flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the process table of Linux")
async def test_no_process_is_left_when_the_client_is_killed_in_the_middle_of_a_cell(environment):
    client = await anyio.open_process(
        [sys.executable, "-c", CLIENT, *COMMAND], env=environment, stderr=None
    )
    assert (await client.stdout.receive()).decode().split() == ["running"]
    while len(family := descendants(client.pid)) < len(["server", "guest"]):
        await anyio.sleep(0.05)

    client.send_signal(signal.SIGKILL)
    await client.wait()

    while any(is_alive(pid) for pid in family):
        await anyio.sleep(0.05)


def descendants(pid):
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def is_alive(pid):
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
            != "Z"
        )
    except OSError:
        return False
