"""What tools return, as structure. The first-level names are a contract; unknown is null."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from rlm_mcp.conduct import Check, Citation, Conduct, Plan, Recount, Way
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.server import leftovers
from rlm_mcp.server.addresses import context_uri
from rlm_mcp.types import Answer, Changes, ContextInfo
from rlm_mcp.words import clip_json, paged, weight, within

if TYPE_CHECKING:
    from rlm_mcp.runs.costs import Costs, Spent
    from rlm_mcp.runs.standing import RunView

EXCERPT_CHARS = 80
MOST_SKIPS = 20
MOST_CHANGES = 10
MOST_COVERED = 5

Status = Literal["done", "running", "failed", "planned"]


class Result(BaseModel):
    """A tool's structured result."""

    model_config = ConfigDict(frozen=True)


class SkippedFiles(Result):
    """How many files were not loaded, the first of them as [path, reason], and where all are."""

    count: int
    first: list[tuple[str, str]]
    all: str | None


class ChangedFiles(Result):
    """How many documents differ from what the source was before, and the first of their paths."""

    since: str
    added: int
    changed: int
    removed: int
    first: list[tuple[leftovers.How, str]]

    @classmethod
    def of(cls, changes: Changes) -> "ChangedFiles":
        """Of what the load found."""
        first = leftovers.changed(changes)[:MOST_CHANGES]
        return cls(
            since=changes.since,
            added=len(changes.added),
            changed=len(changes.changed),
            removed=len(changes.removed),
            first=within(first, leftovers.CHANGE_BYTES),
        )


class LoadedContext(Result):
    """A context as its users see it."""

    id: str
    uri: str
    name: str
    documents: int
    bytes: int
    chars: int
    lines: int
    tokens_estimate: int
    skipped: SkippedFiles
    changes: ChangedFiles | None

    @classmethod
    def of(cls, info: ContextInfo, *, brief: bool = False) -> "LoadedContext":
        """Of what the store knows; a `brief` one counts what was skipped and lists none of it."""
        count, uri = len(info.skipped), context_uri(info.id)
        skips = [(skip.path, skip.reason) for skip in info.skipped[:MOST_SKIPS]]
        first = [] if brief else within(skips, leftovers.SKIP_BYTES)
        return cls(
            id=info.id,
            uri=uri,
            name=leftovers.named(info.name),
            documents=info.documents,
            bytes=info.bytes,
            chars=info.chars,
            lines=info.lines,
            tokens_estimate=info.tokens_estimate,
            skipped=SkippedFiles(count=count, first=first, all=uri if count > len(first) else None),
            changes=ChangedFiles.of(info.changes) if info.changes and not brief else None,
        )


class ContextLoaded(Result):
    """Of load_context. `next` says how to ask, for hosts that show their model no text."""

    session: str
    context: LoadedContext
    next: str

    @classmethod
    def of(cls, session: str, context: LoadedContext) -> "ContextLoaded":
        """Of a context that has just come into a session."""
        ask = f'Ask with rlm_query(query=..., session="{session}").'
        return cls(session=session, context=context, next=ask)


class ContextsListed(Result):
    """Of list_contexts. `session` is null while nothing was loaded; `next` says what to call."""

    session: str | None
    contexts: list[LoadedContext]
    next: str | None = None

    @classmethod
    def of(cls, session: str, infos: Sequence[ContextInfo], page: int) -> "ContextsListed":
        """Of a page of what a session has loaded.

        Raises:
            ArgumentInvalid: there is no such page.
        """
        rows = [LoadedContext.of(info, brief=True) for info in infos]
        pages = paged(rows, leftovers.LIST_BYTES, _weight)
        if page > len(pages):
            raise ArgumentInvalid(
                f"There is no page {page} of contexts.", f"Ask for a page from 1 to {len(pages)}."
            )
        call = f'Call list_contexts(session="{session}", page={page + 1})'
        more = f"{call} for more: {len(rows)} are loaded." if page < len(pages) else None
        return cls(session=session, contexts=pages[page - 1], next=more)


class Place(Result):
    """A citation: a place the answer names, whether it exists, and whether its quote stands there.

    `check` is null for a place without a quote; `reason` says what is wrong or was corrected.
    """

    context: str
    path: str
    start: int
    end: int
    found: bool
    excerpt: str
    check: Check | None
    reason: str | None

    @classmethod
    def of(cls, citation: Citation) -> "Place":
        """Of what the engine found."""
        return cls(
            context=citation.context,
            path=citation.path,
            start=citation.start,
            end=citation.end,
            found=citation.found,
            excerpt=citation.excerpt.strip()[:EXCERPT_CHARS],
            check=citation.check,
            reason=citation.reason and leftovers.named(citation.reason),
        )


class RunUsage(Result):
    """What a run used, sub-calls and nested runs included."""

    turns: int
    seconds: float
    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None
    estimated_calls: int


class ReadPieces(Result):
    """How many pieces of a text sub-models were given, of how many it has."""

    name: str
    read: int
    pieces: int


