"""`rlm-mcp traces replay`: a recorded run's code, run again without a model."""

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio
import click

from rlm_mcp.cli.screen import show
from rlm_mcp.settings import Settings
from rlm_mcp.words import clip, count

if TYPE_CHECKING:
    from rlm_mcp.engine.replay import Ran
    from rlm_mcp.replaying import Replay, ReplayedNode

SAME, DIFFERS = 0, 1
DIFF_LINES = 12
LINE_CHARS = 160
ANSWER_CHARS = 400


@click.command("replay")
@click.argument("run")
def replay_run(run: str) -> int:
    """Run RUN's code again on the answers recorded then, and compare. Asks no model.

    Exit code 0: every cell and the answer came out as they had. 1: something differs, or could not
    be tried.
    """
    again = anyio.run(_replay, run)
    for line in told(again):
        show(line)
    return SAME if again.agrees else DIFFERS


async def _replay(run: str) -> "Replay":
    from rlm_mcp.replaying import replay
    from rlm_mcp.service import open_service

    async with open_service(Settings.load()) as service:
        return await replay(service, run)


def told(again: "Replay") -> Iterator[str]:
    """What came out, line by line."""
    cells = [each for node in again.nodes for each in node.cells]
    for node in again.nodes:
        if node.node:
            yield f"nested run {node.node}: {_first_line(node.query)}"
        yield from _node(node)
    if again.had_before and any(_lacks_name(each) for each in cells):
        yield (
            "An earlier question of the same session had left variables that this run reads:"
            " it cannot be replayed alone."
        )
    if not cells and again.agrees:
        yield "It had no code: there is nothing to compare."
        return
    same = sum(each.agrees for each in cells)
    verdict = "It came out as recorded." if again.agrees else "It did not come out as recorded."
    yield f"{same} of {count(len(cells), 'cell')} agree. {verdict}"


def _node(node: "ReplayedNode") -> Iterator[str]:
    if node.obstacle is not None:
        yield f"  cannot be replayed: {node.obstacle}"
    for number, each in enumerate(node.cells, 1):
        yield f"  cell {number}, turn {each.start.turn}: {_verdict(each)}"
        if each.unknown:
            yield f"    asked {count(each.unknown, 'question')} that has no recorded answer"
        yield from _differences(each)
    if node.again is not None:
        is_same = node.again == node.answer
        yield f"  answer: {'the same' if is_same else 'differs'}"
        if not is_same:
            yield from _diff(clip(node.answer or "", ANSWER_CHARS), clip(node.again, ANSWER_CHARS))
    elif node.cells:
        yield "  answer: given in words and not by code, so nothing to compare"


def _verdict(each: "Ran") -> str:
    if each.before is None:
        return "not run again, it never ended"
    if each.after is None:
        return f"not run again, it was {each.before.status}"
    if each.agrees:
        return f"agrees ({each.after.status}, {count(each.after.output_chars, 'character')})"
    if each.before.status != each.after.status:
        return f"differs ({each.before.status} then, {each.after.status} now)"
    return f"differs ({each.after.status})"


def _differences(each: "Ran") -> Iterator[str]:
    if each.before is None or each.after is None:
        return
    for before, after in (
        (each.before.output, each.after.output),
        (each.before.error or "", each.after.error or ""),
    ):
        yield from _diff(before, after)


def _diff(before: str, after: str) -> Iterator[str]:
    """The lines that differ, the first of them."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    shown = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
    for line in shown[:DIFF_LINES]:
        yield f"    {line[0]} {_shortened(line[1:])}"
    if len(shown) > DIFF_LINES:
        yield f"    … and {count(len(shown) - DIFF_LINES, 'more line')}"


def _lacks_name(each: "Ran") -> bool:
    return each.after is not None and not each.agrees and "NameError" in (each.after.error or "")


def _first_line(text: str) -> str:
    return _shortened(text.strip().split("\n")[0])


def _shortened(line: str) -> str:
    return line if len(line) <= LINE_CHARS else f"{line[: LINE_CHARS - 1]}…"
