"""Which slips a model made in a run, read from the run's events."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rlm_mcp.engine.fences import find_fences
from rlm_mcp.engine.replies import parse, strip_thinking
from rlm_mcp.events import CallEnded, CallRetried, CellEnded, Event, Note
from rlm_mcp.words import count

# What was asked for: a block of one of these.
ASKED_TAGS = frozenset({"repl", "python", "py"})
CUT = "The server cut"
SPENT = "thinking"
# Of the reasons for trying again, those that fewer requests at a time would spare.
BUSY = ("is busy (", "overflowed the context the server shares")

# Each with the noun that its number counts.
NO_CODE = "reply without code or an answer"
EMPTY = "empty reply"
THINKING = "reply of thinking alone"
OWN_FORM = "block in a form of its own"
BESIDE = "answer beside code that had not run"
SYNTAX = "block that is no Python"
FAILED = "block that failed"
TIME = "block that ran out of time"
SUB_FAILED = "sub-call that failed"
RETRIED = "call that was tried again"
CROWDED = "call that the endpoint had no room for"
TRUNCATED = "prompt that the server cut"
PLURALS = {
    NO_CODE: "replies without code or an answer",
    EMPTY: "empty replies",
    THINKING: "replies of thinking alone",
    OWN_FORM: "blocks in a form of their own",
    BESIDE: "answers beside code that had not run",
    SYNTAX: "blocks that are no Python",
    FAILED: "blocks that failed",
    TIME: "blocks that ran out of time",
    SUB_FAILED: "sub-calls that failed",
    RETRIED: "calls that were tried again",
    CROWDED: "calls that the endpoint had no room for",
    TRUNCATED: "prompts that the server cut",
}


def slips(events: Iterable[Event]) -> dict[str, int]:
    """How often each slip happened in the run itself, by the names of this module."""
    found: Counter[str] = Counter()
    for event in events:
        match event:
            case CallEnded(node="", role="root", outcome="ok"):
                found.update(_of_reply(event))
            case CallEnded(role="root", outcome="failed", error=str(why)) if SPENT in why:
                found[THINKING] += 1
            case CallEnded(role="sub", outcome="failed"):
                found[SUB_FAILED] += 1
            case CellEnded(node="", status="interrupted" | "died" | "memory"):
                found[TIME] += 1
            case CellEnded(node="", error=str(error)):
                found[
                    SYNTAX if "SyntaxError" in error or "IndentationError" in error else FAILED
                ] += 1
            case CallRetried(reason=why):
                found[CROWDED if any(sign in why for sign in BUSY) else RETRIED] += 1
            case Note(text=text) if text.startswith(CUT):
                found[TRUNCATED] += 1
    return dict(found)


def told(found: Mapping[str, int]) -> str:
    """The slips in a line, the most frequent first."""
    return ", ".join(
        count(number, slip) if number == 1 else f"{number:,} {PLURALS[slip]}"
        for slip, number in Counter(found).most_common()
    )


def _of_reply(ended: CallEnded) -> Sequence[str]:
    text = strip_thinking(ended.reply)
    if not text:
        return [THINKING if ended.reasoning_chars or ended.reply.strip() else EMPTY]
    reply = parse(text)
    if reply.code and reply.final is not None:
        return [BESIDE]
    if reply.code:
        is_asked = any(fence.tag in ASKED_TAGS for fence in find_fences(text))
        return [] if is_asked else [OWN_FORM]
    return [] if reply.final is not None else [NO_CODE]
