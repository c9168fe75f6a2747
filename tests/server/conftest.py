"""A server over a scripted model behind real HTTP, and its official client, in both eras."""

import os
import signal
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from rlm_mcp.llm.scripted import ScriptedServer, serve
from rlm_mcp.server.app import App, open_app
from rlm_mcp.server.build import build_server
from rlm_mcp.server.http import serve_http
from rlm_mcp.server.tokenfile import new_token
from rlm_mcp.settings import Settings

WITHIN_S = 30.0


@dataclass(frozen=True)
class Bench:
    """A client, the app of its server, and the model server behind."""

    client: Client
    app: App
    model: ScriptedServer

    async def call(self, tool, **arguments):
        """A tool's structured result; the tool must not fail."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.content[0].text
        return result.structured_content

    async def refusal(self, tool, **arguments):
        """A tool's error text; the tool must fail."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result.content[0].text
        return result.content[0].text


@pytest.fixture(params=["auto", "legacy"])
def era(request):
    return request.param


@pytest.fixture
def bench(own_environment):
    """Opens a `Bench`: `async with bench(script, era) as b`. Settings may be named."""

    @asynccontextmanager
    async def opened(script=(), era="auto", on_message=None, **settings):
        with anyio.fail_after(WITHIN_S):
            async with serve(script) as model:
                loaded = Settings.load(
                    {}, **{"home": own_environment, "api_url": model.url, "roots": "*"} | settings
                )
                async with (
                    open_app(loaded) as app,
                    Client(build_server(app), mode=era, message_handler=on_message) as client,
                ):
                    yield Bench(client, app, model)

    return opened


@dataclass(frozen=True)
class Team:
    """A server that takes tokens, its users' tokens, and the model server behind."""

    url: str
    tokens: dict[str, str]
    file: Path
    model: ScriptedServer

    @asynccontextmanager
    async def client(self, user, era="auto"):
        """A client of that user."""
        headers = {"authorization": f"Bearer {self.tokens[user]}"}
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False, timeout=WITHIN_S) as http,
            Client(streamable_http_client(self.url, http_client=http), mode=era) as client,
        ):
            yield Bench(client, None, self.model)

    @asynccontextmanager
    async def http(self):
        """An HTTP client of its address, that says of itself what each request says."""
        at = self.url.removesuffix("/mcp").replace("0.0.0.0", "127.0.0.1")
        async with httpx.AsyncClient(base_url=at, trust_env=False, timeout=WITHIN_S) as http:
            yield http


@pytest.fixture
def team(own_environment):
    """Opens a `Team`: `async with team(script, users) as t`. Settings may be named.

    The server is in this process, over real HTTP, and ends as by `kill`.
    """
    mask = os.umask(0)
    os.umask(mask)

    @asynccontextmanager
    async def opened(script=(), users=("alice", "bob"), *, host="127.0.0.1", **settings):
        file = own_environment / "tokens"
        tokens = {user: new_token(file, user)[0] for user in users}
        named = {"home": own_environment, "roots": "*", "token_file": file if users else None}
        urls, listens = [], anyio.Event()

        def announce(url):
            urls.append(url)
            listens.set()

        async def serving(loaded):
            with suppress(SystemExit):
                await serve_http(loaded, host, 0, announce)

        with anyio.fail_after(WITHIN_S * max(1, len(users) / 2)):
            async with serve(script) as model, anyio.create_task_group() as tasks:
                loaded = Settings.load({}, **named | {"api_url": model.url} | settings)
                tasks.start_soon(serving, loaded)
                await listens.wait()
                try:
                    yield Team(urls[0], tokens, file, model)
                finally:
                    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                        os.kill(os.getpid(), signal.SIGTERM)  # else the server has ended

    yield opened
    os.umask(mask)
