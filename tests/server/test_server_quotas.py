"""What one user of a shared server may have; others have theirs."""

import gzip
import json

import anyio
import pytest

from rlm_mcp.errors import QuotaReached
from rlm_mcp.events import RunStarted
from rlm_mcp.llm.scripted import ScriptedReply
from rlm_mcp.runs.journal import FILE, Journal
from rlm_mcp.runs.owners import Owners
from rlm_mcp.runs.viewer import LEAST_PIECE_CHARS
from rlm_mcp.server import resources
from rlm_mcp.server.quotas import Outlay, Quotas
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget

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


async def test_a_batch_spends_no_more_than_the_days_money_and_one_call(team):
    def batches(messages):
        if messages[0].role == "system":
            return "```repl\nllm_query_batched([f'{n} ' + 'ab ' * 40 for n in range(30)])\n```"
        return "yes " * 30

    prices = {"price_in": 0, "price_out": 0, "sub_price_in": 0, "sub_price_out": 1_000_000}
    most = 200
    async with team(batches, user_cost_per_day=most, **prices) as t, t.client("alice") as alice:
        session = (await alice.call("load_context", text="one"))["session"]
        answer = await alice.call("rlm_query", query="?", session=session, budget={"cost": most})
        spent = (await alice.call("get_costs", scope="day"))["sub"]

    assert answer["stopped_by"] == "cost"
    assert most <= spent["cost"] <= most + spent["cost"] / spent["calls"]


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


@pytest.mark.parametrize(
    ("asked", "today", "working", "most"),
    [
        (None, 0.0, [], 10 / 4),
        (None, 2.0, [Outlay(3.0, 1.0)], (10 - 2 - 2) / 3),
        (5.0, 2.0, [Outlay(3.0, 1.0)], 5.0),
        (9.0, 2.0, [Outlay(3.0, 1.0)], 6.0),
        (9.0, 2.0, [Outlay(1.0, 1.5)], 8.0),
    ],
)
def test_what_runs_at_work_may_still_spend_is_set_aside(asked, today, working, most):
    quotas = Quotas(Settings.load({}, user_cost_per_day=10, user_runs=4))

    assert quotas.may_spend(asked, today, working) == pytest.approx(most)


def test_runs_at_work_may_have_taken_all_the_money():
    quotas = Quotas(Settings.load({}, user_cost_per_day=10))
    with pytest.raises(QuotaReached, match="8 is set aside") as refusal:
        quotas.may_spend(None, 2.0, [Outlay(5.0, 0.0), Outlay(3.0, 0.0)])
    assert "free again" in refusal.value.hint


async def test_runs_side_by_side_cannot_spend_more_than_one(team):
    prices = {"price_in": 1_000_000, "price_out": 1_000_000}
    async with (
        team(hangs, user_cost_per_day=1000, **prices) as t,
        t.client("alice") as alice,
        t.client("bob") as bob,
    ):
        mine = (await alice.call("load_context", text="one"))["session"]
        other = (await bob.call("load_context", text="two"))["session"]
        asked = {"query": "?", "wait_s": 0, "budget": {"cost": 600}}
        first = await alice.call("rlm_query", session=mine, **asked)
        await alice.call("rlm_query", session=mine, **asked)
        third = await alice.refusal("rlm_query", session=mine, **asked)
        await bob.call("rlm_query", session=other, **asked)
        await alice.client.call_tool("cancel_query", {"run_id": first["run_id"]})
        await alice.call("rlm_query", session=mine, **asked)

    assert "1000 is set aside for your runs at work" in third


async def test_what_is_loaded_again_takes_its_own_place(team, tmp_path):
    (tmp_path / "a.txt").write_text("a" * 700, encoding="utf-8")
    async with team(user_load_gb=1000 / 10**9) as t, t.client("alice") as alice:
        first = await alice.call("load_context", source=str(tmp_path / "a.txt"))
        session = first["session"]
        other = await alice.call("load_context", source=str(tmp_path / "a.txt"))
        (tmp_path / "a.txt").write_text("b" * 800, encoding="utf-8")
        refused = await alice.refusal("load_context", source=str(tmp_path / "a.txt"))
        await alice.call("load_context", text="c" * 100, name="a.txt", session=other["session"])
        await alice.call("load_context", source=str(tmp_path / "a.txt"), session=session)
        full = await alice.refusal("load_context", text="d" * 101, session=session)

    assert "a user may have loaded" in refused
    assert "100 bytes are left" in full


