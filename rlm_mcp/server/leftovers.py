"""What a result leaves out so that no host cuts it, and the call that gives the rest.

Codex takes the middle out of a result of more than 12,000 bytes of JSON, structure and all; Claude
Code writes one of more than 25,000 tokens to a file.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from rlm_mcp.server.addresses import answer_uri
from rlm_mcp.types import Answer, Changes
from rlm_mcp.words import clip_json, within

if TYPE_CHECKING:
    from rlm_mcp.runs.costs import Spent
    from rlm_mcp.runs.pages import Trace
    from rlm_mcp.runs.standing import RunView

How = Literal["added", "changed", "removed"]

MOST_BYTES = 11_500
MOST_CITATIONS = 12
CITATION_BYTES = 3_000
NOTE_BYTES = 1_000
SKIP_BYTES = 4_000
CHANGE_BYTES = 2_500
LIST_BYTES = 10_000
ERROR_BYTES = 3_000
NAME_BYTES = 200
WHY_BYTES = 400
MOST_MODELS = 12
ENDPOINT = "the endpoint answers"


def named(name: str) -> str:
    """A name that is short enough to be listed; what it names has an id too."""
    return clip_json(name, NAME_BYTES)


def noted(notes: tuple[str, ...]) -> list[str]:
    """The first notes, none of them long."""
    return within([clip_json(note, NOTE_BYTES // 3) for note in notes], NOTE_BYTES)


def uncited(answer: Answer, listed: int) -> list[str]:
    """A note on citations that are not listed."""
    count = len(answer.citations)
    if listed == count:
        return []
    call = f'get_trace(run_id="{answer.run_id}", detail="answer")'
    return [f"{listed} of {count} citations are listed; {call} ends with all of them."]


def next_after(answer: Answer, *, cut: bool, is_open: bool) -> str | None:
    """What to call after a run that has ended, None if nothing is left to get.

    `is_open`: its session is, so a question asked in it sees the variables.
    """
    told = []
    if cut:
        told.append(
            f"The answer has {len(answer.text):,} characters, shown are its head and tail. Page"
            f' through all of it with get_trace(run_id="{answer.run_id}", detail="answer", page=1),'
            f" page=2 and on, or read {answer_uri(answer.run_id)}."
        )
    match answer.stopped_by:
        case "answer":
            pass
        case "endpoint":
            told.append(_resumed(answer.run_id, ENDPOINT))
        case "journal":
            told.append(_resumed(answer.run_id, "the journal can be written"))
        case "server":
            told.append(_resumed(answer.run_id))
        case "cancelled" | "errors" as reason:
            told.append(f"Stopped by {reason}. {_asked_again('', is_open)}")
        case spent:
            field = "seconds" if spent == "time" else spent
            larger = f' and a larger budget={{"{field}": ...}}'
            told.append(f"The budget of {field} is spent. {_asked_again(larger, is_open)}")
    return " ".join(told) or None


def next_after_failure(view: "RunView") -> str:
    """What to call after a run that has no answer."""
    hint = view.error.hint if view.error else ""
    return f"{hint} {_resumed(view.run_id, ENDPOINT)}" if view.may_go_on else hint


def _resumed(run_id: str, once: str | None = None) -> str:
    when = f"Once {once} again, call" if once else "Call"
    return (
        f'{when} get_answer(run_id="{run_id}", resume=true): the run goes on where it was, and asks'
        " nothing twice that was answered."
    )


def _asked_again(larger: str, is_open: bool) -> str:
    if is_open:
        return f"Ask again with rlm_query{larger}: the variables are kept."
    return f"Its session has ended: load_context once more, then ask again with rlm_query{larger}."


def next_page(trace: "Trace", detail: str, shown: str | None) -> str | None:
    """What to call after a page of a trace, None if it is the last and shows all.

    `shown` is the one call that the trace shows, None if it is of all.
    """
    call = f'get_trace(run_id="{trace.run.id}"'
    told = []
    if trace.following is not None:
        only = "" if shown is None else f', call="{shown}"'
        told.append(
            f'Call {call}, page={trace.following}, detail="{detail}"{only}) for the next page.'
        )
    if any(step.cut for step in trace.steps):
        whole = "answer" if detail == "full" else "full"
        told.append(f'Steps are cut here: {call}, detail="{whole}") shows them whole.')
    return " ".join(told) or None


def changed(changes: Changes) -> list[tuple[How, str]]:
    """Every document that differs, as (how, path)."""
    found: list[tuple[How, str]] = [("changed", path) for path in changes.changed]
    found += [("added", path) for path in changes.added]
    found += [("removed", path) for path in changes.removed]
    return found


def most_used(spent: "dict[str, Spent]") -> "dict[str, Spent]":
    """Those with the most calls; all others as one, under a name that counts them."""
    if len(spent) <= MOST_MODELS:
        return {named(model): each for model, each in spent.items()}
    ranked = sorted(spent, key=lambda model: -spent[model].usage.calls)
    others = [spent[model] for model in ranked[MOST_MODELS:]]
    first = others[0]
    rest = replace(
        first,
        usage=sum((each.usage for each in others[1:]), first.usage),
        failed=sum(each.failed for each in others),
        cancelled=sum(each.cancelled for each in others),
        retried=sum(each.retried for each in others),
    )
    kept = {named(model): spent[model] for model in sorted(ranked[:MOST_MODELS])}
    return kept | {f"{len(others)} other models": rest}
