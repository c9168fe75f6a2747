"""A run's trace for reading: its events folded into steps, in pages of bounded size."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import anyio.to_thread

from rlm_mcp.conduct import Citation
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.events import (
    CallEnded,
    CallRetried,
    CallStarted,
    CellEnded,
    CellStarted,
    Event,
    Note,
    ReplReady,
    RunEnded,
    RunFailed,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.runs.feed import event_page
from rlm_mcp.runs.journal import Journal, Recorded
from rlm_mcp.runs.pages import Step, Trace, page_of, pages_of
from rlm_mcp.runs.raw import raw_trace, whole_raw_trace
from rlm_mcp.types import Detail, Usage
from rlm_mcp.words import clip, count

# What a step shows of one event; a page holds them, whatever their length.
PIECE_CHARS = {"turns": 1_500, "calls": 3_000, "full": sys.maxsize, "events": 8_000}
ANSWER_CHARS = 8_000


async def trace(
    journal: Journal,
    run_id: str,
    page: int = 1,
    detail: Detail = "turns",
    call: str | None = None,
) -> Trace:
    """Page `page` of a run.

    `turns` folds sub-calls into sums, `calls` shows each, `full` cuts only the answer, `answer` has
    nothing but the answer and its citations, `messages` what calls sent and received, raw: all of
    them, or one `call`. A step longer than a page goes on on the next. With `events` a page is
    named by its first event and holds what programs draw.

    Raises:
        UnknownRun: the journal has none of that id.
        ArgumentInvalid: there is no such page or call.
    """
    if detail == "messages":
        return await raw_trace(journal, run_id, page, call)
    if call is not None:
        raise ArgumentInvalid(
            f"detail={detail!r} shows no single call.", "`call` goes with detail='messages'."
        )
    if detail == "events":
        return await event_page(journal, run_id, page)
    run = await journal.run(run_id)
    steps = await _all_steps(journal, run_id, detail)
    pages = await anyio.to_thread.run_sync(pages_of, steps)
    shown, following = page_of(pages, page, f"Run {run_id}", detail)
    return Trace(run, page, len(pages), tuple(shown), following)


async def whole_trace(
    journal: Journal, run_id: str, detail: Detail = "turns", call: str | None = None
) -> Trace:
    """All pages of a run as one; `events` are shown as `full`.

    Raises:
        UnknownRun: the journal has none of that id.
        ArgumentInvalid: there is no such call.
    """
    if detail == "messages":
        return await whole_raw_trace(journal, run_id, call)
    run = await journal.run(run_id)
    return Trace(run, 1, 1, tuple(await _all_steps(journal, run_id, detail)))


async def _all_steps(journal: Journal, run_id: str, detail: Detail) -> list[Step]:
    if detail == "answer":
        return _answer_steps(await journal.ending(run_id))
    return await journal.folded(run_id, lambda recorded: _steps(recorded, detail))


@dataclass(slots=True)
class Sum:
    """The sub-calls of one node between two of its other steps; stands where the first ended."""

    first: Recorded
    turn: int
    calls: int = 0
    failed: int = 0
    usage: Usage = field(default_factory=Usage)

    def add(self, call: CallEnded) -> None:
        """Count one in."""
        self.calls += 1
        self.failed += call.outcome != "ok"
        self.usage += call.usage or Usage()

    def step(self) -> Step:
        """All of them as one step."""
        words = f"{count(self.calls, 'sub-call')}, {self.usage.input_tokens:,} tokens in,"
        words += f" {self.usage.output_tokens:,} out"
        words += f", {self.failed} failed" if self.failed else ""
        return Step(
            self.first.seq, self.first.at, self.first.event.node, self.turn, "sub-calls", words
        )


def _steps(recorded: Iterable[Recorded], detail: Detail) -> list[Step]:
    steps: list[Step | Sum] = []
    open_sums: dict[str, Sum] = {}
    turns: dict[str, int] = {}
    for row in recorded:
        event, node = row.event, row.event.node
        if isinstance(event, TurnStarted):
            turns[node] = event.turn
        elif isinstance(event, CallEnded) and event.role == "sub" and detail == "turns":
            if node not in open_sums:
                steps.append(open_sums.setdefault(node, Sum(row, turns.get(node, 0))))
            open_sums[node].add(event)
        elif (told := _told(event, most := _most(event, detail))) is not None:
            open_sums.pop(node, None)
            cut = len(told[1]) > most and told != _told(event, sys.maxsize)
            steps.append(Step(row.seq, row.at, node, turns.get(node, 0), *told, cut))
    return [step.step() if isinstance(step, Sum) else step for step in steps]


def _most(event: Event, detail: Detail) -> int:
    """Characters to show of what an event says; the answer of all has a detail of its own."""
    most = PIECE_CHARS[detail]
    return min(most, ANSWER_CHARS) if isinstance(event, RunEnded) and not event.node else most


def _told(event: object, most: int) -> tuple[str, str] | None:
    """What kind of step an event is, and its words; None for events that only frame others."""
    match event:
        case RunStarted():
            names = ", ".join(name for _, name in event.contexts) or "no context"
            kind = "question" if not event.node else "nested question"
            return kind, f"{clip(event.query, most)}\n(over {names}; {event.model})"
        case ReplReady(sandboxed=False):
            return "sandbox", f"none: the REPL ran with your rights ({event.box})"
        case CallEnded():
            kind = "model" if event.role == "root" else "sub-call"
            words = event.error if event.outcome != "ok" else event.reply
            return kind, f"{clip(words or event.outcome, most)}\n{_bill(event)}"
        case CallRetried():
            return "retry", f"{event.reason}; again in {event.wait_s:.1f} s"
        case CellStarted():
            return "code", clip(event.code, most)
        case CellEnded():
            shown = [event.output, event.error or ""]
            words = "\n".join(part for part in shown if part) or "(nothing printed)"
            size = f"{event.status}, {event.seconds:.2f} s, {event.output_chars:,} characters"
            return "output", f"{clip(words, most)}\n({size})"
        case Note():
            return "note", event.text
        case RunEnded():
            return "answer", f"{clip(event.answer, most)}\n(stopped by {event.stopped_by})"
        case RunFailed():
            return "failed", f"{event.message}\n{event.hint}"
        case CallStarted() | TurnStarted() | _:
            return None


def _answer_steps(ending: Recorded | None) -> list[Step]:
    if ending is None or not isinstance(ending.event, RunEnded):
        return []
    event = ending.event
    answer = Step(ending.seq, ending.at, "", event.turns, "answer", event.answer)
    if not event.citations:
        return [answer]
    places = "\n".join(map(_place, event.citations))
    return [answer, replace(answer, kind="citations", text=places)]


def _place(citation: Citation) -> str:
    lines = f":{citation.start}-{citation.end}" if citation.start else ""
    told = citation.check or ("found" if citation.found else "no such lines")
    return f"{citation.path}{lines} ({told})" + (f": {citation.reason}" if citation.reason else "")


def _bill(event: CallEnded) -> str:
    usage = event.usage
    if usage is None:
        return f"({event.call}: {event.model}, {event.outcome}, usage unknown)"
    guess = ", estimated" if usage.estimated_calls else ""
    return (
        f"({event.call}: {event.model}, {usage.input_tokens:,} tokens in,"
        f" {usage.output_tokens:,} out{guess}, {usage.seconds:.1f} s)"
    )
