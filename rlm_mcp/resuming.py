"""Runs that were stopped from outside go on: found in the journal, worked on from what they had."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

import anyio
import anyio.to_thread

from rlm_mcp.engine.ledger import Ledger
from rlm_mcp.engine.past import lost_calls
from rlm_mcp.engine.ports import Question
from rlm_mcp.engine.route import Route
from rlm_mcp.engine.session import Session
from rlm_mcp.engine.shape import Shape
from rlm_mcp.errors import (
    ArgumentInvalid,
    EndpointError,
    JournalFailed,
    RlmError,
    RunElsewhere,
    TooManySessions,
    UnknownRun,
)
from rlm_mcp.events import CallEnded, Event, RunEnded, RunFailed, RunResumed, RunStarted
from rlm_mcp.llm.models import ModelPair
from rlm_mcp.runs.jobs import Job
from rlm_mcp.runs.journal import Recorded, RunRow
from rlm_mcp.runs.standing import may_go_on
from rlm_mcp.service import Service
from rlm_mcp.types import Answer, Budget, ContextInfo

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0


async def resume(
    service: Service,
    run_id: str,
    cost_left: float | None = None,
    models: ModelPair | None = None,
) -> Job | None:
    """Go on with an interrupted run, or one that lost its server, its endpoint or its journal.

    None if it has ended otherwise. One at work here, or ended here otherwise, is given as it is.
    Its code runs again from the start, in a REPL without variables of earlier questions, on the
    answers it had; only what was not answered is asked. It has what its budget then had left, and
    may cost `cost_left` from now on, at most: time counts while it was at work, but not the wait
    for the endpoint that stopped it, and not the time since. Its models are those it had, unless
    there are `models` to take their place.

    Raises:
        UnknownRun: the journal has none of that id.
        RunElsewhere: another process has it.
        ArgumentInvalid: nothing of it was recorded.
        UnknownContext: a text it was asked about is no longer there.
        EndpointError: no model answers.
        TooManySessions: its session cannot be opened again for now.
    """
    async with service.jobs.resuming:
        job = service.jobs.find(run_id)
        if job is not None and not job.may_go_on:
            return job
        row = await _row(service, run_id, job)
        ending = await service.journal.ending(run_id)
        if ending is not None and not may_go_on(ending.event):
            return None
        if await service.holds.is_elsewhere(row.session):
            raise RunElsewhere(
                f"Run {run_id} is in the hands of another server process ({row.pid}).",
                "Go on with it there, or stop that process first.",
            )
        return await _gone_on(service, row, cost_left, models)


async def resume_all(service: Service) -> None:
    """Go on with all runs that lost their server, however that ended.

    What only waits for something is tried again until it goes on: for the endpoint, for room for
    its session, for the process that has it. Of a run that cannot go on `resume` tells why when it
    is asked.
    """
    left: list[str] = []
    with suppress(JournalFailed):  # who asks for a run is told so
        left = [row.id for row in await service.journal.unfinished()]
    wait_s = FIRST_WAIT_S
    while left := [run_id for run_id in left if not await _is_settled(service, run_id)]:
        await anyio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


async def _is_settled(service: Service, run_id: str) -> bool:
    """Whether the run goes on, or never will."""
    try:
        await resume(service, run_id)
    except (EndpointError, RunElsewhere, TooManySessions):
        return False
    except RlmError:
        return True
    return True


async def _row(service: Service, run_id: str, job: Job | None) -> RunRow:
    try:
        return await service.journal.run(run_id)
    except UnknownRun:
        if job is None:
            raise
        raise ArgumentInvalid(
            f"Nothing of run {run_id} could be recorded.", "Ask again with rlm_query."
        ) from None


async def recorded_answer(service: Service, run_id: str) -> Answer:
    """The answer of a run that has ended.

    Raises:
        UnknownRun: the journal has none of that id.
        RlmError: it failed, or was interrupted.
    """
    view = await service.view(run_id)
    if view.error is not None:
        raise view.error
    assert view.answer is not None
    return view.answer


async def asked_about(service: Service, run_id: str) -> tuple[ContextInfo, ...]:
    """The texts that a run was asked about, under the names they had for it.

    Raises:
        UnknownRun: the journal has none of that id.
        UnknownContext: one is no longer there.
    """
    await service.journal.run(run_id)
    return await _texts(service, _start(await service.journal.events(run_id)))


def _start(recorded: Sequence[Recorded]) -> RunStarted:
    started = recorded[0].event
    assert isinstance(started, RunStarted)
    return started


async def _gone_on(
    service: Service, row: RunRow, cost_left: float | None, models: ModelPair | None
) -> Job:
    recorded = await service.journal.whole_events(row.id)
    started = _start(recorded)
    pair = models or await service.models.once_more(started.model, started.sub_model)
    session = await service.adopt(row.session)
    contexts = await _texts(service, started)
    for info in contexts:
        # Its session has them too, but for names that it gave to others.
        if info.name not in {other.name for other in session.contexts}:
            session.add(info, origin=info.id, explicit=True)
    before = await _taken_over(service, session, row.id, recorded)
    budget = _within(started.budget, before, cost_left)
    ledger = Ledger(budget, seconds_before=seconds_at_work(recorded))
    for event in before:
        if isinstance(event, CallEnded):
            ledger.restore(event)
    question = await anyio.to_thread.run_sync(_question, row.id, session, started, contexts)
    return service.launch(session, question, pair, ledger, before)


async def _texts(service: Service, started: RunStarted) -> tuple[ContextInfo, ...]:
    found = []
    for context, name in started.contexts:
        find = partial(service.store.get, context, name=name)
        found.append(await anyio.to_thread.run_sync(find))
    return tuple(found)


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


def _within(budget: Budget, before: Sequence[Event], cost_left: float | None) -> Budget:
    """The budget with no more than `cost_left` beyond what the calls before have cost."""
    if cost_left is None:
        return budget
    calls = (event.usage for event in before if isinstance(event, CallEnded))
    most = cost_left + sum(usage.cost or 0.0 for usage in calls if usage)
    return replace(budget, cost=most if budget.cost is None else min(budget.cost, most))


def _question(
    run_id: str, session: Session, started: RunStarted, contexts: tuple[ContextInfo, ...]
) -> Question:
    return Question(
        run_id=run_id,
        node="",
        depth=0,
        query=started.query,
        contexts=contexts,
        session=session.handle,
        handle=session.handle,
        epoch=session.epoch,
        shape=None if started.schema is None else Shape(json.loads(started.schema)),
        route=Route(started.way, started.why),
    )


def seconds_at_work(recorded: Sequence[Recorded]) -> float:
    """How long a run had been at work, by its own clock as far as that had been written down.

    What a crash kept it from writing down is taken from the times of its events; a clock that was
    set back meanwhile takes nothing away. Not counted: the wait for an endpoint at its end, and the
    time before it was resumed.
    """
    seconds, before = 0.0, datetime.fromisoformat(recorded[0].at)
    for each in recorded:
        at = datetime.fromisoformat(each.at)
        match each.event:
            case RunResumed(node=""):
                pass
            case RunFailed(node=""):  # it goes on only if it was answered nothing
                seconds = 0.0
            case RunEnded(node="") as end:
                seconds = max(0.0, end.seconds - end.waited_s)
            case _:
                seconds += max(0.0, (at - before).total_seconds())
        before = at
    return seconds
