"""Runs that take long: waited for, fetched later, stopped, and told of meanwhile."""

import anyio
import pytest

from rlm_mcp.llm.scripted import ScriptedReply
from rlm_mcp.server import progress

pytestmark = pytest.mark.anyio

HANGS = ScriptedReply(fault="hang")


def hanging(hung, *replies):
    """A script of these replies that sets `hung` once it is about to hang."""
    left = list(replies)

    def script(messages):
        if left[0] is HANGS:
            hung.set()
        return left.pop(0)

    return script


class Gate:
    """A script that answers only once it may."""

    def __init__(self, reply):
        self.reply = reply
        self.asked = anyio.Event()
        self.open = anyio.Event()

    async def __call__(self, messages):
        self.asked.set()
        await self.open.wait()
        return self.reply


async def test_a_run_not_waited_for_is_fetched_later(bench, era):
    gate = Gate("```repl\nFINAL('late')\n```")
    async with bench(gate, era) as b:
        loaded = await b.call("load_context", text="alpha")
        result = await b.client.call_tool("rlm_query", {"query": "?", "wait_s": 0})
        running = result.structured_content
        still = await b.call("get_answer", run_id=running["run_id"], wait_s=0)
        gate.open.set()
        done = await b.call("get_answer", run_id=running["run_id"])

    assert (running["status"], running["answer"]) == ("running", None)
    assert running["session"] == loaded["session"]
    assert f'get_answer(run_id="{running["run_id"]}")' in running["next"]
    assert running["next"] in result.content[0].text
    assert running["progress"].startswith("turn ")
    assert still["status"] == "running"
    assert (done["status"], done["answer"], done["next"]) == ("done", "late", None)


async def test_the_settings_say_how_long_a_query_waits(bench):
    gate = Gate("```repl\nFINAL('late')\n```")
    async with bench(gate, wait_s=0.0) as b:
        await b.call("load_context", text="alpha")
        running = await b.call("rlm_query", query="?")
        gate.open.set()
        done = await b.call("get_answer", run_id=running["run_id"], wait_s=20)

    assert running["status"] == "running"
    assert done["status"] == "done"


async def test_a_cancelled_query_keeps_its_draft_and_its_variables(bench, era):
    hung = anyio.Event()
    drafts = "```repl\nkept = 1\nanswer['content'] = 'so far'\n```"
    async with bench(hanging(hung, drafts, HANGS, "```repl\nFINAL(kept)\n```"), era) as b:
        await b.call("load_context", text="alpha")
        running = await b.call("rlm_query", query="?", wait_s=0)
        await hung.wait()
        result = await b.client.call_tool("cancel_query", {"run_id": running["run_id"]})
        again = await b.call("cancel_query", run_id=running["run_id"])
        after = await b.call("rlm_query", query="What was kept?")

    stopped = result.structured_content
    assert (stopped["status"], stopped["stopped_by"]) == ("done", "cancelled")
    assert stopped["answer"] == "so far"
    assert "best so far" in result.content[0].text
    assert again == stopped
    assert after["answer"] == "1"


async def test_a_client_that_stops_waiting_stops_its_run(bench, era):
    hung = anyio.Event()
    replies = ["```repl\nkept = 1\n```", HANGS, "```repl\nFINAL(kept)\n```"]
    async with bench(hanging(hung, *replies), era) as b:
        await b.call("load_context", text="alpha")
        with anyio.CancelScope() as waiting:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(b.client.call_tool, "rlm_query", {"query": "?"})
                await hung.wait()
                waiting.cancel()
        await b.model.disconnected.wait()
        after = await b.call("rlm_query", query="And now?")
        costs = await b.call("get_costs")

    assert after["answer"] == "1"
    assert costs["total"]["cancelled"] == 1


async def test_a_run_whose_endpoint_was_gone_before_it_answered_goes_on_once_it_is_back(bench, era):
    busy = ScriptedReply("Loading model", status=503, headers={"retry-after": "3600"})
    replies = [busy, "```repl\nFINAL('at last')\n```"]
    async with bench(lambda _: replies.pop(0), era) as b:
        await b.call("load_context", text="alpha")
        refused = await b.client.call_tool("rlm_query", {"query": "?"})
        lost = refused.structured_content
        done = await b.call("get_answer", run_id=lost["run_id"], resume=True)

    assert refused.is_error
    assert (lost["status"], lost["answer"]) == ("failed", None)
    assert "Loading model" in refused.content[0].text
    assert f'get_answer(run_id="{lost["run_id"]}", resume=true)' in lost["next"]
    assert (done["status"], done["answer"]) == ("done", "at last")


