"""The code of a run as one Python script, a comment before each turn's."""

import ast
import builtins
import textwrap
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from rlm_mcp.events import CellEnded, CellStarted
from rlm_mcp.runs.journal import Journal, Recorded, RunRow

COLUMNS = 96
QUERY_CHARS = 300
RIGHTS = (
    "This runs with your rights, in no sandbox, where rlm-mcp is installed. No model is asked: what"
    " they said is in the journal of your RLM_HOME, and so is the text. With PYTHONHASHSEED=0 sets"
    " have the order they had."
)
# What the script itself is made of, see `rlm_mcp.rerun`.
BEGIN = "import rlm_mcp.rerun\n\n_rerun = rlm_mcp.rerun.Rerun({run!r}, globals())"
END = "_rerun.end()  # prints the answer"


@dataclass(frozen=True, slots=True)
class RunCell:
    """A piece of code of the run itself; `status` is None if it never ended."""

    turn: int
    code: str
    status: str | None
    error: str | None


async def script(journal: Journal, run_id: str, is_plain: Callable[[str], bool]) -> str:
    """The code of a run in order, that of nested runs left out, as a script that runs.

    What failed, or is not plain Python, is run as the REPL did: the run went on with what it had
    done. What never ended, or was ended, stands there as a comment. The head names what the script
    takes from the REPL; `is_plain` tells what Python makes the same of as the REPL.

    Raises:
        UnknownRun: the journal has none of that id.
    """
    run = await journal.run(run_id)
    return as_script(run, await journal.folded(run_id, _cells), is_plain)


def as_script(run: RunRow, cells: Sequence[RunCell], is_plain: Callable[[str], bool]) -> str:
    """The script of these cells."""
    query = " ".join(run.query.split())
    query = query if len(query) <= QUERY_CHARS else query[: QUERY_CHARS - 1] + "…"
    head = [*_comment(f"The code of {run.id}, {run.started[:19]} UTC, by {run.model}."),
            *_comment(f"Question: {query}")]  # fmt: skip
    if not cells:
        return "\n".join([*head, *_comment("The run had no code.")])
    taken = _free_names([cell.code for cell in cells if _runs(cell)])
    if taken:
        head += _comment(f"From the REPL: {', '.join(taken)}")
    head += _comment(RIGHTS)
    parts = [_part(cell, is_plain) for cell in cells]
    return "\n\n".join(["\n".join(head), BEGIN.format(run=run.id), *parts, END])


def _cells(recorded: Iterable[Recorded]) -> list[RunCell]:
    """Each once, as it ended last: a run that goes on runs its code again."""
    events = [row.event for row in recorded if not row.event.node]
    ends = {event.cell: event for event in events if isinstance(event, CellEnded)}
    return [
        RunCell(event.turn, event.code, end.status if end else None, end.error if end else None)
        for event in events
        if isinstance(event, CellStarted)
        for end in [ends.get(event.cell)]
    ]


def _part(cell: RunCell, is_plain: Callable[[str], bool]) -> str:
    code = cell.code.strip("\n")
    if not _runs(cell):
        how = "never ended" if cell.status is None else f"ended badly ({_why(cell)})"
        lines = [f"# {line}".rstrip() for line in code.splitlines()]
        return "\n".join([*_comment(f"turn {cell.turn}, which {how}:"), *lines])
    if cell.status == "ok" and is_plain(code):
        return f"# turn {cell.turn}\n{code}"
    how = "as the REPL read it" if cell.status == "ok" else f"which failed ({_why(cell)})"
    return "\n".join([*_comment(f"turn {cell.turn}, {how}:"), f"_rerun.run({_quoted(code)})"])


def _runs(cell: RunCell) -> bool:
    """Whether a cell came to an end of its own."""
    return cell.status in {"ok", "error"}


def _why(cell: RunCell) -> str:
    last = (cell.error or "").strip().rpartition("\n")[2]
    return last or cell.status or ""


def _quoted(code: str) -> str:
    """A literal of the code, over as many lines where that can be."""
    text = f"\n{code}\n"
    literal = '"""' + text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') + '"""'
    try:
        is_same = ast.literal_eval(literal) == text
    except (SyntaxError, ValueError):
        is_same = False
    return literal if is_same else repr(text)


def _free_names(codes: Iterable[str]) -> list[str]:
    """Names that the code reads and nothing in it makes, but for Python's own."""
    made, read = set(dir(builtins)), set()
    for node in chain.from_iterable(map(ast.walk, filter(None, map(_tree, codes)))):
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
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, COLUMNS)]
