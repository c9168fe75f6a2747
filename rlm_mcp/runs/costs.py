"""What was spent: sums over the journal's calls, by role and by model."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from rlm_mcp.runs.journal import CallSum, Journal
from rlm_mcp.types import Usage

CostScope = Literal["session", "run", "day", "all"]


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls and what they used. `failed` and `cancelled` are contained in `usage.calls`."""

    usage: Usage
    failed: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Costs:
    """The bill of a run, a session, a UTC day or of everything in the journal."""

    scope: CostScope
    id: str | None
    root: Spent
    sub: Spent
    total: Spent
    by_model: dict[str, Spent]


async def costs(journal: Journal, scope: CostScope, key: str | None = None) -> Costs:
    """Sum up `scope`; `key` is the run id, session handle or day (None: today, or all)."""
    if scope == "day":
        key = key or datetime.now(UTC).date().isoformat()
    column = None if scope == "all" else scope
    rows = await journal.sums(column, key or "")
    return Costs(
        scope=scope,
        id=key if column else None,
        root=_sum([row for row in rows if row.role == "root"]),
        sub=_sum([row for row in rows if row.role == "sub"]),
        total=_sum(rows),
        by_model={
            model: _sum([row for row in rows if row.model == model])
            for model in sorted({row.model for row in rows})
        },
    )


def _sum(rows: list[CallSum]) -> Spent:
    usage = Usage()
    for row in rows:
        usage += Usage(
            calls=row.calls,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cached_tokens=row.cached_tokens,
            estimated_calls=row.estimated_calls,
            cost=row.cost,
            seconds=row.seconds,
        )
    return Spent(
        usage=usage,
        failed=sum(row.calls for row in rows if row.outcome == "failed"),
        cancelled=sum(row.calls for row in rows if row.outcome == "cancelled"),
    )
