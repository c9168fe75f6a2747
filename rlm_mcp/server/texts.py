"""What tools return, as text: the answer first, then what is good to know, then what to call."""

from collections.abc import Iterable

from rlm_mcp.server.results import (
    Bill,
    ContextLoaded,
    ContextsListed,
    CostsSummed,
    LoadedContext,
    Place,
    RunResult,
)
from rlm_mcp.words import count

RECOUNTED = {
    "reproduced": "Run again from the start, the program gave the same figures.",
    "differs": "Run again from the start, the program gave other figures: check them.",
}


NOTHING_LOADED = "Nothing is loaded. Call load_context with a path or a text."


def loaded_text(loaded: ContextLoaded) -> str:
    """Of load_context."""
    context = loaded.context
    lines = [f"Loaded {_context_line(context)}."]
    lines += [*_changed_lines(context), *_skipped_lines(context)]
    return "\n".join([*lines, loaded.next])


def contexts_text(listed: ContextsListed) -> str:
    """Of list_contexts."""
    if not listed.contexts:
        return listed.next or NOTHING_LOADED
    lines = [f"{_context_line(each)}, {each.uri}" for each in listed.contexts]
    more = [listed.next] if listed.next else []
    return "\n".join([*lines, f"session {listed.session}", *more])


def run_text(result: RunResult) -> str:
    """Of a run that works or has ended."""
    if result.status == "running":
        return _joined([f"Still running: {result.progress}", _ids(result), result.next])
    answer = result.answer or ""
    if result.stopped_by != "answer":
        found = "this is the best so far" if answer else "there was no answer yet"
        answer = _joined([answer, f"(Stopped by {result.stopped_by}: {found}.)"])
    notes = "\n".join(f"Note: {note}" for note in result.notes)
    seen = _conduct_lines(result)
    return _joined([answer, _places(result), seen, notes, _usage_line(result), result.next])


def plan_text(result: RunResult) -> str:
    """Of an estimate."""
    plan = result.plan
    assert plan is not None
    way = "in one prompt" if plan.way == "direct" else "by a program that reads it"
    return "\n".join(
        [
            f"The text would be asked about {way}: {plan.why}.",
            f"{_between(plan.calls, 'call')}, {_between(plan.tokens, 'token')}.",
            f"session {result.session}",
            result.next or "",
        ]
    )


def failed_text(result: RunResult) -> str:
    """Of a run that has no answer."""
    return "\n".join([*result.notes, result.next or "", _ids(result)])


def costs_text(costs: CostsSummed) -> str:
    """Of get_costs."""
    of = f"{costs.scope} {costs.id}" if costs.id else costs.scope
    rows = [("root", costs.root), ("sub", costs.sub), *costs.by_model.items()]
    if len(costs.by_depth) > 1:
        rows += [(f"depth {depth}", bill) for depth, bill in costs.by_depth.items()]
    lines = [f"{of}: {_bill_line(costs.total)}"]
    return "\n".join(lines + [f"{name}: {_bill_line(bill)}" for name, bill in rows if bill.calls])


def _context_line(context: LoadedContext) -> str:
    size = f"{count(context.documents, 'document')}, {count(context.lines, 'line')}"
    return f"{context.name!r}: {size}, about {context.tokens_estimate:,} tokens, id {context.id}"


def _skipped_lines(context: LoadedContext) -> list[str]:
    skipped = context.skipped
    if not skipped.count:
        return []
    lines = [f"Skipped {count(skipped.count, 'file')}:"]
    lines += [f"- {path}: {reason}" for path, reason in skipped.first]
    return lines + ([f"All skipped files: {skipped.all}"] if skipped.all else [])


def _changed_lines(context: LoadedContext) -> list[str]:
    changes = context.changes
    if not changes:
        return []
    counts = f"{changes.changed} changed, {changes.added} added, {changes.removed} removed"
    total = changes.changed + changes.added + changes.removed
    lines = [f"- {path}: {how}" for how, path in changes.first]
    more = [f"- and {total - len(lines)} more: {context.uri}"] if total > len(lines) else []
    return [f"Since {changes.since}, {counts}:", *lines, *more]


def _places(result: RunResult) -> str:
    if not result.citations:
        return ""
    return "\n".join(["Citations:", *map(_place, result.citations)])


def _place(place: Place) -> str:
    lines = f":{place.start}-{place.end}" if place.start else ""
    told = place.reason or ("" if place.found else "no such lines")
    if place.check:
        told = f"{place.check}: {told}" if told else place.check
    return f"- {place.path}{lines}" + (f" ({told})" if told else "")


def _conduct_lines(result: RunResult) -> str:
    conduct = result.conduct
    if conduct is None:
        return ""
    lines = [
        f"Read by sub-models: {each.read:,} of {each.pieces:,} pieces of {each.name}."
        for each in conduct.coverage
    ]
    if conduct.way == "direct":
        lines.append(f"Asked in one prompt: {conduct.why}.")
    if conduct.recount:
        lines.append(RECOUNTED[conduct.recount])
    return "\n".join(lines)


def _between(bounds: tuple[int, int], noun: str) -> str:
    least, most = bounds
    return count(most, noun) if least == most else f"{least:,} to {count(most, noun)}"


def _usage_line(result: RunResult) -> str:
    used = result.usage
    assert used is not None
    parts = [
        count(used.turns, "turn"),
        count(used.calls, "call"),
        f"{used.input_tokens:,} tokens in, {used.output_tokens:,} out",
        _money(result.cost),
        f"{used.seconds:.1f} s",
    ]
    if used.estimated_calls:
        parts.append(f"tokens of {count(used.estimated_calls, 'call')} estimated")
    return f"{' · '.join(parts)}\n{_ids(result)}"


def _bill_line(bill: Bill) -> str:
    parts = [
        count(bill.calls, "call"),
        f"{bill.input_tokens:,} tokens in, {bill.output_tokens:,} out",
        _money(bill.cost),
        f"{bill.seconds:,.1f} s of model time",
    ]
    if bill.cached_tokens is not None:
        parts.append(f"{bill.cached_tokens:,} cached")
    for number, word in (
        (bill.estimated_calls, "estimated"),
        (bill.failed, "failed"),
        (bill.cancelled, "cancelled"),
        (bill.retried, "retried"),
    ):
        if number:
            parts.append(f"{number:,} {word}")
    return " · ".join(parts)


def _money(cost: float | None) -> str:
    return "cost unknown: no price is set" if cost is None else f"cost {cost:.4f}"


def _ids(result: RunResult) -> str:
    return f"run {result.run_id} · session {result.session}"


def _joined(parts: Iterable[str | None]) -> str:
    return "\n\n".join(part for part in parts if part)
