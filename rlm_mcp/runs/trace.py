"""A run's trace for reading: its events folded into steps, in pages of bounded size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.events import (
    CallEnded,
    CallRetried,
    CallStarted,
    CellEnded,
    CellStarted,
    Note,
    ReplReady,
    RunEnded,
    RunFailed,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.runs.journal import Journal, Recorded, RunRow
from rlm_mcp.types import Usage
from rlm_mcp.words import clip, count

Detail = Literal["turns", "calls", "full", "answer"]

PAGE_CHARS = 9_000
PIECE_CHARS = {"turns": 1_500, "calls": 3_000, "full": 8_000, "answer": PAGE_CHARS}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `node` is "" for the run itself, "1" for its first nested run."""

    seq: int
    at: str
    node: str
    turn: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Trace:
    """One page of a run. Pages count from 1."""

    run: RunRow
    page: int
    pages: int
    steps: tuple[Step, ...]

    def text(self) -> str:
        """The page as a person or a model reads it."""
        head = f"run {self.run.id} · {self.run.phase} · page {self.page} of {self.pages}"
        return "\n\n".join([head, *(_titled(step) for step in self.steps)])


async def trace(journal: Journal, run_id: str, page: int = 1, detail: Detail = "turns") -> Trace:
    """Page `page` of a run.

    `turns` folds sub-calls into sums, `calls` shows each, `full` cuts less, `answer` pages through
    the answer alone.

    Raises:
        UnknownRun: the journal has none of that id.
        ArgumentInvalid: there is no such page.
    """
    run = await journal.run(run_id)
    recorded = await journal.events(run_id)
    steps = _answer_steps(recorded) if detail == "answer" else _steps(recorded, detail)
    pages = _paged(steps) or [[]]
    if not 1 <= page <= len(pages):
        raise ArgumentInvalid(
            f"Run {run_id} has {len(pages)} pages at detail={detail!r}; there is no page {page}.",
            f"Ask for a page from 1 to {len(pages)}.",
        )
    return Trace(run, page, len(pages), tuple(pages[page - 1]))


def _steps(recorded: Sequence[Recorded], detail: Detail) -> list[Step]:
    steps: list[Step] = []
    waiting: list[CallEnded] = []
    turns: dict[str, int] = {}
    for row in recorded:
        event = row.event
        if isinstance(event, CallEnded) and event.role == "sub" and detail == "turns":
            waiting.append(event)
            continue
        told = _told(event, PIECE_CHARS[detail])
        if isinstance(event, TurnStarted):
            turns[event.node] = event.turn
        if told is None:
            continue
        turn = turns.get(event.node, 0)
        if waiting:
            steps.append(Step(row.seq, row.at, event.node, turn, "sub-calls", _summed(waiting)))
            waiting = []
        steps.append(Step(row.seq, row.at, event.node, turn, *told))
    return steps


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


def _answer_steps(recorded: Sequence[Recorded]) -> list[Step]:
    return [
        Step(row.seq, row.at, "", row.event.turns, "answer", row.event.answer[at : at + PAGE_CHARS])
        for row in recorded
        if isinstance(row.event, RunEnded) and not row.event.node
        for at in range(0, max(1, len(row.event.answer)), PAGE_CHARS)
    ]


def _summed(calls: Iterable[CallEnded]) -> str:
    calls = list(calls)
    usage = sum((call.usage for call in calls if call.usage), Usage())
    failed = sum(call.outcome != "ok" for call in calls)
    words = f"{count(len(calls), 'sub-call')}, {usage.input_tokens:,} tokens in,"
    return f"{words} {usage.output_tokens:,} out" + (f", {failed} failed" if failed else "")


def _bill(event: CallEnded) -> str:
    usage = event.usage
    if usage is None:
        return f"({event.model}, {event.outcome}, usage unknown)"
    guess = ", estimated" if usage.estimated_calls else ""
    return (
        f"({event.model}, {usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{guess},"
        f" {usage.seconds:.1f} s)"
    )


def _titled(step: Step) -> str:
    place = f"turn {step.turn}" if not step.node else f"nested {step.node}, turn {step.turn}"
    return f"[{place} · {step.kind}]\n{step.text}"


def _paged(steps: Sequence[Step]) -> list[list[Step]]:
    pages: list[list[Step]] = []
    room = 0
    for step in steps:
        size = len(step.text) + 40
        if not pages or size > room:
            pages.append([])
            room = PAGE_CHARS
        pages[-1].append(step)
        room -= size
    return pages
