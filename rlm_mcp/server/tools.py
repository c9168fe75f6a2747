"""The seven tools: what each is for, takes and gives."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
from mcp import types

from rlm_mcp.errors import ArgumentInvalid, UnknownContext
from rlm_mcp.server import arguments, results, texts
from rlm_mcp.server.app import App
from rlm_mcp.server.progress import reporting
from rlm_mcp.server.sessions import LOCAL, Request
from rlm_mcp.server.traces import TracePage
from rlm_mcp.types import Budget
from rlm_mcp.words import count

if TYPE_CHECKING:
    from rlm_mcp.contexts.ingest import LoadProgress
    from rlm_mcp.runs.standing import RunView


@dataclass(frozen=True, slots=True)
class Told:
    """A tool's result: the structure, and all of it as text."""

    structure: results.Result
    text: str
    is_error: bool = False
    links: tuple[types.ResourceLink, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as clients see it, and the function behind it."""

    title: str
    description: str
    takes: type[arguments.Arguments]
    gives: type[results.Result]
    call: Callable[[App, Request, Any], Awaitable[Told]]
    hints: types.ToolAnnotations = field(
        default_factory=lambda: types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
    )


async def load_context(app: App, request: Request, asked: arguments.LoadContext) -> Told:
    """Load, and tell clients that list contexts that there is one more."""
    sources = [asked.source] if isinstance(asked.source, str) else asked.source or []
    caller = await app.caller(request)
    state = _Loading()
    async with (
        reporting(request.session, state.line),
        caller.to_load(asked.session) as session,
    ):
        info = await caller.load(
            session, sources, text=asked.text, name=asked.name, progress=state.take
        )
    if caller.key == LOCAL:
        await app.announce_contexts(request)
    context = results.LoadedContext.of(info)
    link = types.ResourceLink(
        type="resource_link",
        name=context.name,
        description="Its documents and the files skipped, as JSON.",
        uri=context.uri,
        mime_type="application/json",
    )
    structure = results.ContextLoaded.of(session.handle, context)
    return Told(structure, texts.loaded_text(structure), links=(link,))


async def rlm_query(app: App, request: Request, asked: arguments.RlmQuery) -> Told:
    """Start a run and wait for it; who stops waiting before `wait_s` stops the run.

    A client that is gone altogether leaves it to the end of the server, after which it can go on.
    """
    wait_s = app.settings.wait_s if asked.wait_s is None else asked.wait_s
    deadline = anyio.current_time() + wait_s
    caller = await app.caller(request)
    service, session = caller.service, await caller.session(asked.session)
    if not session.contexts:
        raise UnknownContext(
            f"Nothing is loaded in session {session.handle}.", "Call load_context first."
        )
    from rlm_mcp.service import Query  # noqa: PLC0415 - app.service() is what imports it, see there

    query = Query(
        asked.query,
        asked.contexts,
        _budget(app.settings.budget, asked.budget),
        asked.model,
        asked.sub_model,
        strategy=asked.strategy,
        schema=asked.answer_schema,
    )
    if asked.estimate:
        plan = results.RunResult.planned(session.handle, await service.plan(session, query))
        return Told(plan, texts.plan_text(plan))
    async with reporting(request.session, lambda: "looking for the model") as progress:
        job = await caller.start(session, query)
        progress.line = job.status.line
        try:
            await job.wait(deadline - anyio.current_time())
        except anyio.get_cancelled_exc_class():
            if not app.client_left:
                job.cancel()
            raise
    return _told(await service.view(job.run_id))


async def get_answer(app: App, request: Request, asked: arguments.GetAnswer) -> Told:
    """Wait for a run that was started before, or go on with it; who leaves leaves it alone."""
    caller = await app.caller(request)
    job = await caller.run(asked.run_id)
    if asked.resume and (job is None or job.may_go_on):
        job = await caller.resume(asked.run_id)
    if job is not None:
        async with reporting(request.session, job.status.line):
            await job.wait(app.settings.wait_s if asked.wait_s is None else asked.wait_s)
    return _told(await caller.service.view(asked.run_id))


async def cancel_query(app: App, request: Request, asked: arguments.CancelQuery) -> Told:
    """Stop a run and give what it has."""
    caller = await app.caller(request)
    await caller.run(asked.run_id)
    async with reporting(request.session, lambda: "stopping the run"):
        return _told(await caller.service.cancel(asked.run_id))


async def list_contexts(app: App, request: Request, asked: arguments.ListContexts) -> Told:
    """List a session's contexts; a local client that loaded none is told how to."""
    caller = await app.caller(request)
    key = caller.key
    if asked.session is None and key is not None and app.sessions.implied(key) is None:
        listed = results.ContextsListed(session=None, contexts=[], next=texts.NOTHING_LOADED)
    else:
        session = await caller.session(asked.session)
        listed = results.ContextsListed.of(session.handle, session.contexts, asked.page)
    return Told(listed, texts.contexts_text(listed))


async def get_costs(app: App, request: Request, asked: arguments.GetCosts) -> Told:
    """Sum up what was used."""
    caller = await app.caller(request)
    summed = results.CostsSummed.of(await caller.costs(asked.scope, asked.id))
    return Told(summed, texts.costs_text(summed))


async def get_trace(app: App, request: Request, asked: arguments.GetTrace) -> Told:
    """Page through a run."""
    caller = await app.caller(request)
    await caller.run(asked.run_id)
    trace = await caller.service.trace(asked.run_id, asked.page, asked.detail, asked.call)
    page = TracePage.of(trace, asked.detail, asked.call)
    return Told(page, "\n\n".join(part for part in (trace.text(), page.next) if part))


class _Loading:
    """How far a load is, in words. `take` is called from the loading thread."""

    def __init__(self) -> None:
        self._newest: LoadProgress | None = None

    def take(self, progress: "LoadProgress") -> None:
        self._newest = progress

    def line(self) -> str:
        newest = self._newest
        if newest is None:
            return "looking at what there is to load"
        files = f"{newest.files_read:,} of {count(newest.files_total, 'file')}"
        return f"loading {files} · {newest.bytes_read / 1e6:,.0f} MB"


def _told(view: "RunView") -> Told:
    result = results.RunResult.of(view)
    if result.status == "failed":
        return Told(result, texts.failed_text(result), is_error=True)
    return Told(result, texts.run_text(result))


def _budget(settings: Budget, limits: arguments.Limits | None) -> Budget:
    named = {} if limits is None else limits.model_dump(exclude_none=True)
    return replace(settings, **named)


_CHANGES = types.ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
# Called again it changes nothing more: a run is gone on with, or stopped, once.
_CHANGES_ONCE = _CHANGES.model_copy(update={"idempotent_hint": True})

TOOLS = {
    "load_context": Tool(
        title="Load context",
        description="Load files, folders, globs or text of any size, to be asked with rlm_query."
        " Returns a session handle: pass it on.",
        takes=arguments.LoadContext,
        gives=results.ContextLoaded,
        call=load_context,
        hints=_CHANGES,
    ),
    "rlm_query": Tool(
        title="Ask",
        description="Answer a question about loaded contexts: a model reads them with code and"
        " sub-calls, and cites path:line. Takes seconds to minutes; if status is running, call"
        " get_answer.",
        takes=arguments.RlmQuery,
        gives=results.RunResult,
        call=rlm_query,
        hints=_CHANGES,
    ),
    "get_answer": Tool(
        title="Get answer",
        description="Wait for a run and get its answer.",
        takes=arguments.GetAnswer,
        gives=results.RunResult,
        call=get_answer,
        hints=_CHANGES_ONCE,
    ),
    "cancel_query": Tool(
        title="Cancel query",
        description="Stop a run and get its best answer so far.",
        takes=arguments.CancelQuery,
        gives=results.RunResult,
        call=cancel_query,
        hints=_CHANGES_ONCE,
    ),
    "list_contexts": Tool(
        title="List contexts",
        description="What is loaded in a session.",
        takes=arguments.ListContexts,
        gives=results.ContextsListed,
        call=list_contexts,
    ),
    "get_costs": Tool(
        title="Get costs",
        description="Calls, tokens and cost of a session, run, day or all time.",
        takes=arguments.GetCosts,
        gives=results.CostsSummed,
        call=get_costs,
    ),
    "get_trace": Tool(
        title="Get trace",
        description="Page through what a run did.",
        takes=arguments.GetTrace,
        gives=TracePage,
        call=get_trace,
    ),
}


def find_tool(name: str) -> Tool:
    """The tool of that name.

    Raises:
        ArgumentInvalid: there is none; the hint names the nearest.
    """
    if name not in TOOLS:
        raise ArgumentInvalid(f"There is no tool `{name}`.", arguments.nearest(name, list(TOOLS)))
    return TOOLS[name]
