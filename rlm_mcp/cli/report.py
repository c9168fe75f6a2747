"""What a person reads of a run's end, and the same as JSON."""

import dataclasses
import json
from collections.abc import Sequence

from rlm_mcp.conduct import Citation, Conduct, Plan
from rlm_mcp.types import RESUMABLE, Answer, ContextInfo, Usage
from rlm_mcp.words import count

LABEL_CHARS = 11


def labelled(label: str, text: str) -> str:
    """A line with its label in front, both in columns."""
    return f"{label:<{LABEL_CHARS}}{text}"


def bill(usage: Usage) -> str:
    """Calls, tokens and cost in one line; what is a guess or unknown says so."""
    about = "about " if usage.estimated_calls else ""
    cost = "no price set" if usage.cost is None else f"${usage.cost:.{4 if usage.cost else 2}f}"
    tokens = f"{about}{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
    return f"{count(usage.calls, 'call')} · {tokens} · {cost}"


def places(citations: Sequence[Citation]) -> str:
    """How many places the answer names, whether they exist and whether their quotes stand there."""
    if not citations:
        return "none"
    missing = [f"{each.path}:{each.start}" for each in citations if not each.found and each.start]
    doubted = [
        f"{each.path}:{each.start}" if each.start else each.path
        for each in citations
        if each.check == "unverified" and (each.found or not each.start)
    ]
    quoted = [each for each in citations if each.check in {"verified", "near"}]
    near = sum(each.check == "near" for each in quoted)
    is_sound = not missing and not doubted
    parts = [f"{len(citations):,}" + (", all found in the text" if is_sound else "")]
    if quoted:
        alike = f", {near:,} of them nearly" if near else ""
        parts.append(f"{count(len(quoted), 'quote')} verified{alike}")
    if missing:
        parts.append(f"not in the text: {', '.join(missing)}")
    if doubted:
        parts.append(f"quote not found: {', '.join(doubted)}")
    return "; ".join(parts)


def closing(answer: Answer) -> list[str]:
    """The lines that stand below an answer."""
    lines = [labelled("note", note) for note in answer.notes]
    lines += [labelled(label, text) for label, text in conduct(answer.conduct)]
    if answer.stopped_by != "answer":
        lines.append(labelled("stopped", _stopped(answer)))
    lines += [
        labelled("citations", places(answer.citations)),
        labelled("cost", f"{bill(answer.usage)} · {answer.seconds:.1f} s"),
        labelled("run", f"{answer.run_id} · rlm-mcp traces show {answer.run_id}"),
    ]
    return lines


def conduct(of: Conduct) -> list[tuple[str, str]]:
    """How the run went about it, as labels and words."""
    lines = []
    if of.way == "direct":
        lines.append(("asked", f"in one prompt: {of.why}"))
    lines += [
        ("read", f"{each.read:,} of {each.pieces:,} pieces of {each.name}, by sub-models")
        for each in of.coverage
    ]
    if of.recount == "reproduced":
        lines.append(("checked", "run again from the start, the program gave the same figures"))
    if of.recount == "differs":
        lines.append(("checked", "run again from the start, the program gave other figures"))
    return lines


def _stopped(answer: Answer) -> str:
    words = STOPPED[answer.stopped_by]
    if answer.stopped_by in RESUMABLE:
        words += f"; rlm-mcp resume {answer.run_id}"
    return words if answer.text else words.replace(BEST, "no answer yet")


BEST = "the best answer so far"
STOPPED = {
    "turns": f"all turns are used; {BEST} (--turns)",
    "calls": f"all model calls are used; {BEST} (--calls)",
    "tokens": f"all tokens are used; {BEST} (--tokens)",
    "cost": f"the cost limit is reached; {BEST} (--cost)",
    "time": f"the time is up; {BEST} (--seconds)",
    "errors": f"too many failing turns in a row; {BEST}",
    "cancelled": f"interrupted; {BEST}",
    "endpoint": f"the model endpoint failed; {BEST}",
    "journal": f"the run could not be recorded any more; {BEST}",
    "server": f"the process that worked on it was ended; {BEST}",
}


def plan_text(plan: Plan) -> str:
    """How a question would be asked and what that takes."""
    (least, most), tokens = plan.calls, plan.tokens
    way = "in one prompt" if plan.way == "direct" else "by a program that reads the text"
    return "\n".join(
        [
            labelled("asked", f"{way}: {plan.why}"),
            labelled("calls", f"{least:,} to {most:,}"),
            labelled("tokens", f"{tokens[0]:,} to {tokens[1]:,}"),
        ]
    )


def as_json(answer: Answer, contexts: Sequence[ContextInfo]) -> str:
    """The whole result as one JSON object; unknown figures are null."""
    result = {
        "run_id": answer.run_id,
        "answer": answer.text,
        "stopped_by": answer.stopped_by,
        "citations": [dataclasses.asdict(citation) for citation in answer.citations],
        "usage": {
            "root": dataclasses.asdict(answer.root),
            "sub": dataclasses.asdict(answer.sub),
            "total": dataclasses.asdict(answer.usage),
        },
        "cost": answer.usage.cost,
        "turns": answer.turns,
        "seconds": round(answer.seconds, 3),
        "notes": list(answer.notes),
        "conduct": dataclasses.asdict(answer.conduct),
        "contexts": [
            {
                "id": info.id,
                "name": info.name,
                "documents": info.documents,
                "chars": info.chars,
                "lines": info.lines,
                "tokens_estimate": info.tokens_estimate,
                "skipped": [dataclasses.asdict(skip) for skip in info.skipped],
            }
            for info in contexts
        ],
    }
    return json.dumps(result, ensure_ascii=False, indent=2)
