"""What was spent: sums over the journal's calls, by role, by model and by depth."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal

from rlm_mcp.errors import ArgumentInvalid, UnknownSession
from rlm_mcp.runs.bills import CallSum
from rlm_mcp.runs.journal import Journal
from rlm_mcp.types import CostScope, Usage

HANDLES = {"run": "run_id", "session": "session handle"}


@dataclass(frozen=True, slots=True)
class Spent:
    """Calls and what they used. `failed` and `cancelled` are contained in `usage.calls`.

    `retried` counts the attempts that failed before those calls had their end: they are no calls.
    """

    usage: Usage
    failed: int
    cancelled: int
    retried: int = 0


@dataclass(frozen=True, slots=True)
class Costs:
    """The bill of a run, a session, a UTC day or of everything.

    A day and everything include runs that are gone from the journal, a session does not.
    `by_depth`: 0 is the run itself, 1 the runs nested in it.
    """

    scope: CostScope
    id: str | None
    root: Spent
    sub: Spent
    total: Spent
    by_model: dict[str, Spent]
    by_depth: dict[int, Spent] = field(default_factory=dict)


async def costs(
    journal: Journal, scope: CostScope, key: str | None = None, owner: str | None = None
) -> Costs:
    """Sum up `scope`; `key` is the run id, the session handle, or the day (None: today, UTC).

    With an `owner`, only what belongs to that principal counts.

    Raises:
        ArgumentInvalid: a run or session is not named, or the day is none.
        UnknownRun: the journal has none of that id.
        UnknownSession: no session ever had that handle.
    """
    column = None if scope == "all" else scope
    key = await _checked(journal, column, key) if column else None
    rows = await journal.sums(column, key or "", owner)
    return Costs(
        scope=scope,
        id=key,
        root=_sum([row for row in rows if row.role == "root"]),
        sub=_sum([row for row in rows if row.role == "sub"]),
        total=_sum(rows),
        by_model={
            model: _sum([row for row in rows if row.model == model])
            for model in sorted({row.model for row in rows})
        },
        by_depth={
            depth: _sum([row for row in rows if row.depth == depth])
            for depth in sorted({row.depth for row in rows})
        },
    )


async def _checked(
    journal: Journal, scope: Literal["run", "session", "day"], key: str | None
) -> str:
    """The id to sum up by; what is not there must not look like what cost nothing."""
    if scope == "day":
        return _day(key)
    if key is None:
        raise ArgumentInvalid(f'Scope "{scope}" needs `id`.', f"Pass the {HANDLES[scope]} as `id`.")
    if scope == "run":
        await journal.run(key)
    elif not await journal.has_session(key):
        raise UnknownSession(
            f"There was never a session {key!r}.", "Take the handle from a result of load_context."
        )
    return key


def _day(key: str | None) -> str:
    if key is None:
        return datetime.now(UTC).date().isoformat()
    try:
        return date.fromisoformat(key).isoformat()
    except ValueError as error:
        raise ArgumentInvalid(
            f"{key!r} is no day.", "Pass `id` as YYYY-MM-DD (UTC), or none for today."
        ) from error


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
        retried=sum(row.retries for row in rows),
    )
