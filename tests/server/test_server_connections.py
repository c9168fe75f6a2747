"""Connections that say nothing, or not enough: they end, and leave room for the others."""

from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from rlm_mcp.server import connections, http
from rlm_mcp.server.connections import peer_of

pytestmark = pytest.mark.anyio

HEAD = b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000000\r\n"
ASKED = HEAD.replace(b"1000000", b"0") + b"\r\n"
WITHIN_S = 20
CLOSED = (anyio.EndOfStream, anyio.BrokenResourceError)


@asynccontextmanager
async def connected(team):
    """A connection to its server on which nothing was said yet."""
    at = urlsplit(team.url)
    async with await anyio.connect_tcp(at.hostname, at.port) as stream:
        yield stream


async def ended(stream):
    """All that comes until the server closes the connection."""
    received = b""
    with anyio.fail_after(WITHIN_S), suppress(*CLOSED):
        while True:
            received += await stream.receive()
    return received


async def answer(stream):
    """The status of one answer whose body has a length."""
    wire = BufferedByteReceiveStream(stream)
    with anyio.fail_after(WITHIN_S):
        head = await wire.receive_until(b"\r\n\r\n", 1 << 16)
        lengths = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
        await wire.receive_exactly(int(lengths[0].partition(b":")[2]))
    return int(head.split()[1])


@pytest.mark.parametrize("start", [b"", b"P", HEAD])
async def test_a_connection_on_which_no_request_comes_is_closed(team, monkeypatch, start):
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    async with team() as t, connected(t) as stream:
        await stream.send(start)

        assert await ended(stream) == b""


@pytest.mark.parametrize(
    "rest",
    [
        (ASKED, b"GET /"),  # the next request never gets further
        (HEAD + b"\r\n", b"{"),  # the body of the one that was answered goes on
    ],
)
async def test_a_connection_on_which_no_other_request_comes_is_closed(team, monkeypatch, rest):
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    first, more = rest
    async with team() as t, connected(t) as stream:
        await stream.send(first)
        status = await answer(stream)
        await stream.send(more)

        assert (status, await ended(stream)) == (401, b"")


async def test_a_request_may_take_longer_than_a_connection_may_say_nothing(team, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 1.0)
    asked, let_go = anyio.Event(), anyio.Event()

    async def slow(_):
        asked.set()
        await let_go.wait()
        return "```repl\nFINAL('done')\n```"

    told = []

    async def ask(client):
        session = (await client.call("load_context", text="one"))["session"]
        told.append(await client.call("rlm_query", query="?", session=session, wait_s=25))

    async with team(slow) as t, t.client("alice") as alice, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, alice)
        await asked.wait()
        async with connected(t) as idle:
            await ended(idle)
        let_go.set()

    assert told[0]["answer"] == "done"


async def test_connections_that_say_nothing_lock_nobody_out_for_long(team, monkeypatch):
    monkeypatch.setattr(http, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(connections, "HEAD_S", 1.0)
    async with team() as t:
        async with connected(t) as one, connected(t) as two, connected(t) as last:
            await last.send(ASKED)
            full = await answer(last)
            for idle in (one, two, last):
                await ended(idle)
        async with connected(t) as late:
            await late.send(ASKED)
            after = await answer(late)

    assert (full, after) == (503, 401)


async def test_one_address_has_so_many_connections_until_one_ends(team, monkeypatch):
    monkeypatch.setattr(connections, "MOST_OF_PEER", 2)
    async with team() as t:
        async with connected(t) as one, connected(t) as two:
            for stream in (one, two):
                await stream.send(ASKED)
            statuses = [await answer(one), await answer(two)]
            async with connected(t) as beyond:
                refused = await ended(beyond)
        async with connected(t) as again:
            await again.send(ASKED)
            statuses.append(await answer(again))

    assert (statuses, refused) == ([401, 401, 401], b"")


def test_an_address_is_whom_it_was_given_to():
    mine = peer_of(("2001:db8:1:2::1", 1))

    assert peer_of(("2001:db8:1:2:ffff::9%eth0", 2)) == mine
    assert peer_of(("2001:db8:1:3::1", 1)) != mine
    assert peer_of(("::ffff:192.0.2.1", 1)) == peer_of(("192.0.2.1", 2)) == "192.0.2.1"
    assert peer_of(("192.0.2.2", 1)) != peer_of(("192.0.2.1", 1))
    assert peer_of(None) == ""
