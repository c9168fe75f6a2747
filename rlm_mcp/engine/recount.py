"""Runs a finished program again from the start, to see whether its figures come out again.

What its calls were answered is remembered, so it costs computing time alone. Figures that rest on
the clock or on secrets, or on what an earlier cell left behind and a later one overwrote, come out
otherwise; those of `random` do not, which begins alike for each question.
"""

import re
from collections.abc import Sequence

import anyio

from rlm_mcp.conduct import Recount
from rlm_mcp.engine.cells import Repl
from rlm_mcp.engine.memo import key_of
from rlm_mcp.engine.ports import Ports, Question
from rlm_mcp.engine.program import Program
from rlm_mcp.engine.subcalls import named
from rlm_mcp.errors import ReplError, StaleEpoch
from rlm_mcp.types import CallAsked, Cell, CellResult, ReplSpec, Reply, SubReply

MOST_CELLS = 40
MOST_SECONDS = 5.0
CLOSE_S = 5.0
# Not those of places: what is cited is looked up in the text.
_FIGURE = re.compile(r"(?<![\w.:/-])\d[\d,]*(?:\.\d+)?(?![\w/])(?!:\d)")


def figures(text: str) -> list[str]:
    """The numbers a text states, in order, without thousands separators."""
    return [found.replace(",", "") for found in _FIGURE.findall(text)]


async def recount(
    program: Program, answer: str, question: Question, ports: Ports
) -> Recount | None:
    """Whether the figures of an answer are reproduced; None if it has none or they cannot be.

    The program must be short, have computed for 5 s at most and lost nothing. Takes its cells'
    time once more.
    """
    cells = program.cells
    stated = figures(answer)
    before = _computed(stated, [result for _, result in cells])
    if not before or len(cells) > MOST_CELLS:
        return None
    if any(result.lost for _, result in cells) or _seconds(cells) > MOST_SECONDS:
        return None
    again = await _run(program, question, ports)
    if again is None:
        return None
    return "reproduced" if _computed(stated, again) == before else "differs"


def _seconds(cells: Sequence[tuple[str, CellResult]]) -> float:
    return sum(result.seconds for _, result in cells)


def _computed(stated: Sequence[str], results: Sequence[CellResult]) -> list[str]:
    """The stated figures that code gave: in its last final, else in what it printed."""
    finals = [result.final.text for result in results if result.final]
    given = figures(finals[-1]) if finals else []
    if not given:
        given = [figure for result in results for figure in figures(result.output)]
    known = set(given)
    return [figure for figure in stated if figure in known]


async def _run(program: Program, question: Question, ports: Ports) -> list[CellResult] | None:
    """What the cells do in a fresh REPL; None if they ask something they had not asked before."""
    unknown: list[str] = []

    async def remembered(asked: CallAsked) -> Reply:
        replies = []
        for request in asked.requests:
            model = named(request.model, ports.root, ports.sub)
            name = "" if model is None else model.name
            known = ports.calls.memo.known(key_of(name, request.text))
            if known is None or asked.kind == "rlm":
                unknown.append(request.text)
            replies.append(known or SubReply(None, "not asked again"))
        return Reply(asked.call_id, tuple(replies))

    handle = f"{question.handle}/{question.run_id}.again"
    repl = Repl(ports.backend, handle, question.epoch, remembered)
    try:
        await ports.backend.open(ReplSpec(handle, question.epoch, question.contexts, ports.limits))
        results = []
        for number, (code, _) in enumerate(program.cells, 1):
            cell = Cell(f"{question.run_id}.again.{number}", code, fresh_answer=number == 1)
            results.append(await repl.run(cell))
            if unknown or results[-1].lost:
                return None
    except (ReplError, StaleEpoch):
        return None
    else:
        return results
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
            await ports.backend.close(handle)
