"""The code of a run as a script."""

import io
from contextlib import redirect_stdout

import pytest

from rlm_mcp.errors import UnknownRun
from rlm_mcp.events import CellEnded, CellStarted, RunStarted
from rlm_mcp.runs.journal import Journal
from rlm_mcp.runs.script import script
from rlm_mcp.types import Budget

pytestmark = pytest.mark.anyio


@pytest.fixture
async def journal(tmp_path):
    async with Journal.open(tmp_path / "journal.sqlite3") as opened:
        yield opened


def cell(turn, code, status="ok", error=None, node=""):
    name = f"{node}c{turn}"
    return [
        CellStarted(node, name, turn, code),
        CellEnded(node, name, turn, status, "", 0, error, 0.1),
    ]


async def of(journal, *events, query="How many?\nReally?"):
    sink = journal.sink("run_1", "ses", await journal.claim("ses"))
    for event in (RunStarted("", query, "ses", (), "big", "small", Budget()), *events):
        sink.emit(event)
    await sink.written()
    return await script(journal, "run_1")


def printed(code, **names):
    with redirect_stdout(io.StringIO()) as out:
        exec(code, names)
    return out.getvalue().split()


async def test_it_runs_with_what_it_names_of_the_repl(journal):
    written = await of(
        journal,
        *cell(1, "words = context.split()"),
        *cell(2, "def number(of):\n    return len(of)\n\nprint(number(words))"),
    )

    assert "# From the REPL: context\n" in written
    assert "# Question: How many? Really?\n" in written
    assert written.index("# turn 1\n") < written.index("# turn 2\n")
    assert printed(written, context="a b c") == ["3"]


async def test_what_failed_or_is_no_python_is_a_comment(journal):
    error = "Traceback\nZeroDivisionError: division by zero"
    written = await of(
        journal,
        *cell(1, "print(1)\n1 / 0", "error", error),
        *cell(2, "await later()"),
        *cell(3, "print('''a\n b''')"),
        CellStarted("", "c4", 4, "print(4)"),
    )

    assert "# turn 1, which failed (ZeroDivisionError: division by zero):\n# print(1)" in written
    assert "# turn 2, Python only to the REPL:\n# await later()" in written
    assert "# turn 4, which never ended:\n# print(4)" in written
    assert "From the REPL" not in written
    assert printed(written) == ["a", "b"]


async def test_code_of_nested_runs_is_left_out(journal):
    written = await of(journal, *cell(1, "print('mine')"), *cell(1, "print('nested')", node="1"))

    assert printed(written) == ["mine"]


async def test_a_run_without_code_says_so(journal):
    assert "# The run had no code." in await of(journal)
    with pytest.raises(UnknownRun):
        await script(journal, "run_nope")
