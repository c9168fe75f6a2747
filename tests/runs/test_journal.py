"""The journal over a real file: order, sums, fences, several holders."""

import multiprocessing
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from rlm_mcp.errors import ArgumentInvalid, JournalFailed, StaleEpoch, UnknownRun, UnknownSession
from rlm_mcp.events import CallEnded, Note, RunEnded, RunResumed, RunStarted
from rlm_mcp.runs.costs import costs
from rlm_mcp.runs.journal import Journal
from rlm_mcp.types import Budget, Usage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def journal(tmp_path):
    async with Journal.open(tmp_path / "deep" / "journal.sqlite3") as opened:
        yield opened


async def keep(sink, *events):
    for event in events:
        sink.emit(event)
    await sink.written()


class Heard(list):
    """A sink behind the journal: the events it was told, and how many were in the file by then."""

    def __init__(self, path):
        self._db = sqlite3.connect(path)

    def emit(self, event):
        (kept,) = self._db.execute("SELECT count(*) FROM events").fetchone()
        self.append((event, kept))


def started(query="why?"):
    return RunStarted("", query, "ses", (("ctx_1", "src"),), "big", "small", Budget())


def called(role="sub", *, cost=0.5, outcome="ok", usage=True, model="small", node="", tokens=10):
    used = Usage(1, tokens, 5, 3, 0, cost, 1.0) if usage else None
    return CallEnded(node, "s1", 1, role, model, outcome, "yes", 3, 0, used)


def ended(node="", answer="because"):
    return RunEnded(node, "answer", answer, (), Usage(), Usage(), 2, 1.5)


async def test_events_come_back_as_they_went_in_and_in_order(journal):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    sent = [started(), called(), Note("", "mind the gap"), ended()]

    await keep(sink, *sent)

    assert [recorded.event for recorded in await journal.events("run_1")] == sent
    assert [recorded.seq for recorded in await journal.events("run_1")] == [1, 2, 3, 4]


async def test_the_loop_goes_on_while_a_run_is_read(journal):
    await keep(journal.sink("run_1", "ses", await journal.claim("ses")), started())
    loop_went_on = threading.Event()

    def fold(recorded):
        return loop_went_on.wait(20), [row.event for row in recorded]

    async def go_on():
        loop_went_on.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go_on)
        assert await journal.folded("run_1", fold) == (True, [started()])


async def test_a_run_has_ended_only_when_it_and_not_a_nested_one_has(journal):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    await keep(sink, started(), ended("1", "nested"))
    before = await journal.ending("run_1")
    await keep(sink, ended())
    after = await journal.ending("run_1")

    assert before is None
    assert (after.seq, after.event) == (3, ended())


async def test_a_run_that_goes_on_after_its_end_has_none_until_it_ends_again(journal):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    await keep(sink, started(), ended(answer="half"), RunResumed(""))
    going, row = await journal.ending("run_1"), await journal.run("run_1")
    unfinished = [each.id for each in await journal.unfinished()]
    await keep(sink, ended())

    assert going is None
    assert (row.phase, row.ended, unfinished) == ("running", None, ["run_1"])
    assert (await journal.ending("run_1")).event == ended()
    assert (await journal.run("run_1")).phase == "done"


async def test_a_failure_is_told_at_once_to_who_asked_for_that_and_the_rest_is_dropped(
    journal, tmp_path
):
    failures = []
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    sink.on_failure = failures.append
    path = tmp_path / "deep" / "journal.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE events RENAME TO gone")
        await keep(sink, started())
        other.execute("ALTER TABLE gone RENAME TO events")
    await keep(sink, ended())

    assert [type(failure) for failure in failures] == [JournalFailed]
    assert await journal.events("run_1") == []


async def test_a_run_is_listed_with_its_phase(journal):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    await keep(sink, started("what?"))
    running = await journal.run("run_1")
    await keep(sink, ended())

    assert (running.query, running.phase, running.ended) == ("what?", "running", None)
    assert (await journal.run("run_1")).phase == "done"
    assert [run.id for run in await journal.runs()] == ["run_1"]


async def test_an_unknown_run_is_an_error_with_a_hint(journal):
    with pytest.raises(UnknownRun) as caught:
        await journal.run("run_nope")

    assert "run_nope" in caught.value.message
    assert caught.value.hint


