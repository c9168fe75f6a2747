"""Completion of what a resource's address needs: ids of contexts, paths of documents."""

from itertools import chain

from mcp import types

from rlm_mcp.errors import RlmError
from rlm_mcp.server.addresses import context_uri
from rlm_mcp.server.app import App
from rlm_mcp.server.resources import listed_contexts
from rlm_mcp.server.sessions import Request

MOST_VALUES = 100  # the protocol's
CONTEXTS = context_uri("{id}")


async def completed(
    app: App, request: Request, params: types.CompleteRequestParams
) -> types.Completion:
    """Values for one argument of a template: those that begin as typed first, then the rest."""
    ref, argument = params.ref, params.argument
    if not isinstance(ref, types.ResourceTemplateReference) or not ref.uri.startswith(CONTEXTS):
        return types.Completion(values=[])
    known: list[str] = []
    if argument.name == "id":
        known = [info.id for info in await listed_contexts(app, request)]
    elif argument.name == "path":
        known = await _paths(
            app, request, ((params.context and params.context.arguments) or {}).get("id")
        )
    begin = (each for each in known if each.startswith(argument.value))
    hold = (e for e in known if argument.value in e and not e.startswith(argument.value))
    found = list(chain(begin, hold))
    return types.Completion(
        values=found[:MOST_VALUES], total=len(found), has_more=len(found) > MOST_VALUES
    )


async def _paths(app: App, request: Request, id: str | None) -> list[str]:
    try:
        catalogue = await (await app.caller(request)).catalogue(id or "")
    except RlmError:
        return []
    return [document.path for document in catalogue.documents]
