"""How a run stands, as a caller sees it, and whether it may go on."""

from dataclasses import dataclass

from rlm_mcp.errors import EndpointBusy, EndpointUnreachable, RlmError, RunInterrupted
from rlm_mcp.events import Event, RunEnded, RunFailed
from rlm_mcp.runs.journal import RunPhase, RunRow
from rlm_mcp.types import RESUMABLE, Answer

# A run fails so only if the endpoint was gone before it had answered anything.
LOST = (EndpointUnreachable, EndpointBusy)
NAMES_OF_LOST = {kind.__name__ for kind in LOST}


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as a caller sees it: `answer` or `error` once it ended, `line` is what it does now.

    `may_go_on`: it failed through no fault of its own, and can be resumed. `is_open`: its session
    is, with the variables of its questions.
    """

    run_id: str
    session: str
    answer: Answer | None = None
    error: RlmError | None = None
    line: str | None = None
    may_go_on: bool = False
    is_open: bool = True

    @property
    def running(self) -> bool:
        """Whether it still works."""
        return self.answer is None and self.error is None

    @property
    def phase(self) -> RunPhase:
        """The same as the journal would have it; one that was interrupted has failed."""
        if self.running:
            return "running"
        return "done" if self.error is None else "failed"


def may_go_on(ended: Event | Answer | RlmError | None) -> bool:
    """Whether a run that ended so was stopped from outside."""
    match ended:
        case Answer() | RunEnded():
            return ended.stopped_by in RESUMABLE
        case RunFailed():
            return ended.error_type in NAMES_OF_LOST
        case _:
            return isinstance(ended, LOST)


def ended_view(row: RunRow, event: Event, *, is_open: bool) -> RunView:
    """Of a run whose last word is `event`."""
    if isinstance(event, RunFailed):
        error = RlmError(event.message, event.hint)
        return RunView(row.id, row.session, error=error, may_go_on=may_go_on(event))
    assert isinstance(event, RunEnded)
    answer = Answer(
        run_id=row.id,
        text=event.answer,
        stopped_by=event.stopped_by,
        citations=event.citations,
        root=event.root,
        sub=event.sub,
        turns=event.turns,
        seconds=event.seconds,
        notes=event.notes,
        conduct=event.conduct,
    )
    return RunView(row.id, row.session, answer=answer, is_open=is_open)


def interrupted_view(row: RunRow) -> RunView:
    """Of a run without an end that no process works on."""
    gone = RunInterrupted(
        f"Run {row.id} was interrupted: the server that ran it has ended.",
        "get_answer with resume=true goes on where it was; get_trace shows how far it came.",
    )
    return RunView(row.id, row.session, error=gone)
