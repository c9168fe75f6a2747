"""A run's trace for reading: its events folded into steps, in pages of bounded size."""

from collections.abc import Iterable
from dataclasses import dataclass, field

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
from rlm_mcp.runs.feed import event_page
from rlm_mcp.runs.journal import Journal, Recorded
from rlm_mcp.runs.pages import PAGE_CHARS, Step, Trace, page_of, paged
from rlm_mcp.runs.raw import raw_trace, whole_raw_trace
from rlm_mcp.types import Detail, Usage
from rlm_mcp.words import clip, count

PIECE_CHARS = {"turns": 1_500, "calls": 3_000, "full": 8_000, "answer": PAGE_CHARS, "events": 8_000}


async def trace(
    journal: Journal,
    run_id: str,
    page: int = 1,
    detail: Detail = "turns",
    call: str | None = None,
) -> Trace:
    """Page `page` of a run.

    `turns` folds sub-calls into sums, `calls` shows each, `full` cuts less, `answer` pages through
    the answer alone, `messages` through what calls sent and received, raw: of all, or of one
    `call`. With `events` a page is named by its first event and holds what programs draw.

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
    pages = paged(await _all_steps(journal, run_id, detail))
    steps, following = page_of(pages, page, f"Run {run_id}", detail)
    return Trace(run, page, len(pages), tuple(steps), following)


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
        elif (told := _told(event, PIECE_CHARS[detail])) is not None:
            open_sums.pop(node, None)
            steps.append(Step(row.seq, row.at, node, turns.get(node, 0), *told))
    return [step.step() if isinstance(step, Sum) else step for step in steps]


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
    seq, at, event = ending.seq, ending.at, ending.event
    return [
        Step(seq, at, "", event.turns, "answer", event.answer[start : start + PAGE_CHARS])
        for start in range(0, max(1, len(event.answer)), PAGE_CHARS)
    ]


def _bill(event: CallEnded) -> str:
    usage = event.usage
    if usage is None:
        return f"({event.call}: {event.model}, {event.outcome}, usage unknown)"
    guess = ", estimated" if usage.estimated_calls else ""
    return (
        f"({event.call}: {event.model}, {usage.input_tokens:,} tokens in,"
        f" {usage.output_tokens:,} out{guess}, {usage.seconds:.1f} s)"
    )
