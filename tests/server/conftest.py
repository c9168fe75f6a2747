"""A server over a scripted model behind real HTTP, and its official client, in both eras."""

from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest
from mcp import Client

from rlm_mcp.llm.scripted import ScriptedServer, serve
from rlm_mcp.server.app import App, open_app
from rlm_mcp.server.build import build_server
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
