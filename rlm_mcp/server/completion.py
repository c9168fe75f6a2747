"""Completion of what an address or a prompt needs: ids of contexts and runs, names and paths."""

from itertools import chain

import anyio.to_thread
from mcp import types

from rlm_mcp.errors import RlmError
from rlm_mcp.server.addresses import context_uri
from rlm_mcp.server.app import App
from rlm_mcp.server.resources import listed_contexts
from rlm_mcp.server.sessions import Request
from rlm_mcp.server.suggestions import runs, sources

MOST_VALUES = 100  # the protocol's
CONTEXTS = context_uri("{id}")


async def completed(
    app: App, request: Request, params: types.CompleteRequestParams
) -> types.CompleteResult:
    """Values for one argument of a template or prompt: those that begin as typed come first."""
    ref, argument = params.ref, params.argument
    known: list[str] = []
    if isinstance(ref, types.PromptReference):
        known = await _of_prompt(app, request, argument)
    elif ref.uri.startswith(CONTEXTS):
        if argument.name == "id":
            known = [info.id for info in await listed_contexts(app, request)]
        elif argument.name == "path":
            chosen = (params.context and params.context.arguments) or {}
            known = await _paths(app, request, chosen.get("id"))
    # Of a million paths it takes half a second, in which nobody else would be served.
    found = await anyio.to_thread.run_sync(_fitting, known, argument.value)
    return types.CompleteResult(
        completion=types.Completion(
            values=found[:MOST_VALUES], total=len(found), has_more=len(found) > MOST_VALUES
        )
    )


def _fitting(known: list[str], typed: str) -> list[str]:
    begin = (each for each in known if each.startswith(typed))
    hold = (each for each in known if typed in each and not each.startswith(typed))
    return list(chain(begin, hold))


async def _of_prompt(app: App, request: Request, argument: types.CompletionArgument) -> list[str]:
    try:
        match argument.name:
            case "source":
                return await sources(app, request, argument.value)
            case "run_id":
                return await runs(app, request)
    except RlmError:
        pass  # what cannot be looked up is typed by hand
    return []


async def _paths(app: App, request: Request, id: str | None) -> list[str]:
    try:
        catalogue = await (await app.caller(request)).catalogue(id or "")
    except RlmError:
        return []
    return await anyio.to_thread.run_sync(lambda: [each.path for each in catalogue.documents])