async def test_no_disconnect_stops_a_run_that_was_handed_out(bench, era):
    gate = Gate("```repl\nFINAL('late')\n```")
    async with bench(gate, era) as b:
        await b.call("load_context", text="alpha")
        running = await b.call("rlm_query", query="?", wait_s=0)
        with anyio.CancelScope() as waiting:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(b.client.call_tool, "get_answer", {"run_id": running["run_id"]})
                await gate.asked.wait()
                waiting.cancel()
        gate.open.set()
        done = await b.call("get_answer", run_id=running["run_id"])

    assert done["answer"] == "late"


async def test_queries_of_one_session_take_turns(bench):
    gate = Gate("```repl\nkept = 7\nFINAL('ok')\n```")

    async def script(messages):
        if any("SECOND" in message.content for message in messages):
            return "```repl\nFINAL(kept)\n```"
        return await gate(messages)

    async with bench(script) as b:
        await b.call("load_context", text="alpha")
        first = await b.call("rlm_query", query="FIRST", wait_s=0)
        await gate.asked.wait()
        second = await b.call("rlm_query", query="SECOND", wait_s=0)
        waiting = await b.call("get_answer", run_id=second["run_id"], wait_s=0)
        gate.open.set()
        done = await b.call("get_answer", run_id=second["run_id"])
        await b.call("get_answer", run_id=first["run_id"])

    assert waiting["status"] == "running"
    assert done["answer"] == "7"


async def test_progress_of_a_long_call_keeps_coming_and_only_grows(bench, era):
    gate = Gate("```repl\nFINAL('late')\n```")
    told = []

    async def take(value, total, line):
        told.append((value, line))
        if len(told) == 3:
            gate.open.set()

    async with bench(gate, era) as b:
        await b.call("load_context", text="alpha")
        result = await b.client.call_tool("rlm_query", {"query": "?"}, progress_callback=take)

    values = [value for value, _ in told]
    assert result.structured_content["answer"] == "late"
    assert values == sorted(set(values))
    assert told[0] == (1, "looking for the model")
    assert all(0 < len(line) <= 100 for _, line in told)
    assert any(line.startswith("turn 1/20 · waiting for scripted") for _, line in told)


async def test_loading_tells_its_progress(bench, era, tmp_path):
    (tmp_path / "a.txt").write_text("alpha", encoding="utf-8")
    told = []

    async def take(value, total, line):
        told.append((value, line))

    async with bench((), era) as b:
        source = {"source": str(tmp_path / "a.txt")}
        await b.client.call_tool("load_context", source, progress_callback=take)

    assert told[0] == (1, "looking at what there is to load")


class Listener:
    """Takes progress as the SDK's session does, and leaves once it has had enough."""

    def __init__(self, enough):
        self.told = []
        self.enough = enough
        self.done = anyio.Event()

    async def report_progress(self, value, total, line):
        self.told.append((value, total, line))
        if len(self.told) == self.enough:
            self.done.set()


@pytest.mark.parametrize(("tick_s", "heartbeat_s"), [(0.01, 0.0), (0.0, 0.01)])
async def test_a_line_that_does_not_change_is_told_again(monkeypatch, tick_s, heartbeat_s):
    monkeypatch.setattr(progress, "TICK_S", tick_s)
    monkeypatch.setattr(progress, "HEARTBEAT_S", heartbeat_s)
    listener = Listener(enough=3)
    with anyio.fail_after(10):
        async with progress.reporting(listener, lambda: "waiting"):
            await listener.done.wait()

    assert listener.told[:3] == [(1, None, "waiting"), (2, None, "waiting"), (3, None, "waiting")]


async def test_a_changed_line_is_told_at_the_next_tick(monkeypatch):
    monkeypatch.setattr(progress, "TICK_S", 0.01)
    listener = Listener(enough=2)
    with anyio.fail_after(10):
        async with progress.reporting(listener, lambda: "one") as told:
            told.line = lambda: "two" if listener.told else "one"
            await listener.done.wait()

    assert [line for _, _, line in listener.told] == ["one", "two"]
