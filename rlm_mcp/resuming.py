"""Runs that a crash has interrupted go on: found in the journal, worked on from what they had."""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial

import anyio.to_thread

from rlm_mcp.engine.ledger import Ledger
from rlm_mcp.engine.past import lost_calls
from rlm_mcp.engine.ports import Question
from rlm_mcp.engine.route import Route
from rlm_mcp.engine.session import Session
from rlm_mcp.engine.shape import Shape
from rlm_mcp.errors import ArgumentInvalid, RlmError
from rlm_mcp.events import CallEnded, Event, RunResumed, RunStarted
from rlm_mcp.runs.jobs import Job
from rlm_mcp.runs.journal import Recorded
from rlm_mcp.runs.owner import is_elsewhere
from rlm_mcp.service import Service


async def resume(service: Service, run_id: str) -> Job | None:
    """Go on with an interrupted run; None if it has ended. One at work here is given as it is.

    Its code runs again on the answers it had, and only what was in flight is asked anew. Variables
    of earlier questions of its session are gone.

    Raises:
        UnknownRun: the journal has none of that id.
        ArgumentInvalid: another process is at work on it.
        UnknownContext: a text it was asked about is no longer there.
        EndpointError: no model answers.
    """
    job = service.jobs.find(run_id)
    if job is not None:
        return job
    row = await service.journal.run(run_id)
    if await service.journal.ending(run_id) is not None:
        return None
    if is_elsewhere(row):
        raise ArgumentInvalid(
            f"Run {run_id} is at work in another server process ({row.pid}).",
            "Wait for it with get_answer, or stop that process first.",
        )
    recorded = await service.journal.events(run_id)
    started = recorded[0].event
    assert isinstance(started, RunStarted)
    pair = await service.models.resolve(started.model, started.sub_model)
    session = await service.adopt(row.session)
    await _load(service, session, started)
    before = await _taken_over(service, session, run_id, recorded)
    ledger = Ledger(started.budget, seconds_before=_seconds(recorded))
    for event in before:
        if isinstance(event, CallEnded):
            ledger.restore(event)
    question = _question(run_id, session, started)
    return service.launch(session, question, pair, ledger, before)


async def resume_all(service: Service) -> None:
    """Go on with all interrupted runs; of one that cannot, `resume` tells why when it is asked."""
    for row in await service.journal.unfinished():
        if not is_elsewhere(row) and service.jobs.find(row.id) is None:
            try:
                await resume(service, row.id)
            except RlmError:
                continue


async def _load(service: Service, session: Session, started: RunStarted) -> None:
    for context, name in started.contexts:
        find = partial(service.store.get, context, name=name)
        session.add(await anyio.to_thread.run_sync(find), origin=context, explicit=True)


async def _taken_over(
    service: Service, session: Session, run_id: str, recorded: Sequence[Recorded]
) -> list[Event]:
    """All that the run has told, with the ends of the calls that were lost."""
    before = [each.event for each in recorded]
    told: list[Event] = [RunResumed(""), *lost_calls(before)]
    sink = service.journal.sink(run_id, session.handle, session.epoch, after=len(before))
    for event in told:
        sink.emit(event)
    await sink.written()
    return before + told


def _question(run_id: str, session: Session, started: RunStarted) -> Question:
    names = [name for _, name in started.contexts]
    return Question(
        run_id=run_id,
        node="",
        depth=0,
        query=started.query,
        contexts=session.select(names) if names else (),
        session=session.handle,
        handle=session.handle,
        epoch=session.epoch,
        shape=None if started.schema is None else Shape(json.loads(started.schema)),
        route=Route(started.way, started.why),
    )


def _seconds(recorded: Sequence[Recorded]) -> float:
    """How long the run had been at work."""
    first, last = (datetime.fromisoformat(recorded[n].at) for n in (0, -1))
    return (last - first).total_seconds()
