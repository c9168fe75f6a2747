"""The page that hosts show beside a result, on the wire; who shows none is not bothered."""

import pytest
from mcp import Client
from mcp.client.extension import advertise
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID

from rlm_mcp.llm.scripted import serve
from rlm_mcp.server import views
from rlm_mcp.server.app import open_app
from rlm_mcp.server.build import build_server
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio


async def test_tools_that_a_run_comes_from_name_the_page_in_both_forms(bench, era):
    async with bench((), era) as b:
        tools = (await b.client.list_tools()).tools

    named = {tool.name: tool.meta for tool in tools if tool.meta and "ui" in tool.meta}
    assert set(named) == {"rlm_query", "get_answer", "get_trace"}
    for meta in named.values():
        assert meta["ui"]["resourceUri"] == meta["ui/resourceUri"] == views.URI


async def test_the_page_is_read_whole_and_may_fetch_nothing(bench, era):
    async with bench((), era) as b:
        (page,) = (await b.client.read_resource(views.URI)).contents

    assert (page.uri, page.mime_type) == (views.URI, APP_MIME_TYPE)
    assert page.meta["ui"]["csp"] == {"connectDomains": [], "resourceDomains": []}
    assert page.text.startswith("<!doctype html>")
    assert '<script id="record" type="application/json">null</script>' in page.text
    assert "default-src 'none'" in page.text
    assert "@" + "RECORD@" not in page.text


async def test_a_client_without_views_is_listed_no_page(bench, era):
    async with bench((), era) as b:
        listed = (await b.client.list_resources()).resources

    assert listed == []


async def test_a_client_with_views_finds_the_page_listed(own_environment, era):
    shows = advertise(EXTENSION_ID, {"mimeTypes": [APP_MIME_TYPE]})
    async with serve(()) as model:
        settings = Settings.load({}, home=own_environment, api_url=model.url)
        async with (
            open_app(settings) as app,
            Client(build_server(app), mode=era, extensions=[shows]) as client,
        ):
            listed = (await client.list_resources()).resources

    assert [(each.uri, each.mime_type) for each in listed] == [(views.URI, APP_MIME_TYPE)]


async def test_the_server_says_that_it_has_views(bench):
    async with bench(()) as b:
        assert EXTENSION_ID in b.client.server_capabilities.extensions
