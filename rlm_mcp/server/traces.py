"""What get_trace returns, as structure: a page of what a run did."""

from typing import TYPE_CHECKING

from rlm_mcp.server import leftovers
from rlm_mcp.server.results import Result, Status

if TYPE_CHECKING:
    from rlm_mcp.runs.pages import Trace


class TraceStep(Result):
    """One thing that happened; `node` is "" for the run itself, "1" for its first nested run."""

    node: str
    turn: int
    kind: str
    text: str


class TracePage(Result):
    """Of get_trace."""

    run_id: str
    session: str
    status: Status
    page: int
    pages: int
    steps: list[TraceStep]
    next: str | None

    @classmethod
    def of(cls, trace: "Trace", detail: str, call: str | None) -> "TracePage":
        """Of a page that the journal gave."""
        return cls(
            run_id=trace.run.id,
            session=trace.run.session,
            status=trace.run.phase,
            page=trace.page,
            pages=trace.pages,
            steps=[
                TraceStep(node=step.node, turn=step.turn, kind=step.kind, text=step.text)
                for step in trace.steps
            ],
            next=leftovers.next_page(trace, detail, call),
        )
