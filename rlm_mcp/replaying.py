"""Recorded runs are run again without a model: whether the code does again what it did."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import anyio.to_thread

from rlm_mcp.engine.drafts import BEST
from rlm_mcp.engine.past import CUT_SHORT
from rlm_mcp.engine.replay import Answers, Ran, answers_of, replay_node, shown_chars
from rlm_mcp.engine.shape import Shape
from rlm_mcp.errors import ContextError, ReplError
from rlm_mcp.events import (
    CallEnded,
    CellEnded,
    CellStarted,
    Event,
    RunEnded,
    RunResumed,
    RunStarted,
)
from rlm_mcp.service import Service
from rlm_mcp.types import ContextInfo


@dataclass(frozen=True, slots=True)
class ReplayedNode:
    """The run itself, whose `node` is "", or a nested one, run again.

    `answer` is the recorded one, `again` what the code gave now; None if it did not come from code.
    `obstacle` says why it could not be tried.
    """

    node: str
    query: str
    cells: tuple[Ran, ...] = ()
    answer: str | None = None
    again: str | None = None
    obstacle: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether all of it came out as it had."""
        is_same = self.again is None or self.again == self.answer
        return self.obstacle is None and is_same and all(each.agrees for each in self.cells)


@dataclass(frozen=True, slots=True)
class Replay:
    """A run, and the nested runs in it, run again. `had_before`: its session had earlier ones."""

    run_id: str
    nodes: tuple[ReplayedNode, ...]
    had_before: bool

    @property
    def agrees(self) -> bool:
        """Whether all of it came out as it had."""
        return all(each.agrees for each in self.nodes)


async def replay(service: Service, run_id: str) -> Replay:
    """Run all cells of a run again, each node in a fresh REPL, and asks no model.

    Takes the cells' time once more. What earlier questions of its session had left in its REPL is
    not there.

    Raises:
        UnknownRun: the journal has none of that id.
    """
    run = await service.journal.run(run_id)
    events = at_last([row.event for row in await service.journal.whole_events(run_id)])
    nodes = []
    for started in events:
        if isinstance(started, RunStarted):
            own = [event for event in events if event.node == started.node]
            # Anew for each: what one node asked twice, another may have asked too.
            answers = answers_of(events, started, service.settings.max_output_tokens)
            nodes.append(await _replayed(service, started, own, answers))
    return Replay(run_id, tuple(nodes), await service.journal.came_before(run))


def at_last(events: Sequence[Event]) -> list[Event]:
    """What a run did in the end: without what it gave up when it was stopped and then went on.

    That is the cell that looked for its best answer then, and the failures of calls whose cell was
    broken off: code that runs again asks those again.
    """
    kept: list[Event] = []
    failed: dict[str, list[CallEnded]] = {}
    given_up: list[CallEnded] = []
    for event in events:
        match event:
            case CellStarted():
                failed[event.node] = []
            case CallEnded(role="sub", outcome="failed") if event.node in failed:
                failed[event.node].append(event)
            case CellEnded() if event.status in CUT_SHORT:
                given_up += failed.pop(event.node, [])
            case CellEnded():
                failed.pop(event.node, None)
            case RunResumed(node=""):
                gone = {id(each) for each in chain(given_up, *failed.values())}
                kept = [each for each in kept if id(each) not in gone and not _is_for_best(each)]
                failed, given_up = {}, []
            case _:
                pass
        kept.append(event)
    return kept


def _is_for_best(event: Event) -> bool:
    return (
        isinstance(event, CellStarted | CellEnded)
        and not event.node
        and event.cell.rpartition(".")[2].startswith(BEST)
    )


async def _replayed(
    service: Service, started: RunStarted, own: Sequence[Event], answers: Answers
) -> ReplayedNode:
    ends = {event.cell: event for event in own if isinstance(event, CellEnded)}
    cells = [(e, ends.get(e.cell)) for e in own if isinstance(e, CellStarted)]
    told = ReplayedNode(started.node, started.query)
    if not cells:
        return told
    try:
        contexts = await _contexts(service, started)
    except ContextError as error:
        return replace(told, obstacle=f"a text it was asked about is gone: {error.message}")
    limits = service.settings.limits
    if (most := shown_chars(end for _, end in cells)) is not None:
        limits = replace(limits, output_chars=most)
    try:
        ran = await replay_node(cells, contexts, answers, service.backend, limits)
    except ReplError as error:
        return replace(told, obstacle=error.message)
    answers_given = [event.answer for event in own if isinstance(event, RunEnded)]
    answer = answers_given[-1] if answers_given else None
    return replace(told, cells=tuple(ran), answer=answer, again=_again(started, own, ran))


async def _contexts(service: Service, started: RunStarted) -> tuple[ContextInfo, ...]:
    found = [
        await anyio.to_thread.run_sync(partial(service.store.get, context, name=name))
        for context, name in started.contexts
    ]
    return tuple(found)


def _again(started: RunStarted, own: Sequence[Event], ran: Sequence[Ran]) -> str | None:
    """The answer that the last cell gave now; None if the recorded one was written in words.

    An answer from code ends a run at once: after one in words, the model was asked once more.
    """
    last = [
        event
        for event in own
        if isinstance(event, CellEnded) or (isinstance(event, CallEnded) and event.role == "root")
    ]
    after = ran[-1].after
    if not isinstance(last[-1], CellEnded) or after is None or after.final is None:
        return None
    if started.schema is None:
        return after.final.text
    return Shape(json.loads(started.schema)).read(after.final.text)[0]
