"""Whose is what, and what each principal has spent, also of runs that are gone."""

import pytest

from rlm_mcp.events import CallEnded, RunEnded, RunStarted
from rlm_mcp.runs.costs import costs
from rlm_mcp.runs.journal import Journal
from rlm_mcp.runs.owners import Owners
from rlm_mcp.types import Budget, Usage

pytestmark = pytest.mark.anyio

ENDED = RunEnded("", "answer", "because", (), Usage(), Usage(), 2, 1.5)


@pytest.fixture
async def journal(tmp_path):
    async with Journal.open(tmp_path / "journal.sqlite3") as opened:
        yield opened


@pytest.fixture
async def owners(journal, tmp_path):
    async with Owners.open(tmp_path / "journal.sqlite3") as opened:
        yield opened


async def keep(journal, session, run, *usages):
    """A run that has ended, with a call for each usage."""
    sink = journal.sink(run, session, await journal.claim(session))
    calls = [CallEnded("", "s1", 1, "sub", "small", "ok", "yes", 3, 0, each) for each in usages]
    for event in (RunStarted("", "?", session, (), "big", "small", Budget()), *calls, ENDED):
        sink.emit(event)
    await sink.written()


async def test_what_runs_cost_stays_with_whom_they_belonged_to_when_they_are_gone(journal, owners):
    await owners.add("alice", "ses_a")
    await owners.add("bob", "ses_b")
    await keep(journal, "ses_a", "run_1", Usage(2, 10, 20, cost=1.5), Usage(1, 10, 20, cost=0.5))
    await keep(journal, "ses_a", "run_2", Usage(1, 10, 20, cost=4.0))
    await keep(journal, "ses_b", "run_3", Usage(1, 10, 20, cost=8.0))
    scopes = [("day", "alice"), ("all", "alice"), ("day", "bob"), ("day", None), ("day", "carol")]
    before = [await costs(journal, scope, None, whose) for scope, whose in scopes]
    await journal.remove(["run_1"])
    after = [await costs(journal, scope, None, whose) for scope, whose in scopes]
    await journal.remove(["run_2", "run_3"])
    at_last = [await costs(journal, scope, None, whose) for scope, whose in scopes]

    assert [each.total.usage.cost for each in before] == [6.0, 6.0, 8.0, 14.0, 0.0]
    assert [each.total for each in after] == [each.total for each in before]
    assert [each.total for each in at_last] == [each.total for each in before]


async def test_a_call_without_a_price_leaves_the_sum_unknown_also_when_its_run_is_gone(
    journal, owners
):
    await owners.add("alice", "ses_a")
    await keep(journal, "ses_a", "run_1", Usage(1, 10, 20, cost=None))
    await journal.remove(["run_1"])

    assert (await costs(journal, "day", None, "alice")).total.usage.cost is None


async def test_only_what_was_written_down_is_owned(journal, owners):
    await owners.add("alice", "ses_a")
    await owners.add("bob", "ses_b")
    await keep(journal, "ses_a", "run_1")

    assert await owners.owned("alice", ["ses_a", "ses_b", "ses_c"]) == {"ses_a"}
    assert [await owners.owns_run(name, "run_1") for name in ("alice", "bob")] == [True, False]
    assert not await owners.owns_run("alice", "run_2")
