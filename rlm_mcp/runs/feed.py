"""A run's events in pages, for programs that draw it while it goes on: long texts are cut."""

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.events import CallEnded, CallStarted, Event, RunEnded, to_json
from rlm_mcp.runs.journal import Journal, Recorded
from rlm_mcp.runs.pages import PAGE_BYTES, STEP_BYTES, Step, Trace
from rlm_mcp.words import clip, weight, within

LONG_FIELDS = ("prompt", "reply", "code", "output", "error", "text")
# Sub-calls are many, and what they said can be asked for one by one.
SUB_CHARS = 160
MOST_CHARS = 3_000
MOST_EVENTS = 200


async def event_page(journal: Journal, run_id: str, first: int) -> Trace:
    """The events from number `first` on that fit on a page; none if the last one was before it.

    Each step's text is an event's JSON with `at`, the milliseconds since the run's start.

    Raises:
        UnknownRun: the journal has none of that id.
        ArgumentInvalid: no event comes there next.
    """
    run = await journal.run(run_id)
    began, last = await journal.extent(run_id)
    if not 1 <= first <= last + 1:
        raise ArgumentInvalid(
            f"Run {run_id} has {last} events; there is no page that begins with number {first}.",
            f"Ask for a page from 1 to {last + 1}.",
        )

    def fold(recorded: Iterator[Recorded]) -> tuple[Step, ...]:
        steps: list[Step] = []
        room = PAGE_BYTES
        for row in recorded:
            text = _fitting(timed(dataclasses.replace(row, event=_cut(row.event)), began))
            event = row.event
            turn = getattr(event, "turn", 0)
            step = Step(row.seq, row.at, event.node, turn, type(event).__name__, text)
            room -= step.weight
            if steps and room < 0:
                break
            steps.append(step)
        return tuple(steps)

    steps = await journal.folded_from(run_id, first, MOST_EVENTS, fold)
    end = steps[-1].seq + 1 if steps else first
    return Trace(run, first, last, steps, end if end <= last else None)


def timed(row: Recorded, began: str) -> str:
    """An event as JSON with `at`, the milliseconds since the run began."""
    passed = datetime.fromisoformat(row.at) - datetime.fromisoformat(began)
    return f'{{"at":{passed.total_seconds() * 1000:.0f},{to_json(row.event)[1:]}'


def clipped(event: Event, most: int) -> Event:
    """The event with head and tail of each of its long texts, at most `most` characters."""
    long: dict[str, Any] = {
        name: clip(text, most)
        for name in LONG_FIELDS
        if isinstance(text := getattr(event, name, None), str) and len(text) > most
    }
    return dataclasses.replace(event, **long) if long else event


def _cut(event: Event) -> Event:
    if isinstance(event, RunEnded):
        return dataclasses.replace(event, answer=clip(event.answer, MOST_CHARS))
    is_sub = isinstance(event, CallStarted | CallEnded) and event.role == "sub"
    return clipped(event, SUB_CHARS if is_sub else MOST_CHARS)


def _fitting(record: str) -> str:
    """An event's JSON, with shorter texts and lists if it would not fit on a page by itself."""
    most, text = MOST_CHARS, record
    while weight(text) > PAGE_BYTES - 2 * STEP_BYTES:
        most //= 2
        short = _short(json.loads(record), most)
        text = json.dumps(short, ensure_ascii=False, separators=(",", ":"))
    return text


def _short(value: Any, most: int) -> Any:
    match value:
        case str():
            return clip(value, most)
        case list():
            return within([_short(each, most) for each in value], 2 * most)
        case dict():
            return {name: _short(each, most) for name, each in value.items()}
        case _:
            return value