async def test_what_is_packed_counts_unpacked_also_when_it_is_known_already(team, tmp_path):
    packed = tmp_path / "a.log.gz"
    packed.write_bytes(gzip.compress(b"x" * 700))
    async with team(user_load_gb=1000 / 10**9) as t, t.client("alice") as alice:
        first = await alice.call("load_context", source=str(packed))
        session = first["session"]
        await alice.call("load_context", text="y", name="a.log.gz", session=session)
        await alice.call("load_context", text="z" * 600, session=session)
        refused = await alice.refusal("load_context", source=str(packed), session=session)

    assert "a user may have loaded" in refused


async def interrupted(home, user, session, run):
    """A run of that user which a crash has interrupted."""
    async with Journal.open(home / FILE) as journal, Owners.open(home / FILE) as owners:
        await owners.add(json.dumps([None, "client", user]), session)
        sink = journal.sink(run, session, await journal.claim(session))
        sink.emit(RunStarted("", "?", session, (), "scripted", "scripted", Budget()))
        await sink.written()


async def test_resuming_takes_ones_own_run_within_the_same_limits(team, own_environment):
    for user, number in (("alice", 1), ("alice", 2), ("alice", 3), ("bob", 4)):
        await interrupted(own_environment, user, f"ses_{number}", f"run_{number}")
    asked = {"resume": True, "wait_s": 0}
    async with (
        team(hangs, user_sessions=2, user_runs=1) as t,
        t.client("alice") as alice,
        t.client("bob") as bob,
    ):
        first = await alice.call("get_answer", run_id="run_1", **asked)
        again = await alice.call("get_answer", run_id="run_1", **asked)
        foreign = await alice.refusal("get_answer", run_id="run_4", **asked)
        never = await alice.refusal("get_answer", run_id="run_5", **asked)
        busy = await alice.refusal("get_answer", run_id="run_2", **asked)
        await alice.client.call_tool("cancel_query", {"run_id": "run_1"})
        second = await alice.call("get_answer", run_id="run_2", **asked)
        await alice.client.call_tool("cancel_query", {"run_id": "run_2"})
        full = await alice.refusal("get_answer", run_id="run_3", **asked)
        bobs = await bob.call("get_answer", run_id="run_4", **asked)

    assert [each["status"] for each in (first, again, second, bobs)] == ["running"] * 4
    assert foreign.replace("run_4", "run_5") == never
    assert "may have 1 at a time" in busy
    assert "2 sessions open" in full


@pytest.mark.parametrize(
    ("schema", "is_refused"),
    [
        ({"type": "string", "pattern": "^(a+)+$"}, True),
        ({"anyOf": [{"properties": {"a": {"patternProperties": {"(a+)+": {}}}}}]}, True),
        ({"allOf": [{"prefixItems": [True]}], "unevaluatedItems": False}, True),
        ({"properties": {"a": {"unevaluatedProperties": {"type": "string"}}}}, True),
        ({"type": "object", "properties": {"pattern": {"type": "string"}}}, False),
    ],
)
async def test_no_user_makes_the_others_wait_for_a_check_without_an_end(team, schema, is_refused):
    async with team(hangs) as t, t.client("alice") as alice:
        session = (await alice.call("load_context", text="one"))["session"]
        asked = {"query": "?", "session": session, "wait_s": 0, "answer_schema": schema}
        told = await alice.client.call_tool("rlm_query", asked)

    assert told.is_error is is_refused


async def test_a_users_page_of_a_run_is_cut_sooner_than_ones_own(team, bench, monkeypatch):
    """Each is made in one piece, and a user may ask for as many at once as it has connections."""
    monkeypatch.setattr(resources, "MOST_SHARED_PAGE_CHARS", 2_000)

    async def page(client):
        session = (await client.call("load_context", text="one"))["session"]
        run = await client.call("rlm_query", query="why? " * 2_000, session=session)
        read = await client.client.read_resource(f"rlm://run/{run['run_id']}/view")
        return read.contents[0].text

    async with bench(answers) as own:
        whole = await page(own)
    async with team(answers) as t, t.client("alice") as alice:
        cut = await page(alice)

    assert '"cut": null' in whole
    assert f'"cut": {LEAST_PIECE_CHARS}' in cut
    longest = max(len(text) for _, text in json.loads(record_of(cut))["texts"])
    assert longest < 2_000 < max(len(text) for _, text in json.loads(record_of(whole))["texts"])


def record_of(page):
    return page.partition('type="application/json">')[2].partition("</script>")[0]
