"""The page of a run within a host, in a real browser: a sandboxed frame that only asks its host.

The host's half is played by a page of these tests and by the SDK's client of the real server over
its real HTTP transport.
"""

import html
import json
import os
import sys
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from chromium import PROGRAM, chromium
from mcp import Client
from pages import HOSTILE

from rlm_mcp.llm.scripted import serve
from rlm_mcp.server.views import URI

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]

SERVER = """
import functools, sys, anyio
from rlm_mcp.server.http import serve_http
from rlm_mcp.settings import Settings
tell = functools.partial(print, file=sys.stderr, flush=True)
anyio.run(serve_http, Settings.load(), "127.0.0.1", 0, tell)
"""
HOST = """<!doctype html><meta charset="utf-8"><title>host</title>
<iframe id="view" sandbox="allow-scripts" style="width:100%;height:900px;border:0"
 srcdoc="@PAGE@"></iframe>
<script>
const view = document.getElementById("view"), wanted = [], seen = [];
const send = (message) => view.contentWindow.postMessage({ jsonrpc: "2.0", ...message }, "*");
addEventListener("message", (event) => {
  const m = event.data;
  if (event.source !== view.contentWindow || m.jsonrpc !== "2.0") return;
  seen.push(m);
  if (m.method === "ui/initialize") send({ id: m.id, result: { protocolVersion: "2026-01-26",
    hostInfo: { name: "tests", version: "1" }, hostCapabilities: { serverTools: {} },
    hostContext: { theme: "@THEME@" } } });
  else if (m.method === "tools/call") wanted.push(m);
});
</script>
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


class Host:
    """A browser that shows the page in a frame, and the client that its calls are passed to."""

    def __init__(self, browser, client):
        self.browser, self.client = browser, client
        self.calls = []

    async def open(self, folder, theme="light"):
        (page,) = (await self.client.read_resource(URI)).contents
        path = folder / "host.html"
        text = HOST.replace("@PAGE@", html.escape(page.text)).replace("@THEME@", theme)
        path.write_text(text, encoding="utf-8")
        self.browser.open(path)
        self.browser.wait("seen.some(m => m.method === 'ui/notifications/initialized')")

    def tell(self, method, params):
        self.browser.run(f"send({json.dumps({'method': method, 'params': params})})")

    async def pass_on(self, until):
        """Serve the page's calls until the expression holds in it."""
        with anyio.fail_after(60):
            while not self.browser.inside(until):
                for asked in self.browser.run("wanted.splice(0)"):
                    name, given = asked["params"]["name"], asked["params"]["arguments"]
                    self.calls.append((name, given))
                    result = await self.client.call_tool(name, given)
                    told = result.model_dump(mode="json", by_alias=True, exclude_none=True)
                    answer = json.dumps({"id": asked["id"], "result": told})
                    self.browser.run(f"send({answer})")
                self.browser.frames()
                await anyio.lowlevel.checkpoint()

    async def ask(self, **arguments):
        """Call rlm_query as a model would, and give the page what hosts give it."""
        self.tell("ui/notifications/tool-input", {"arguments": arguments})
        result = await self.client.call_tool("rlm_query", arguments)
        told = result.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.tell("ui/notifications/tool-result", told)
        return result.structured_content


class Stage:
    """What the model behind the server plays; a test sets its script."""

    script = None

    async def play(self, messages):
        said = self.script(messages)
        return said if isinstance(said, str) else await said


@pytest.fixture(scope="module")
async def server(tmp_path_factory, program_cache):
    """The real server in a process of its own, its URL, and the stage of its model."""
    home, stage = tmp_path_factory.mktemp("home"), Stage()
    (home / "cache").symlink_to(program_cache, target_is_directory=True)
    async with serve(stage.play) as model:
        env = {**os.environ, "RLM_API_URL": model.url, "RLM_HOME": str(home), "RLM_STRATEGY": "rlm"}
        async with await anyio.open_process([sys.executable, "-c", SERVER], env=env) as process:
            line = await BufferedByteReceiveStream(process.stderr).receive_until(b"\n", 1000)
            yield line.decode().strip(), stage
            process.kill()


@pytest.fixture
def hosting(server, browser, tmp_path):
    url, stage = server

    @asynccontextmanager
    async def opened(script, **look):
        stage.script = script
        with anyio.fail_after(90):
            async with Client(url) as client:
                loaded = await client.call_tool("load_context", {"text": "3 4 5"})
                host = Host(browser, client)
                await host.open(tmp_path, **look)
                yield host, loaded.structured_content["session"]

    yield opened
    assert browser.flaws == []
    assert all(url.startswith(("file:", "about:")) for url in browser.requests)


