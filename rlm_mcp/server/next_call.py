"""What to call after a run has ended, in words for the model that asked."""

from rlm_mcp.server.addresses import answer_uri
from rlm_mcp.types import Answer


def after_run(answer: Answer, shown_chars: int) -> str | None:
    """For an answer of which so many characters are shown; None if there is no more to have."""
    if len(answer.text) > shown_chars:
        return (
            f"The answer has {len(answer.text):,} characters, shown are its head and tail. Page"
            f' through all of it with get_trace(run_id="{answer.run_id}", detail="answer", page=1),'
            f" page=2 and on, or read {answer_uri(answer.run_id)}."
        )
    match answer.stopped_by:
        case "answer":
            return None
        case "endpoint":
            return _resumed(answer.run_id, "the endpoint answers")
        case "journal":
            return _resumed(answer.run_id, "the journal can be written")
        case "cancelled" | "errors" as reason:
            return f"Stopped by {reason}. Ask again with rlm_query: the variables are kept."
        case spent:
            field = "seconds" if spent == "time" else spent
            return (
                f"The budget of {field} is spent. Ask again with rlm_query and a larger"
                f' budget={{"{field}": ...}}: the variables are kept.'
            )


def _resumed(run_id: str, once: str) -> str:
    return (
        f'Once {once} again, call get_answer(run_id="{run_id}", resume=true): the run goes on where'
        " it was, and asks nothing twice that was answered."
    )