async def test_an_event_is_in_the_file_before_it_is_shown_and_its_emitter_does_not_wait(
    journal, tmp_path
):
    heard = Heard(tmp_path / "deep" / "journal.sqlite3")
    sink = journal.sink("run_1", "ses", await journal.claim("ses"), [heard])
    sent = [started(), called(), ended()]

    for event in sent:
        sink.emit(event)
    before = list(heard)
    await sink.written()

    assert before == []
    assert [event for event, _ in heard] == sent
    assert all(kept >= number for number, (_, kept) in enumerate(heard, 1))


async def test_a_sink_that_breaks_ends_its_own_run_only(journal, caplog):
    class Broken:
        def emit(self, event):
            raise ZeroDivisionError("oops")

    broken = journal.sink("run_1", "ses", await journal.claim("ses"), [Broken()])
    other = journal.sink("run_2", "two", await journal.claim("two"))

    broken.emit(started())
    await keep(other, started())

    with pytest.raises(ZeroDivisionError):
        await broken.written()
    with pytest.raises(ZeroDivisionError):
        broken.emit(ended())
    await keep(other, ended())
    assert (await journal.run("run_2")).phase == "done"
    assert "run_1 broke" in caplog.text


async def test_an_older_holder_of_a_session_can_append_no_more(journal, tmp_path):
    heard = Heard(tmp_path / "deep" / "journal.sqlite3")
    old = journal.sink("run_1", "ses", await journal.claim("ses"), [heard])
    await keep(old, started())
    new = journal.sink("run_2", "ses", await journal.claim("ses"))

    old.emit(called())
    with pytest.raises(StaleEpoch):
        await old.written()
    with pytest.raises(StaleEpoch):
        old.emit(called())
    await keep(new, started())

    assert len(await journal.events("run_1")) == len(heard) == 1
    assert (await costs(journal, "run", "run_1")).total.usage.calls == 0


async def test_a_stale_append_does_not_hurt_those_committed_beside_it(journal):
    stale = journal.sink("run_1", "ses", await journal.claim("ses"))
    fresh = journal.sink("run_2", "other", await journal.claim("other"))
    await journal.claim("ses")

    for _ in range(20):
        stale.emit(called())
        fresh.emit(called())
    await fresh.written()

    with pytest.raises(StaleEpoch):
        await stale.written()
    assert await journal.events("run_1") == []
    assert len(await journal.events("run_2")) == 20


async def test_a_file_that_cannot_be_written_fails_who_wrote_but_not_the_next_run(
    journal, tmp_path
):
    first = journal.sink("run_1", "ses", await journal.claim("ses"))
    path = tmp_path / "deep" / "journal.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("ALTER TABLE events RENAME TO gone")
        first.emit(started())
        with pytest.raises(JournalFailed, match="no such table"):
            await first.written()
        other.execute("ALTER TABLE gone RENAME TO events")
    second = journal.sink("run_2", "ses", await journal.claim("ses"))
    await keep(second, started())

    with pytest.raises(JournalFailed):
        first.emit(ended())
    assert await journal.events("run_1") == []
    assert len(await journal.events("run_2")) == 1


@pytest.mark.parametrize(
    "event",
    [
        called(tokens=2**63),
        called(tokens=-(2**63) - 1),
        called(model="\ud800"),
        CallEnded("", "s1", 1, "sub", "small", "ok", "yes", 3, 0, Usage(1, 1, 1), attempts=2**64),
    ],
)
async def test_an_event_that_the_file_cannot_hold_ends_its_own_run_only(journal, tmp_path, event):
    heard = Heard(tmp_path / "deep" / "journal.sqlite3")
    bad = journal.sink("run_1", "ses", await journal.claim("ses"))
    beside = journal.sink("run_2", "two", await journal.claim("two"), [heard])
    after = journal.sink("run_3", "three", await journal.claim("three"))

    with anyio.fail_after(20):
        bad.emit(started())
        bad.emit(event)
        await keep(beside, started(), called())
        with pytest.raises(JournalFailed, match="cannot keep what this run did"):
            await bad.written()
        await keep(after, started(), ended())

    assert await journal.events("run_1") == []
    assert [row.event for row in await journal.events("run_2")] == [started(), called()]
    assert [event for event, _ in heard] == [started(), called()]
    assert (await journal.run("run_3")).phase == "done"
    assert (await costs(journal, "all")).total.usage.calls == 1


async def test_all_that_was_emitted_is_written_when_the_journal_is_left(tmp_path):
    path = tmp_path / "journal.sqlite3"
    with anyio.CancelScope() as scope:
        async with Journal.open(path) as journal:
            sink = journal.sink("run_1", "ses", await journal.claim("ses"))
            sink.emit(started())
            scope.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                sink.emit(ended())

    async with Journal.open(path) as journal:
        assert [row.event for row in await journal.events("run_1")] == [started(), ended()]