def inner(host, selector):
    return host.browser.inside(f"document.querySelector({selector!r})?.innerText ?? ''")


ENDED = "document.getElementById('facts').innerText.includes('the model gave its answer')"


async def test_a_run_is_drawn_while_it_goes_on_and_asked_about_no_more_at_its_end(hosting):
    go_on = anyio.Event()

    async def script(messages):
        if messages[0].role != "system":
            return "odd"
        if len(messages) == 2:
            return "```repl\nprint(llm_query('Is 3 odd?'))\n```"
        await go_on.wait()
        return "```repl\nFINAL('3 and 5')\n```"

    async with hosting(script) as (host, session):
        result = await host.ask(query="Which are odd?", session=session, wait_s=0)
        await host.pass_on(
            "document.getElementById('steps').innerText.includes('Is 3 odd?')"
            " || document.getElementById('steps').innerText.includes('1 sub-call')"
        )
        at_work = inner(host, "#facts")
        go_on.set()
        await host.pass_on(f"{ENDED} && !host.live")

        assert result["status"] == "running"
        assert "at work; this page follows it" in at_work
        assert inner(host, "h1") == "Which are odd?"
        assert "3 and 5" in inner(host, "#answer")
        assert {name for name, _ in host.calls} == {"get_trace"}
        assert host.browser.run("wanted.length") == 0


async def test_a_call_shows_all_it_sent_and_what_came(hosting):
    prompt = "Is 3 odd? " + "Think of it. " * 2_500

    def script(messages):
        return "It is." if messages[0].role != "system" else code

    code = "```repl\nFINAL(llm_query('Is 3 odd? ' + 'Think of it. ' * 2_500))\n```"
    async with hosting(script) as (host, session):
        await host.ask(query="Odd?", session=session)
        await host.pass_on(ENDED)
        host.browser.inside("document.querySelector('#steps .row.calls').click()")
        host.browser.inside("document.querySelector('#steps .row.call').click()")
        shown = "[...document.querySelectorAll('#detail pre')].map(e => e.textContent)"
        await host.pass_on(f"{shown}[0]?.length > 20000")

        assert host.browser.inside(shown) == [prompt, "It is."]
        assert {given.get("call") for _, given in host.calls} == {None, "s1"}


async def test_text_of_a_trace_stays_text_in_a_host(hosting):
    code = f"```repl\nprint({HOSTILE!r})\nFINAL({HOSTILE!r})\n```"
    async with hosting(lambda _: code) as (host, session):
        await host.ask(query=HOSTILE, session=session)
        await host.pass_on(ENDED)
        host.browser.inside("document.querySelector('#steps .row.code').click()")

        for place in ("h1", ".answer", "#detail"):
            assert "</script><script>window.ran = 1</script>" in inner(host, place)
        assert host.browser.inside("typeof window.ran") == "undefined"
        assert host.browser.inside("document.images.length") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_it_is_light_or_dark_as_its_host_is_and_tells_its_height(hosting, theme):
    async with hosting(lambda _: "```repl\nFINAL('yes')\n```", theme=theme) as (host, session):
        await host.ask(query="Well?", session=session)
        await host.pass_on(ENDED)
        ground = host.browser.inside(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
        )
        sizes = host.browser.run(
            "seen.filter(m => m.method?.endsWith('size-changed')).map(m => m.params.height)"
        )

    assert (ground < 64) == (theme == "dark")
    assert sizes[-1] > 400


async def test_what_is_no_run_is_shown_in_words(hosting):
    async with hosting(lambda _: "") as (host, session):
        await host.ask(query="Odd?", session=session, estimate=True)
        await host.pass_on("document.getElementById('answer').innerText.includes('calls')")

        assert "Nothing was run" in inner(host, "#run")
        assert host.calls == []


async def test_a_page_that_its_host_takes_down_asks_no_more(hosting):
    go_on = anyio.Event()

    async def script(_messages):
        await go_on.wait()
        return "FINAL(late)"

    async with hosting(script) as (host, session):
        await host.ask(query="Odd?", session=session, wait_s=0)
        await host.pass_on("document.querySelectorAll('#steps .row').length > 0")
        host.browser.run("send({id: 99, method: 'ui/resource-teardown', params: {}})")
        host.browser.wait("seen.some(m => m.id === 99 && m.result)")
        before = len(host.calls)
        await host.pass_on("!host.live")
        go_on.set()

    assert len(host.calls) - before <= 1
