"""The code of a run as a script. That it runs is in test_rerun.py."""

import ast

import pytest

from rlm_mcp.errors import UnknownRun
from rlm_mcp.events import CellEnded, CellStarted, RunStarted
from rlm_mcp.rerun import is_plain
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
    return await script(journal, "run_1", is_plain)


def run_by_the_repl(written):
    """The code that a script has run as the REPL did."""
    calls = [node for node in ast.walk(ast.parse(written)) if isinstance(node, ast.Call)]
    return [
        ast.literal_eval(call.args[0]).strip()
        for call in calls
        if ast.unparse(call.func) == "_rerun.run"
    ]


async def test_code_stands_in_order_between_its_names_and_its_answer(journal):
    written = await of(
        journal,
        *cell(1, "words = context.split()"),
        *cell(2, "def number(of):\n    return len(of)\n\nprint(number(words))"),
    )

    assert "# From the REPL: context\n" in written
    assert "# Question: How many? Really?\n" in written
    parts = ["Rerun('run_1', globals())", "# turn 1\n", "# turn 2\n", "_rerun.end()"]
    assert sorted(parts, key=written.index) == parts
    assert run_by_the_repl(written) == []


async def test_what_failed_or_is_no_plain_python_is_run_as_the_repl_did(journal):
    error = "Traceback\nZeroDivisionError: division by zero"
    failed = "print('''1''', \"\"\"2\\n\"\"\")\n1 / 0"
    written = await of(
        journal,
        *cell(1, failed, "error", error),
        *cell(2, "await later()"),
        *cell(3, "\0", "error", "ValueError"),
        *cell(4, "print('''a\n b''')"),
    )

    assert "# turn 1, which failed (ZeroDivisionError: division by zero):\n_rerun" in written
    assert '# turn 2, as the REPL read it:\n_rerun.run("""\nawait later()\n""")' in written
    assert run_by_the_repl(written) == [failed, "await later()", "\0"]
    assert "# turn 4\nprint('''a\n b''')" in written


async def test_what_was_ended_or_never_ended_is_a_comment(journal):
    written = await of(
        journal,
        *cell(1, "while True:\n    pass", "interrupted", "KeyboardInterrupt"),
        CellStarted("", "c2", 2, "print(context)"),
    )

    assert "# turn 1, which ended badly (KeyboardInterrupt):\n# while True:\n#     pass" in written
    assert "# turn 2, which never ended:\n# print(context)" in written
    assert "From the REPL" not in written
    assert run_by_the_repl(written) == []


async def test_code_of_nested_runs_is_left_out(journal):
    written = await of(journal, *cell(1, "print('mine')"), *cell(1, "print('nested')", node="1"))

    assert "# turn 1\nprint('mine')\n" in written
    assert "nested" not in written


async def test_a_run_without_code_says_so(journal):
    assert "# The run had no code." in await of(journal)
    with pytest.raises(UnknownRun):
        await script(journal, "run_nope", is_plain)
