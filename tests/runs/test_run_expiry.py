"""Runs leave the journal by age and size; what they cost does not."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from rlm_mcp.errors import ArgumentInvalid, UnknownRun
from rlm_mcp.events import CallEnded, Note, RunEnded, RunStarted
from rlm_mcp.rules import Keeping
from rlm_mcp.runs.costs import costs
from rlm_mcp.runs.expiry import STEP_EVENTS
from rlm_mcp.runs.journal import Journal
from rlm_mcp.runs.owner import FOLDER, Holds
from rlm_mcp.types import Budget, Usage

pytestmark = pytest.mark.anyio

LONG_AGO = "2020-01-01T00:00:00.000+00:00"
MONTH = Keeping(days=30, bytes=10**12)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite3"


@pytest.fixture
async def journal(path):
    async with Journal.open(path) as opened:
        yield opened


def called(outcome="ok", usage=None, node=""):
    return CallEnded(node, "s1", 1, "sub", "small", outcome, "yes", 3, 0, usage, attempts=2)


ENDED = RunEnded("", "answer", "because", (), Usage(), Usage(), 2, 1.5)


async def keep(journal, run, *events, session="ses"):
    sink = journal.sink(run, session, await journal.claim(session))
    for event in (RunStarted("", "why?", session, (), "big", "small", Budget()), *events):
        sink.emit(event)
    await sink.written()


def change(path, sql, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(sql, values)


def age(path, run):
    change(path, "UPDATE runs SET started = ? WHERE id = ?", LONG_AGO, run)


async def test_an_old_run_goes_whole_and_a_young_one_stays(journal, path):
    await keep(journal, "run_old", called(), ENDED)
    await keep(journal, "run_new", called(), ENDED)
    age(path, "run_old")

    assert await journal.expire(MONTH) == ["run_old"]

    assert [run.id for run in await journal.runs()] == ["run_new"]
    assert await journal.events("run_old") == []
    with pytest.raises(UnknownRun):
        await journal.run("run_old")
    assert await journal.expire(MONTH) == []


async def test_a_long_run_goes_step_by_step_with_all_its_costs_kept(journal, path):
    used = Usage(1, 10, 5, 3, 0, 0.5, 1.0)
    long = [called(usage=used), *[Note("", "more")] * (2 * STEP_EVENTS), called(usage=used)]
    await keep(journal, "run_long", *long, ENDED)
    await keep(journal, "run_new", called(usage=used), ENDED)
    before = await costs(journal, "all")

    await journal.remove(["run_long"])

    assert [run.id for run in await journal.runs()] == ["run_new"]
    assert await journal.events("run_long") == []
    assert len(await journal.events("run_new")) == 3
    assert await costs(journal, "all") == before


async def test_what_gone_runs_cost_stays_in_the_sums_of_their_day_and_of_all(journal, path):
    known = Usage(1, 10, 5, 3, 0, 0.5, 1.0)
    mixed = [
        called(usage=known),
        called(usage=replace(known, cached_tokens=None), node="1"),
        called("failed"),
        called("cancelled"),
    ]
    for run in ("run_1", "run_2", "run_3"):
        await keep(journal, run, *mixed, ENDED)
    before = [await costs(journal, "all"), await costs(journal, "day")]
    of_session = await costs(journal, "session", "ses")
    for run in ("run_1", "run_2"):
        age(path, run)

    assert len(await journal.expire(MONTH)) == 2

    assert [await costs(journal, "all"), await costs(journal, "day")] == before
    assert before[0].total.usage.cached_tokens == 9
    assert before[0].total.retried == 12
    left = await costs(journal, "session", "ses")
    assert left.total.usage.calls * 3 == of_session.total.usage.calls


@pytest.mark.parametrize("other", [0.5, None])
async def test_an_unknown_cost_stays_unknown_when_its_run_is_gone(journal, path, other):
    await keep(journal, "run_1", called(usage=Usage(1, 10, 5, None, 0, None)), ENDED)
    await keep(journal, "run_2", called(usage=Usage(1, 10, 5, None, 0, other)), ENDED)
    age(path, "run_1")
    age(path, "run_2")

    await journal.expire(MONTH)

    spent = (await costs(journal, "all")).total.usage
    assert (spent.calls, spent.input_tokens) == (2, 20)
    assert (spent.cost, spent.cached_tokens) == (None, None)


async def test_beyond_its_room_the_oldest_runs_go_and_the_file_shrinks(journal, path):
    names = ["run_a", "run_b", "run_c", "run_d"]
    for run in names:
        await keep(journal, run, Note("", run * 200_000), ENDED)
    each = len("run_a") * 200_000
    await journal.remove([])  # its log is folded into the file
    before = path.stat().st_size

    gone = await journal.expire(Keeping(days=30, bytes=each * 5 // 2))

    assert gone == names[:2]
    assert path.stat().st_size <= before - each * 2


async def test_a_run_at_work_stays_and_one_whose_server_died_goes(journal, path):
    await keep(journal, "run_here")
    await keep(journal, "run_died", session="ses_died")
    for run in ("run_here", "run_died"):
        age(path, run)
    async with Holds(path.parent / FOLDER) as holds:
        await holds.take("ses_died")
        await holds.drop("ses_died")
        await holds.take("ses")

        assert await journal.at_work() == {"run_here"}
        assert await journal.expire(Keeping(days=30, bytes=0)) == ["run_died"]
        assert await journal.expire(Keeping(days=30, bytes=0)) == []

    assert await journal.expire(Keeping(days=30, bytes=0)) == ["run_here"]


async def test_runs_are_removed_by_name_all_or_none(journal, path):
    await keep(journal, "run_1", called(), ENDED)
    await keep(journal, "run_2")

    with pytest.raises(UnknownRun):
        await journal.remove(["run_1", "run_nope"])
    async with Holds(path.parent / FOLDER) as holds:
        await holds.take("ses")
        with pytest.raises(ArgumentInvalid, match="run_2 is at work") as caught:
            await journal.remove(["run_1", "run_2"])
    both = {run.id for run in await journal.runs()}
    await journal.remove(["run_1"])

    assert caught.value.hint
    assert both == {"run_1", "run_2"}
    assert [run.id for run in await journal.runs()] == ["run_2"]


async def test_another_process_can_write_while_runs_expire(journal, path):
    async with Journal.open(path) as other:
        await keep(journal, "run_1", called(), ENDED)
        age(path, "run_1")
        await journal.expire(MONTH)
        await keep(other, "run_2", called(), ENDED)

    assert [run.id for run in await journal.runs()] == ["run_2"]
