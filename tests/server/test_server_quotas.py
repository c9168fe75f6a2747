"""What one user of a shared server may have; others have theirs."""

import anyio
import pytest

from rlm_mcp.llm.scripted import ScriptedReply

pytestmark = pytest.mark.anyio


def hangs(_):
    return ScriptedReply(fault="hang")


def answers(_):
    return "```repl\nFINAL('done')\n```"


async def test_a_user_has_so_many_sessions_and_others_have_theirs(team):
    async with (
        team(user_sessions=1) as t,
        t.client("alice") as alice,
        t.client("bob") as bob,
    ):
        first = await alice.call("load_context", text="one")
        refused = await alice.refusal("load_context", text="two")
        await alice.call("load_context", text="two", session=first["session"])
        await bob.call("load_context", text="three")

    assert "1 session open" in refused
    assert "may have 1" in refused
    assert "`session`" in refused


async def test_loads_at_the_same_time_do_not_slip_past_the_limit(team):
    results = []

    async def load(client, text):
        results.append(await client.client.call_tool("load_context", {"text": text}))

    async with (
        team(user_sessions=2) as t,
        t.client("alice") as alice,
        anyio.create_task_group() as tasks,
    ):
        for number in range(6):
            tasks.start_soon(load, alice, f"text {number}")

    assert sum(not result.is_error for result in results) == 2


async def test_a_user_has_so_many_runs_at_work(team):
    async with (
        team(hangs, user_runs=1) as t,
        t.client("alice") as alice,
        t.client("bob") as bob,
    ):
        mine = (await alice.call("load_context", text="one"))["session"]
        other = (await bob.call("load_context", text="two"))["session"]
        first = await alice.call("rlm_query", query="?", session=mine, wait_s=0)
        refused = await alice.refusal("rlm_query", query="?", session=mine, wait_s=0)
        bobs = await bob.call("rlm_query", query="?", session=other, wait_s=0)
        await alice.client.call_tool("cancel_query", {"run_id": first["run_id"]})
        again = await alice.call("rlm_query", query="?", session=mine, wait_s=0)

    assert "1 run of yours" in refused
    assert "cancel_query" in refused
    assert [first["status"], bobs["status"], again["status"]] == ["running"] * 3


async def test_a_user_has_so_many_bytes_loaded_in_all_sessions(team):
    async with (
        team(user_load_gb=1000 / 10**9) as t,
        t.client("alice") as alice,
        t.client("bob") as bob,
    ):
        await alice.call("load_context", text="a" * 600)
        refused = await alice.refusal("load_context", text="b" * 600)
        await alice.call("load_context", text="c" * 300)
        await bob.call("load_context", text="d" * 600)

    assert "400 bytes" in refused
    assert "a user may have loaded" in refused


async def test_a_user_spends_so_much_a_day(team):
    prices = {"price_in": 1_000_000, "price_out": 1_000_000}  # 1 for each token
    async with (
        team(answers, user_cost_per_day=1, **prices) as t,
        t.client("alice") as alice,
        t.client("bob") as bob,
    ):
        mine = (await alice.call("load_context", text="one"))["session"]
        other = (await bob.call("load_context", text="two"))["session"]
        await alice.call("rlm_query", query="?", session=mine)
        refused = await alice.refusal("rlm_query", query="?", session=mine)
        await bob.call("rlm_query", query="?", session=other)

    assert "may spend 1 a day" in refused
    assert "midnight UTC" in refused


async def test_a_run_ends_when_the_days_money_does(team):
    def goes_on(_):
        return "```repl\nprint('more')\n```"

    prices = {"price_in": 1_000_000, "price_out": 1_000_000}
    async with team(goes_on, user_cost_per_day=1, **prices) as t, t.client("alice") as alice:
        session = (await alice.call("load_context", text="one"))["session"]
        asked = {"query": "?", "session": session, "budget": {"cost": 10**9}}
        answer = await alice.call("rlm_query", **asked)

    assert answer["stopped_by"] == "cost"


async def test_money_that_nobody_can_count_is_not_spent(team):
    async with team(answers, user_cost_per_day=1) as t, t.client("alice") as alice:
        session = (await alice.call("load_context", text="one"))["session"]
        await alice.call("rlm_query", query="?", session=session)
        refused = await alice.refusal("rlm_query", query="?", session=session)

    assert "not known" in refused
    assert "RLM_PRICE_IN" in refused


async def test_an_idle_session_ends_makes_room_and_others_live_on(team):
    async with (
        team(user_sessions=1, session_ttl_s=3) as t,
        t.client("alice") as alice,
        t.client("bob") as bob,
    ):
        idle = (await alice.call("load_context", text="one"))["session"]
        busy = (await bob.call("load_context", text="two"))["session"]
        while (await alice.client.call_tool("load_context", {"text": "more"})).is_error:
            await bob.call("list_contexts", session=busy)
        gone = await alice.refusal("list_contexts", session=idle)
        await bob.call("list_contexts", session=busy)

    assert "expired" in gone
