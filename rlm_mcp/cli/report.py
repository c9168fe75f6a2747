"""What a person reads of a run's end, and the same as JSON."""

import dataclasses
import json
from collections.abc import Sequence

from rlm_mcp.types import Answer, Citation, ContextInfo, Usage
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
    """How many places the answer names, and whether they exist."""
    missing = [f"{each.path}:{each.start}" for each in citations if not each.found]
    if not citations:
        return "none"
    if not missing:
        return f"{len(citations):,}, all found in the text"
    return f"{len(citations):,}, not in the text: {', '.join(missing)}"


def closing(answer: Answer) -> list[str]:
    """The lines that stand below an answer."""
    lines = [labelled("note", note) for note in answer.notes]
    if answer.stopped_by != "answer":
        lines.append(labelled("stopped", STOPPED[answer.stopped_by]))
    lines += [
        labelled("citations", places(answer.citations)),
        labelled("cost", f"{bill(answer.usage)} · {answer.seconds:.1f} s"),
        labelled("run", f"{answer.run_id} · rlm-mcp traces show {answer.run_id}"),
    ]
    return lines


STOPPED = {
    "turns": "all turns are used; the best answer so far (--turns)",
    "calls": "all model calls are used; the best answer so far (--calls)",
    "tokens": "all tokens are used; the best answer so far (--tokens)",
    "cost": "the cost limit is reached; the best answer so far (--cost)",
    "time": "the time is up; the best answer so far (--seconds)",
    "errors": "too many failing turns in a row; the best answer so far",
    "cancelled": "interrupted; the best answer so far",
    "endpoint": "the model endpoint failed; the best answer so far",
}


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
