"""The server over Streamable HTTP: sessions per client, and its ends."""

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import anyio
import httpx
import httpx2
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from rlm_mcp.errors import SettingsInvalid
from rlm_mcp.llm.scripted import serve
from rlm_mcp.server.http import serve_http
from rlm_mcp.server.listening import address_of, bound, is_loopback
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

SERVER = """
import functools, sys, anyio
from rlm_mcp.server.http import serve_http
from rlm_mcp.settings import Settings
tell = functools.partial(print, file=sys.stderr, flush=True)
anyio.run(serve_http, Settings.load(), "127.0.0.1", 0, tell)
"""
WITHIN_S = 30.0
ANSWERS = ["```repl\nFINAL(context.upper())\n```"] * 4


@asynccontextmanager
async def served(script=ANSWERS):
    """A server process and its URL, as it says it on stderr."""
    with anyio.fail_after(WITHIN_S):
        async with serve(script) as model:
            env = {**os.environ, "RLM_API_URL": model.url}
            command = [sys.executable, "-c", SERVER]
            async with await anyio.open_process(
                command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                line = await BufferedByteReceiveStream(process.stderr).receive_until(b"\n", 1000)
                try:
                    yield process, line.decode().strip()
                finally:
                    if process.returncode is None:
                        process.kill()


async def test_a_client_asks_with_the_handle_in_either_era(era):
    async with served() as (_, url), Client(url, mode=era) as client:
        loaded = (await client.call_tool("load_context", {"text": "alpha"})).structured_content
        asked = {"query": "?", "session": loaded["session"]}
        answer = (await client.call_tool("rlm_query", asked)).structured_content
        resource = await client.read_resource(f"{loaded['context']['uri']}/text")
        listed = (await client.list_resources()).resources

    assert answer["answer"] == "ALPHA"
    assert answer["session"] == loaded["session"]
    assert resource.contents[0].text == "alpha"
    assert listed == []  # a list would give the ids to strangers


async def test_only_the_older_revision_implies_a_session():
    async with served() as (_, url):
        async with Client(url, mode="legacy") as client:
            await client.call_tool("load_context", {"text": "alpha"})
            implied = await client.call_tool("rlm_query", {"query": "?"})
        async with Client(url) as client:
            await client.call_tool("load_context", {"text": "alpha"})
            needed = await client.call_tool("rlm_query", {"query": "?"})
            listed = await client.call_tool("list_contexts", {})

    assert implied.structured_content["answer"] == "ALPHA"
    assert needed.is_error
    assert listed.is_error
    assert "load_context" in needed.content[0].text


async def test_a_header_is_no_identity_in_the_current_revision():
    headers = {"mcp-session-id": "mine"}
    async with (
        served() as (_, url),
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        await client.call_tool("load_context", {"text": "alpha"})
        needed = await client.call_tool("rlm_query", {"query": "?"})

    assert needed.is_error


async def test_two_clients_see_nothing_of_each_other(era):
    script = [
        "```repl\nsecret = context\nFINAL('ok')\n```",
        "```repl\nFINAL('secret' in dir())\n```",
    ]
    async with (
        served(script) as (_, url),
        Client(url, mode=era) as one,
        Client(url, mode=era) as two,
    ):
        first = (await one.call_tool("load_context", {"text": "alpha"})).structured_content
        second = (await two.call_tool("load_context", {"text": "beta"})).structured_content
        await one.call_tool("rlm_query", {"query": "?", "session": first["session"]})
        asked = {"query": "?", "session": second["session"]}
        answer = (await two.call_tool("rlm_query", asked)).structured_content
        listed = await two.call_tool("list_contexts", {"session": second["session"]})

    assert first["session"] != second["session"]
    assert answer["answer"] == "False"
    assert len(listed.structured_content["contexts"]) == 1


async def test_delete_ends_the_session_of_a_client():
    async with served() as (_, url):
        async with Client(url, mode="legacy") as client:  # sends DELETE on leaving
            loaded = await client.call_tool("load_context", {"text": "alpha"})
        session = loaded.structured_content["session"]
        async with Client(url) as client:
            gone = await client.call_tool("list_contexts", {"session": session})

    assert gone.is_error
    assert session in gone.content[0].text


async def test_a_failed_load_leaves_no_session_behind():
    async with served() as (_, url), Client(url) as client:
        for _ in range(Settings.load({}).max_sessions + 1):
            await client.call_tool("load_context", {"source": "/nowhere.txt"})
        loaded = await client.call_tool("load_context", {"text": "alpha"})

    assert not loaded.is_error


async def test_pages_of_other_sites_are_refused():
    async with served() as (_, url), httpx.AsyncClient(trust_env=False) as browser:
        by_host = await browser.post(url, json={}, headers={"host": "evil.example"})
        by_origin = await browser.post(url, json={}, headers={"origin": "http://evil.example"})

    assert by_host.status_code == 421
    assert by_origin.status_code == 403


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_signal_ends_the_server_with_nothing_on_stdout(number, code):
    async with served() as (process, url):
        async with Client(url) as client:
            await client.call_tool("load_context", {"text": "alpha"})
        process.send_signal(number)
        ended = await process.wait()
        with pytest.raises(anyio.EndOfStream):
            await process.stdout.receive()

    assert ended == code


@pytest.mark.parametrize("host", ["", "0", "0x0", "0.0.0.0", "0.0"])
async def test_every_way_to_say_every_address_is_refused(host):
    with pytest.raises(SettingsInvalid, match="other machines"):
        await serve_http(Settings.load(), host, 0)


@pytest.mark.parametrize("host", ["::", "0::0", "*", "::ffff:0.0.0.0", "192.0.2.1", "a..b"])
async def test_so_is_what_is_no_address_of_this_machine_or_none_it_has(host):
    with pytest.raises(SettingsInvalid):
        await serve_http(Settings.load(), host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "localhost"])
def test_an_address_of_this_machine_alone_is_told_however_it_is_written(host):
    with bound(host, 0) as listener:
        assert is_loopback(str(address_of(listener)))


async def test_a_port_that_cannot_be_is_refused():
    with pytest.raises(SettingsInvalid, match="--port"):
        await serve_http(Settings.load(), port=70_000)
