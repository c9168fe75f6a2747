"""How the journal bills calls: what it keeps of each, of those whose run is gone, and the sums."""

from dataclasses import dataclass
from typing import Literal

from rlm_mcp.events import CallEnded

SumScope = Literal["run", "session", "day"]

ADD_CALL = """
INSERT INTO calls (run, seq, day, role, model, outcome, requests, retries, depth,
    input, output, cached, estimated, cost, seconds)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
KEEP_SUMS = """
INSERT INTO expired
SELECT day, role, model, outcome, depth, sum(requests), sum(retries), coalesce(sum(input), 0),
    coalesce(sum(output), 0), sum(cached), sum(estimated), coalesce(sum(cost), 0.0),
    sum(input IS NOT NULL AND cost IS NULL), coalesce(sum(seconds), 0.0)
FROM calls WHERE run = ? GROUP BY day, role, model, outcome, depth
ON CONFLICT DO UPDATE SET
    requests = requests + excluded.requests, retries = retries + excluded.retries,
    input = input + excluded.input, output = output + excluded.output,
    cached = coalesce(cached + excluded.cached, cached, excluded.cached),
    estimated = estimated + excluded.estimated, cost = cost + excluded.cost,
    unpriced = unpriced + excluded.unpriced, seconds = seconds + excluded.seconds
"""
_KEPT = """
SELECT role, model, outcome, depth, requests, retries, input, output, cached, estimated, cost,
    input IS NOT NULL AND cost IS NULL AS unpriced, seconds FROM calls
"""
_EXPIRED = """
SELECT role, model, outcome, depth, requests, retries, input, output, cached, estimated, cost,
    unpriced, seconds FROM expired
"""
_SUMS = """
SELECT role, model, outcome, depth, sum(requests), sum(retries), coalesce(sum(input), 0),
    coalesce(sum(output), 0), sum(cached), sum(estimated),
    CASE WHEN sum(unpriced) = 0 THEN coalesce(sum(cost), 0.0) END, coalesce(sum(seconds), 0.0)
FROM ({billed}) GROUP BY role, model, outcome, depth ORDER BY role, model, outcome, depth
"""
_WHOSE = {
    "run": "WHERE run = :key",
    "session": "WHERE run IN (SELECT id FROM runs WHERE session = :key)",
    "day": "WHERE day = :key",
}
SUMS: dict[SumScope | None, str] = {
    "run": _SUMS.format(billed=_KEPT + _WHOSE["run"]),
    "session": _SUMS.format(billed=_KEPT + _WHOSE["session"]),
    "day": _SUMS.format(billed=_KEPT + _WHOSE["day"] + " UNION ALL" + _EXPIRED + _WHOSE["day"]),
    None: _SUMS.format(billed=_KEPT + " UNION ALL" + _EXPIRED),
}
_OWNED = (
    "run IN (SELECT runs.id FROM runs JOIN owners ON owners.id = session WHERE principal = :owner)"
)
_EXPIRED_OF = _EXPIRED.replace("expired", "expired_of WHERE principal = :owner")
OWNED: dict[SumScope | None, str] = {
    "run": _SUMS.format(billed=f"{_KEPT}{_WHOSE['run']} AND {_OWNED}"),
    "session": _SUMS.format(billed=f"{_KEPT}{_WHOSE['session']} AND {_OWNED}"),
    "day": _SUMS.format(
        billed=f"{_KEPT}{_WHOSE['day']} AND {_OWNED} UNION ALL {_EXPIRED_OF} AND day = :key"
    ),
    None: _SUMS.format(billed=f"{_KEPT} WHERE {_OWNED} UNION ALL {_EXPIRED_OF}"),
}


@dataclass(frozen=True, slots=True)
class CallSum:
    """Calls of one role, model, outcome and depth, summed. None means that no call told.

    `calls` counts requests that had an end, `retries` the attempts before it that failed. `cost` is
    None as soon as one of the calls has no price. `depth` is 0 for the run itself.
    """

    role: str
    model: str
    outcome: str
    depth: int
    calls: int
    retries: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None
    estimated_calls: int
    cost: float | None
    seconds: float


def depth_of(node: str) -> int:
    """How deep a node lies in the tree of nested runs: 0 is the run itself."""
    return node.count(".") + 1 if node else 0


def counts(call: CallEnded) -> tuple[int, int, int]:
    """Requests, retries and depth of a call: one that an endpoint answered twice is two."""
    requests = 1 if call.usage is None else call.usage.calls
    return requests, call.attempts - 1, depth_of(call.node)


def figures(run: str, seq: int, at: str, call: CallEnded) -> tuple[str | int | float | None, ...]:
    """The row of `calls` for a call that ended."""
    place = (run, seq, at[:10], call.role, call.model, call.outcome, *counts(call))
    used = call.usage
    if used is None:
        return (*place, None, None, None, 0, None, None)
    tokens = (used.input_tokens, used.output_tokens, used.cached_tokens, used.estimated_calls)
    return (*place, *tokens, used.cost, used.seconds)