async def test_costs_are_the_sum_of_the_calls_and_unknown_cost_stays_unknown(journal):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    await keep(
        sink,
        started(),
        called("root", model="big"),
        called("sub", outcome="failed", usage=False),
        called("sub"),
    )
    known = await costs(journal, "run", "run_1")
    await keep(sink, called("sub", cost=None))
    unknown = await costs(journal, "session", "ses")

    assert (known.root.usage.calls, known.sub.usage.calls, known.sub.failed) == (1, 2, 1)
    assert known.total.usage.input_tokens == 20
    assert known.total.usage.cost == pytest.approx(1.0)
    assert known.total.usage.cached_tokens == 6
    assert set(known.by_model) == {"big", "small"}
    assert (unknown.root.usage.cost, unknown.total.usage.cost) == (0.5, None)


async def test_nothing_spent_is_zero_and_not_unknown(journal):
    spent = await costs(journal, "all")

    assert (spent.total.usage.calls, spent.total.usage.cost) == (0, 0.0)
    assert spent.total.usage.cached_tokens is None


@pytest.mark.parametrize(
    ("scope", "key", "error", "words"),
    [
        ("run", None, ArgumentInvalid, "needs `id`"),
        ("run", "run_nope", UnknownRun, "'run_nope'"),
        ("session", None, ArgumentInvalid, "needs `id`"),
        ("session", "ses_nope", UnknownSession, "'ses_nope'"),
        ("day", "today", ArgumentInvalid, "'today'"),
    ],
)
async def test_what_was_never_there_did_not_cost_nothing(journal, scope, key, error, words):
    with pytest.raises(error, match=words) as caught:
        await costs(journal, scope, key)

    assert caught.value.hint


async def test_a_day_may_be_written_in_any_way_iso_8601_has(journal):
    assert (await costs(journal, "day", "20240229")).id == "2024-02-29"


@pytest.mark.parametrize("write", ["emit", "claim"])
async def test_a_write_waits_for_another_process_that_holds_the_file(journal, tmp_path, write):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    path, written = tmp_path / "deep" / "journal.sqlite3", []

    async def work():
        written.append(await (keep(sink, called()) if write == "emit" else journal.claim("ses")))

    with closing(sqlite3.connect(path, isolation_level=None)) as other, anyio.fail_after(20):
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            held = list(written)
            sink.emit(called())
            other.execute("ROLLBACK")

    assert held == []
    assert written == [None if write == "emit" else 2]


async def test_what_is_emitted_while_the_file_is_held_follows_in_order(journal, tmp_path):
    heard = Heard(tmp_path / "deep" / "journal.sqlite3")
    sink = journal.sink("run_1", "ses", await journal.claim("ses"), [heard])
    sent = [started(), *(Note("", f"{number}") for number in range(50)), ended()]

    path = tmp_path / "deep" / "journal.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other, anyio.fail_after(20):
        other.execute("BEGIN IMMEDIATE")
        for event in sent:
            sink.emit(event)
            await anyio.lowlevel.checkpoint()
        held = list(heard)
        other.execute("ROLLBACK")
        await sink.written()

    assert held == []
    assert [row.event for row in await journal.events("run_1")] == sent
    assert [event for event, _ in heard] == sent


async def test_two_processes_write_one_journal(journal, tmp_path):
    path = str(tmp_path / "deep" / "journal.sqlite3")
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=write_in_process, args=(path, name)) for name in "ab"]
    for other in others:
        other.start()
    mine = journal.sink("run_mine", "ses", await journal.claim("ses"))
    for _ in range(50):
        await keep(mine, called())
    for other in others:
        await anyio.to_thread.run_sync(other.join)

    assert [other.exitcode for other in others] == [0, 0]
    assert (await costs(journal, "all")).total.usage.calls == 150


def write_in_process(path, name):
    async def write():
        async with Journal.open(Path(path)) as journal:
            sink = journal.sink(f"run_{name}", name, await journal.claim(name))
            for _ in range(50):
                await keep(sink, called())

    anyio.run(write)


async def test_a_file_that_is_no_journal_is_an_error_with_a_hint(tmp_path):
    path = tmp_path / "journal.sqlite3"
    path.write_text("not a database, but long enough to be taken for one" * 100, encoding="utf-8")

    with pytest.raises(JournalFailed) as caught:
        async with Journal.open(path):
            pass

    assert "RLM_HOME" in caught.value.hint


async def test_a_journal_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "journal.sqlite3"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(JournalFailed, match="schema 99"):
        async with Journal.open(path):
            pass
