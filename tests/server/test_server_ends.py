"""The end of a server: what becomes of its runs, and how the next one takes them up by itself."""

import os
import signal

import anyio
import pytest

from rlm_mcp import resuming
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.server.app import open_app
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

WITHIN_S = 30
DRAFT = "```repl\nanswer['content'] = 'so far'\n```"
FINISH = "```repl\nFINAL('all of it')\n```"


class Pausing:
    """A model that drafts, and hangs in its second turn until it may go on."""

    def __init__(self):
        self.hung = anyio.Event()
        self.may_go_on = False
        self.went_on = anyio.Event()

    def __call__(self, messages):
        if len(messages) == 2:
            return DRAFT
        if self.may_go_on:
            self.went_on.set()
            return FINISH
        self.hung.set()
        return ScriptedReply(fault="hang")


async def ended_meanwhile(bench, model):
    """A run whose server has ended, as get_answer had told it, and the port of its endpoint."""
    async with bench(model) as b:
        await b.call("load_context", text="alpha")
        running = await b.call("rlm_query", query="?", wait_s=0)
        await model.hung.wait()
        port = int(b.model.url.split(":")[2].removesuffix("/v1"))
    model.may_go_on = True
    return running["run_id"], port


async def test_a_run_at_work_goes_on_at_the_next_server_without_a_client(bench, own_environment):
    model = Pausing()
    run_id, _ = await ended_meanwhile(bench, model)
    with anyio.fail_after(WITHIN_S):
        async with serve(model) as endpoint:
            own = Settings.load({}, home=own_environment, api_url=endpoint.url, resume=True)
            async with open_app(own) as app:
                await model.went_on.wait()
                view = await (await app.service()).view(run_id, WITHIN_S)

    assert (view.answer.stopped_by, view.answer.text) == ("answer", "all of it")


async def test_it_goes_on_once_its_endpoint_answers_however_late(
    bench, own_environment, monkeypatch
):
    monkeypatch.setattr(resuming, "FIRST_WAIT_S", 0.05)
    model, asked = Pausing(), anyio.Event()
    run_id, port = await ended_meanwhile(bench, model)

    async def refuse(connection):
        asked.set()
        await connection.aclose()

    own = Settings.load(
        {}, home=own_environment, api_url=f"http://127.0.0.1:{port}/v1", resume=True
    )
    with anyio.fail_after(WITHIN_S):
        async with open_app(own) as app:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
            async with listener, anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, refuse)
                await asked.wait()
                tasks.cancel_scope.cancel()
            async with serve(model, port=port):
                await model.went_on.wait()
                view = await (await app.service()).view(run_id, WITHIN_S)

    assert (view.answer.stopped_by, view.answer.text) == ("answer", "all of it")


async def test_a_server_can_be_ended_while_it_waits_for_an_endpoint(bench, own_environment):
    run_id, port = await ended_meanwhile(bench, Pausing())
    own = Settings.load(
        {}, home=own_environment, api_url=f"http://127.0.0.1:{port}/v1", resume=True
    )
    with anyio.fail_after(WITHIN_S):
        async with open_app(own) as app:
            view = await (await app.service()).view(run_id)

    assert view.answer.stopped_by == "server"


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
async def test_who_waits_over_http_is_told_what_the_run_had_when_the_server_was_ended(team):
    model, told = Pausing(), []
    async with team(model, ("alice",)) as t, t.client("alice") as client:
        session = (await client.call("load_context", text="alpha"))["session"]

        async def ask():
            told.append(await client.call("rlm_query", query="?", session=session))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await model.hung.wait()
            os.kill(os.getpid(), signal.SIGTERM)

    assert (told[0]["stopped_by"], told[0]["answer"]) == ("server", "so far")
    assert "resume=true" in told[0]["next"]
