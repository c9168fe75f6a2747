"""A journal made by an earlier schema is brought up where it is."""

import sqlite3
from contextlib import closing

import anyio
import pytest

from rlm_mcp.events import CallEnded, CallRetried, CallStarted, RunEnded, RunStarted, to_json
from rlm_mcp.rules import Keeping
from rlm_mcp.runs.costs import costs
from rlm_mcp.runs.journal import Journal
from rlm_mcp.runs.raw import NOT_KEPT
from rlm_mcp.runs.tables import SCHEMA_VERSION
from rlm_mcp.runs.trace import trace
from rlm_mcp.types import Budget, Usage

pytestmark = pytest.mark.anyio

SCHEMA_2 = """
CREATE TABLE sessions (handle TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, query TEXT NOT NULL, model TEXT NOT NULL,
    sub_model TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, phase TEXT NOT NULL,
    pid INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX runs_by_start ON runs (started);
CREATE INDEX runs_by_session ON runs (session);
CREATE TABLE events (
    run TEXT NOT NULL, seq INTEGER NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL,
    node TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE TABLE calls (
    run TEXT NOT NULL, seq INTEGER NOT NULL, day TEXT NOT NULL, role TEXT NOT NULL,
    model TEXT NOT NULL, outcome TEXT NOT NULL, input INTEGER, output INTEGER, cached INTEGER,
    estimated INTEGER NOT NULL, cost REAL, seconds REAL, PRIMARY KEY (run, seq)
) WITHOUT ROWID;
CREATE INDEX calls_by_day ON calls (day);
"""

AT = "2026-01-02T03:04:05.000+00:00"
ONE = Usage(1, 10, 5, 3, 0, 0.5, 1.0)
TWO = Usage(2, 20, 10, None, 1, None, 2.0)


def called(call, outcome, usage, node=""):
    return CallEnded(node, call, 1, "sub", "small", outcome, "", 0, 0, usage)


EVENTS = [
    RunStarted("", "why?", "ses", (), "big", "small", Budget()),
    CallRetried("", "s1", 1, "busy", 0.1),
    called("s1", "ok", ONE),
    CallRetried("1.1", "s1", 1, "busy", 0.1),
    CallRetried("1.1", "s1", 2, "busy", 0.1),
    called("s1", "failed", None, "1.1"),
    called("s2", "ok", TWO),
    RunEnded("", "answer", "because", (), Usage(), Usage(), 2, 1.5),
]


@pytest.fixture
def path(tmp_path):
    """A journal as the program before wrote it."""
    path = tmp_path / "journal.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(SCHEMA_2)
        db.execute("PRAGMA user_version = 2")
        db.execute("INSERT INTO sessions VALUES ('ses', 4)")
        run = ("run_1", "ses", "why?", "big", "small", AT, AT, "done", 1)
        db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", run)
        for seq, event in enumerate(EVENTS, 1):
            kind = type(event).__name__
            row = ("run_1", seq, AT, kind, event.node, to_json(event))
            db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
            if isinstance(event, CallEnded):
                add_call(db, seq, event)
    return path


def add_call(db, seq, call):
    used = call.usage
    figures = (None, None, None, 0, None, None)
    if used is not None:
        tokens = (used.input_tokens, used.output_tokens, used.cached_tokens, used.estimated_calls)
        figures = (*tokens, used.cost, used.seconds)
    row = ("run_1", seq, AT[:10], call.role, call.model, call.outcome, *figures)
    db.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


async def test_all_it_holds_is_there_and_its_calls_are_counted_anew(path):
    async with Journal.open(path) as journal:
        events = [row.event for row in await journal.events("run_1")]
        (run,) = await journal.runs()
        spent = await costs(journal, "all")
        epoch = await journal.claim("ses")

    assert events == EVENTS
    assert (run.id, run.phase, run.ended) == ("run_1", "done", AT)
    assert epoch == 5
    assert spent.total.usage.calls == 4  # one was answered twice
    assert spent.total.usage.input_tokens == ONE.input_tokens + TWO.input_tokens
    assert (spent.total.retried, spent.total.failed) == (3, 1)
    assert {depth: of.retried for depth, of in spent.by_depth.items()} == {0: 1, 2: 2}


async def test_its_calls_have_no_messages_and_say_so(path):
    started = CallStarted("", "r9", 1, "root", "big", "why … so", 700)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        row = ("run_1", 99, AT, "CallStarted", "", to_json(started))
        db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
    async with Journal.open(path) as journal:
        (step,) = (await trace(journal, "run_1", 1, "messages")).steps

    assert (step.kind, step.text) == ("r9 prompt", f"why … so\n{NOT_KEPT}")


async def test_a_journal_of_the_schema_before_gets_its_tables(path):
    async with Journal.open(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript("DROP TABLE messages; DROP TABLE prompts; PRAGMA user_version = 3")
    async with Journal.open(path) as journal:
        assert await journal.prompts("run_1") == {}
        assert [row.event for row in await journal.events("run_1")] == EVENTS


async def test_it_can_be_written_expired_and_shrunk(path):
    async with Journal.open(path) as journal:
        sink = journal.sink("run_2", "ses", await journal.claim("ses"))
        for event in EVENTS:
            sink.emit(event)
        await sink.written()
        before = await costs(journal, "all")
        gone = await journal.expire(Keeping(days=10**4, bytes=0))
        after = await costs(journal, "all")

    assert gone == ["run_1", "run_2"]
    assert after == before
    with closing(sqlite3.connect(path)) as db:
        modes = [
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "auto_vacuum")
        ]
        assert modes == [SCHEMA_VERSION, 2]
        assert db.execute("PRAGMA freelist_count").fetchone() == (0,)


async def test_two_servers_may_bring_it_up_at_the_same_time(path):
    told = []

    async def open_and_sum():
        async with Journal.open(path) as journal:
            told.append(await costs(journal, "all"))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(open_and_sum)
            tasks.start_soon(open_and_sum)

    assert told[0] == told[1]
    assert told[0].total.retried == 3


async def test_one_that_another_process_reads_is_brought_up_too(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        async with Journal.open(path) as journal:
            assert [run.id for run in await journal.runs()] == ["run_1"]
            assert await journal.expire(Keeping(days=30, bytes=0)) == ["run_1"]