class RunConduct(Result):
    """How a run went about it: see `rlm_mcp.conduct.Conduct`."""

    way: Way
    why: str
    prefix_reuse: float | None
    coverage: list[ReadPieces]
    recount: Recount | None

    @classmethod
    def of(cls, conduct: Conduct) -> "RunConduct":
        """Of what the engine noted."""
        reuse = conduct.prefix_reuse
        return cls(
            way=conduct.way,
            why=clip_json(conduct.why, leftovers.WHY_BYTES),
            prefix_reuse=None if reuse is None else round(reuse, 3),
            coverage=[
                ReadPieces(name=leftovers.named(each.name), read=each.read, pieces=each.pieces)
                for each in conduct.coverage[:MOST_COVERED]
            ],
            recount=conduct.recount,
        )


class RunPlan(Result):
    """How a query would be asked; `calls` and `tokens` are [least, most]."""

    way: Way
    why: str
    calls: tuple[int, int]
    tokens: tuple[int, int]


class RunResult(Result):
    """Of rlm_query, get_answer and cancel_query.

    `answer` is null while the run works, and else the best there is, also when a budget ended it;
    `stopped_by` tells. `next` says what to call for more, null if there is no more. An estimate has
    a `plan` and no `run_id`.
    """

    status: Status
    run_id: str | None
    session: str
    answer: str | None = None
    stopped_by: str | None = None
    citations: list[Place] = []
    usage: RunUsage | None = None
    cost: float | None = None
    next: str | None = None
    notes: list[str] = []
    conduct: RunConduct | None = None
    plan: RunPlan | None = None
    progress: str | None = None

    @classmethod
    def planned(cls, session: str, plan: Plan) -> "RunResult":
        """Of a query that was not run."""
        return cls(
            status="planned",
            run_id=None,
            session=session,
            plan=RunPlan(
                way=plan.way,
                why=clip_json(plan.why, leftovers.WHY_BYTES),
                calls=plan.calls,
                tokens=plan.tokens,
            ),
            next="Call rlm_query without `estimate` to ask.",
        )

    @classmethod
    def of(cls, view: "RunView") -> "RunResult":
        """Of a run as it stands."""
        if view.error is not None:
            return cls(
                status="failed",
                run_id=view.run_id,
                session=view.session,
                next=clip_json(leftovers.next_after_failure(view), leftovers.ERROR_BYTES),
                notes=[clip_json(view.error.message, leftovers.ERROR_BYTES)],
            )
        if view.answer is None:
            waiting = f'Call get_answer(run_id="{view.run_id}") to go on waiting; '
            return cls(
                status="running",
                run_id=view.run_id,
                session=view.session,
                next=waiting + "cancel_query stops it and keeps what it has.",
                progress=view.line and clip_json(view.line, leftovers.WHY_BYTES),
            )
        return cls._ended(view, view.answer)

    @classmethod
    def _ended(cls, view: "RunView", answer: Answer) -> "RunResult":
        usage = answer.usage
        places = [Place.of(each) for each in answer.citations[: leftovers.MOST_CITATIONS]]
        listed = within(places, leftovers.CITATION_BYTES, _weight)
        ended = cls(
            status="done",
            run_id=view.run_id,
            session=view.session,
            answer=answer.text,
            stopped_by=answer.stopped_by,
            citations=listed,
            usage=RunUsage(
                turns=answer.turns,
                seconds=round(answer.seconds, 1),
                calls=usage.calls,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cached_tokens=usage.cached_tokens,
                estimated_calls=usage.estimated_calls,
            ),
            cost=usage.cost,
            next=leftovers.next_after(answer, cut=False, is_open=view.is_open),
            notes=[*leftovers.noted(answer.notes), *leftovers.uncited(answer, len(listed))],
            conduct=RunConduct.of(answer.conduct),
        )
        if len(answer.text) <= leftovers.MOST_BYTES and _weight(ended) <= leftovers.MOST_BYTES:
            return ended
        bare = ended.model_copy(
            update={
                "answer": "",
                "next": leftovers.next_after(answer, cut=True, is_open=view.is_open),
            }
        )
        shown = clip_json(answer.text, leftovers.MOST_BYTES - _weight(bare))
        return bare.model_copy(update={"answer": shown})


class Bill(Result):
    """Calls and what they used. `calls` has those failed and cancelled, and no retried attempt.

    `seconds` is model time: those of calls side by side are added up.
    """

    calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int | None
    cost: float | None
    seconds: float
    estimated_calls: int
    failed: int
    cancelled: int
    retried: int

    @classmethod
    def of(cls, spent: "Spent") -> "Bill":
        """Of a sum over the journal."""
        usage = spent.usage
        return cls(
            calls=usage.calls,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            cost=usage.cost,
            seconds=round(usage.seconds, 3),
            estimated_calls=usage.estimated_calls,
            failed=spent.failed,
            cancelled=spent.cancelled,
            retried=spent.retried,
        )


class CostsSummed(Result):
    """Of get_costs."""

    scope: str
    id: str | None
    root: Bill
    sub: Bill
    total: Bill
    by_model: dict[str, Bill]
    by_depth: dict[str, Bill]

    @classmethod
    def of(cls, costs: "Costs") -> "CostsSummed":
        """Of the journal's sums."""
        return cls(
            scope=costs.scope,
            id=costs.id,
            root=Bill.of(costs.root),
            sub=Bill.of(costs.sub),
            total=Bill.of(costs.total),
            by_model={
                model: Bill.of(spent)
                for model, spent in leftovers.most_used(costs.by_model).items()
            },
            by_depth={str(depth): Bill.of(spent) for depth, spent in costs.by_depth.items()},
        )


def _weight(result: Result) -> int:
    return weight(result.model_dump(mode="json"))
