"""The code of a run as one Python script, a comment before each turn's."""

import ast
import builtins
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlm_mcp.events import CellEnded, CellStarted
from rlm_mcp.runs.journal import Journal, Recorded, RunRow

COLUMNS = 96
QUERY_CHARS = 300


@dataclass(frozen=True, slots=True)
class RunCell:
    """A piece of code of the run itself; `status` is None if it never ended."""

    turn: int
    code: str
    status: str | None
    error: str | None


async def script(journal: Journal, run_id: str) -> str:
    """The code of a run in order, that of nested runs left out.

    What failed, or is Python only to the REPL, stands there as a comment: the run went on without.
    The head names what the script takes from the REPL.

    Raises:
        UnknownRun: the journal has none of that id.
    """
    run = await journal.run(run_id)
    return as_script(run, await journal.folded(run_id, _cells))


def as_script(run: RunRow, cells: Sequence[RunCell]) -> str:
    """The script of these cells."""
    query = " ".join(run.query.split())
    query = query if len(query) <= QUERY_CHARS else query[: QUERY_CHARS - 1] + "…"
    head = [*_comment(f"The code of {run.id}, {run.started[:19]} UTC, by {run.model}."),
            *_comment(f"Question: {query}")]  # fmt: skip
    parts = [_part(cell) for cell in cells]
    taken = _free_names("\n".join(cell.code for cell in cells if _failure(cell) is None))
    if taken:
        head += _comment(f"From the REPL: {', '.join(taken)}")
    if not cells:
        head += _comment("The run had no code.")
    return "\n\n".join(["\n".join(head), *parts])


def _cells(recorded: Iterable[Recorded]) -> list[RunCell]:
    events = [row.event for row in recorded if not row.event.node]
    ends = {event.cell: event for event in events if isinstance(event, CellEnded)}
    return [
        RunCell(event.turn, event.code, end.status if end else None, end.error if end else None)
        for event in events
        if isinstance(event, CellStarted)
        for end in [ends.get(event.cell)]
    ]


def _part(cell: RunCell) -> str:
    failure = _failure(cell)
    if failure is None:
        return f"# turn {cell.turn}\n{cell.code.strip(chr(10))}"
    lines = [f"# {line}".rstrip() for line in cell.code.strip("\n").splitlines()]
    return "\n".join([*_comment(f"turn {cell.turn}, {failure}:"), *lines])


def _failure(cell: RunCell) -> str | None:
    """Why a cell's code cannot stand in the script as it is."""
    if cell.status is None:
        return "which never ended"
    if cell.status != "ok":
        last = (cell.error or "").strip().rpartition("\n")[2]
        return f"which failed ({last or cell.status})"
    return None if _tree(cell.code) else "Python only to the REPL"


def _free_names(code: str) -> list[str]:
    """Names that the code reads and nothing in it makes, but for Python's own."""
    tree = _tree(code)
    made, read = set(dir(builtins)), set()
    for node in ast.walk(tree) if tree else ():
        match node:
            case ast.Name(ctx=ast.Load()):
                read.add(node.id)
            case ast.Name():
                made.add(node.id)
            case ast.arg():
                made.add(node.arg)
            case ast.alias():
                made.add((node.asname or node.name).partition(".")[0])
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                made.add(node.name)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                made.add(name)
            case _:
                pass
    return sorted(read - made)


def _tree(code: str) -> ast.Module | None:
    """What plain Python makes of the code, None if it can make nothing of it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(code, "<cell>", "exec")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, COLUMNS)]
