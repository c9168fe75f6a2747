"""Requests that are ambiguous, too slow or too many, before the SDK sees them."""

from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from rlm_mcp.server import guard
from rlm_mcp.server.guard import FairShare, InTime, Unambiguous

pytestmark = pytest.mark.anyio

AT = "http://server"
LATEST = MODERN_PROTOCOL_VERSIONS[-1]


async def echo(scope, receive, send):
    body = await Request(scope, receive).body()
    await PlainTextResponse(body)(scope, receive, send)


def http(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=AT)


@pytest.mark.parametrize(
    "name", ["mcp-session-id", "Mcp-Session-Id", "authorization", "origin", "host"]
)
@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_a_header_that_says_who_or_where_is_sent_once(name, method):
    async with http(Unambiguous(echo)) as client:
        twice = await client.request(method, "/", headers=[(name, "a"), (name.lower(), "b")])
        once = await client.request(method, "/", headers=[(name, "a"), ("accept", "b")])

    assert [twice.status_code, once.status_code] == [400, 200]
    assert "a" not in twice.text.split()


async def test_a_request_tells_one_length_and_no_endless_head():
    two = {"content-length": "1", "transfer-encoding": "chunked"}
    async with http(Unambiguous(echo)) as client:
        lengths = await client.post("/", content=b"a", headers=two)
        long = await client.get("/", headers={"x": "a" * guard.MOST_HEAD_BYTES})

    assert [lengths.status_code, long.status_code] == [400, 431]


async def test_a_body_that_does_not_come_ends_the_request():
    async def slow():
        yield b"some"
        await anyio.sleep_forever()

    async with http(InTime(echo, body_s=0.05)) as client:
        with anyio.fail_after(10):
            late = await client.post("/", content=slow())
        whole = await client.post("/", content=b"all")

    assert [late.status_code, whole.status_code] == [408, 200]


async def test_a_body_that_is_there_gives_the_answer_all_the_time_it_takes():
    async def waits(scope, receive, send):
        await Request(scope, receive).body()
        await anyio.sleep(0.1)
        await PlainTextResponse("done")(scope, receive, send)

    async with http(InTime(waits, body_s=0.05)) as client:
        answer = await client.post("/", content=b"all")

    assert answer.text == "done"


def of_user(app, name):
    token = AccessToken(token="", client_id=name, scopes=[])

    async def called(scope, receive, send):
        await app(scope | {"user": AuthenticatedUser(token)}, receive, send)

    return http(called)


async def test_a_user_has_so_many_requests_open_and_others_have_theirs(monkeypatch):
    monkeypatch.setattr(guard, "MOST_AT_ONCE", 2)
    both_open, let_go = anyio.Event(), anyio.Event()
    count = []

    async def waits(scope, receive, send):
        count.append(scope)
        if len(count) == 2:
            both_open.set()
        await let_go.wait()
        await PlainTextResponse("done")(scope, receive, send)

    fair = FairShare(waits, idle_s=60)
    answers = []

    async def ask(client):
        answers.append((await client.post("/")).status_code)

    async with of_user(fair, "alice") as alice, of_user(fair, "bob") as bob:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, alice)
                tasks.start_soon(ask, alice)
                await both_open.wait()
                refused = await alice.post("/")
                tasks.start_soon(ask, bob)
                let_go.set()
            again = await alice.post("/")

    assert refused.status_code == 429
    assert [*answers, again.status_code] == [200] * 4


@asynccontextmanager
async def clients(idle_s):
    """A server that gives each POST without an id a new one, and forgets one at DELETE."""
    made = []

    async def opens(scope, receive, send):
        if scope["method"] == "POST":
            made.append(f"id{len(made)}")
        headers = {"mcp-session-id": made[-1]}
        await PlainTextResponse("", headers=headers)(scope, receive, send)

    async with of_user(FairShare(opens, idle_s), "alice") as alice:
        yield alice


async def test_a_user_has_so_many_clients_until_one_leaves(monkeypatch):
    monkeypatch.setattr(guard, "MOST_CLIENTS", 2)
    async with clients(idle_s=60) as alice:
        opened = [await alice.post("/") for _ in range(3)]
        modern = await alice.post("/", headers={"mcp-protocol-version": LATEST})
        known = opened[0].headers["mcp-session-id"]
        await alice.delete("/", headers={"mcp-session-id": known})
        again = await alice.post("/")

    assert [answer.status_code for answer in (*opened, again)] == [200, 200, 429, 200]
    assert modern.status_code == 200


async def test_a_client_that_is_idle_for_long_counts_no_more(monkeypatch):
    monkeypatch.setattr(guard, "MOST_CLIENTS", 1)
    async with clients(idle_s=-1) as alice:
        opened = [await alice.post("/") for _ in range(3)]

    assert [answer.status_code for answer in opened] == [200, 200, 200]
