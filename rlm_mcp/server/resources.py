"""Contexts and runs as resources: what they are made of, and their text in ranges."""

import json
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from mcp import MCPError, types

from rlm_mcp.errors import ArgumentInvalid, RlmError, UnknownContext, UnknownRun
from rlm_mcp.server import views
from rlm_mcp.server.access import Caller
from rlm_mcp.server.addresses import (
    Address,
    answer_uri,
    context_uri,
    file_uri,
    parse_address,
    run_uri,
    text_uri,
    view_uri,
)
from rlm_mcp.server.app import App
from rlm_mcp.server.leftovers import changed
from rlm_mcp.server.sessions import Request
from rlm_mcp.words import count, sendable

if TYPE_CHECKING:
    from rlm_mcp.contexts.catalogue import Catalogue
    from rlm_mcp.service import Service
    from rlm_mcp.types import ContextInfo

MOST_CHARS = 100_000
# A user may ask for many at once, and while one is made the others wait.
MOST_SHARED_PAGE_CHARS = 2_000_000
MANIFEST_ROWS = 500
LIST_ROWS = 50
# No text has more characters, and Python refuses to read numbers of some thousand digits.
MOST_DIGITS = 18

TEMPLATES = [
    types.ResourceTemplate(
        name="context",
        title="Context",
        uri_template=context_uri("{id}") + "{?page}",
        description="Documents of a context and the files skipped.",
        mime_type="application/json",
    ),
    types.ResourceTemplate(
        name="text",
        title="Text of a context",
        uri_template=text_uri("{id}") + "{?start,end}",
        description="Its characters from start up to end.",
        mime_type="text/plain",
    ),
    types.ResourceTemplate(
        name="file",
        title="Document of a context",
        uri_template=context_uri("{id}") + "/files/{+path}{?start,end,chars}",
        description="Its lines from start to end, counted from 1, or its characters, chars=0-500.",
        mime_type="text/plain",
    ),
    types.ResourceTemplate(
        name="run",
        title="Trace of a run",
        uri_template=run_uri("{id}") + "{?page}",
        description="What a run did.",
        mime_type="text/plain",
    ),
    types.ResourceTemplate(
        name="answer",
        title="Answer of a run",
        uri_template=answer_uri("{id}") + "{?start,end}",
        description="Its characters from start up to end.",
        mime_type="text/plain",
    ),
    types.ResourceTemplate(
        name="view",
        title="Page of a run",
        uri_template=view_uri("{id}"),
        description="A run as one HTML page for people: write it to a file and open that.",
        mime_type="text/html",
    ),
]
TYPES = {("context", ""): "application/json", ("run", "view"): "text/html"}


async def list_resources(
    app: App, request: Request, cursor: str | None
) -> types.ListResourcesResult:
    """The contexts of a local client or of a user who said who it is; no stranger gets ids.

    First comes the page of a run, for a client that can show it.
    """
    if cursor is not None and not _is_number(cursor):
        raise MCPError(types.INVALID_PARAMS, f"There is no page {cursor[:40]!r} of resources.")
    at, contexts = int(cursor or 0), await listed_contexts(app, request)
    listed = [
        types.Resource(
            uri=context_uri(info.id),
            name=info.name,
            title=info.name,
            description=f"{count(info.documents, 'document')}, {info.tokens_estimate:,} tokens",
            mime_type="application/json",
        )
        for info in contexts[at : at + LIST_ROWS]
    ]
    listed = listed if at else [*views.listed(request), *listed]
    more = str(at + LIST_ROWS) if at + LIST_ROWS < len(contexts) else None
    return types.ListResourcesResult(resources=listed, next_cursor=more)


async def listed_contexts(app: App, request: Request) -> "list[ContextInfo]":
    """The contexts that a caller is shown unasked; none before it loaded any."""
    if app.share is None and app.sessions.local is None:
        return []  # hosts ask at once: nothing was loaded, so nothing needs to be opened
    return await (await app.caller(request)).contexts()


async def read_resource(app: App, request: Request, uri: str) -> types.ReadResourceResult:
    """The text at `uri`, at most `MOST_CHARS` characters of it and where the rest is.

    The page of a run is given whole: a part of it would not open. On a shared server what stands in
    it is cut sooner.

    Raises:
        MCPError: nothing is there, or the range is none (SEP-2164: invalid params with the URI).
    """
    if uri == views.URI:
        return await anyio.to_thread.run_sync(views.read)
    address = parse_address(uri)
    try:
        if address is None:
            raise UnknownContext(f"{uri} is no address of this server.", "Take one from a result.")
        text = await _text(await app.caller(request), address)
    except RlmError as error:
        raise MCPError(types.INVALID_PARAMS, str(error), {"uri": uri}) from error
    kind = TYPES.get((address.kind, address.part), "text/plain")
    contents = types.TextResourceContents(uri=uri, mime_type=kind, text=sendable(text))
    return types.ReadResourceResult(contents=[contents])


async def _text(caller: Caller, address: Address) -> str:
    service = caller.service
    if address.kind == "run":
        await caller.run(address.id)
    match address:
        case Address(kind="run", part="", path=""):
            page = await service.trace(address.id, _number(address, "page", 1))
            return page.text()
        case Address(kind="run", part="answer", path=""):
            answer = await _answer(service, address.id)
            start, end = _range(address, len(answer))
            return answer[start:end] + _rest(answer_uri(address.id), address, end, len(answer))
        case Address(kind="run", part="view", path=""):
            from rlm_mcp.runs import viewer  # noqa: PLC0415 - not what listing waits for

            most = viewer.MOST_PAGE_CHARS if caller.user is None else MOST_SHARED_PAGE_CHARS
            return await viewer.view_page(service.journal, address.id, most)
        case Address(kind="context"):
            catalogue = await caller.catalogue(address.id)
            info = await caller.as_loaded(address.id) or catalogue.info
            return await anyio.to_thread.run_sync(_of_context, info, catalogue, address)
    raise UnknownContext(f"There is no kind {address.kind!r}.", "Take a URI from a result.")


def _of_context(info: "ContextInfo", catalogue: "Catalogue", address: Address) -> str:
    match address:
        case Address(part="", path=""):
            return json.dumps(_manifest(info, catalogue, address), ensure_ascii=False)
        case Address(part="text", path=""):
            length = catalogue.info.chars
            start, end = _range(address, length)
            text = catalogue.read(start, end)
            return text + _rest(text_uri(address.id), address, end, length)
        case Address(part="files", path=path) if path and "chars" in address.query:
            return _chars(catalogue, path, address)
        case Address(part="files", path=path) if path:
            return _lines(catalogue, path, address)
    raise UnknownContext(
        f"A context has no {address.part!r}.", "It has a manifest, /text and /files/PATH."
    )


def _manifest(info: "ContextInfo", catalogue: "Catalogue", address: Address) -> dict[str, Any]:
    """One page of the documents, and of the skipped files as a load met them."""
    documents, changes = catalogue.documents, changed(info.changes) if info.changes else []
    page = _number(address, "page", 1)
    rows_told = max(len(documents), len(info.skipped), len(changes))
    pages = max(1, -(-rows_told // MANIFEST_ROWS))
    if not 1 <= page <= pages:
        raise ArgumentInvalid(f"There is no page {page}.", f"Ask for a page from 1 to {pages}.")
    rows = slice((page - 1) * MANIFEST_ROWS, page * MANIFEST_ROWS)
    return {
        "id": info.id,
        "name": info.name,
        "documents": info.documents,
        "bytes": info.bytes,
        "chars": info.chars,
        "lines": info.lines,
        "tokens_estimate": info.tokens_estimate,
        "skipped": len(info.skipped),
        "text": text_uri(info.id),
        "page": page,
        "pages": pages,
        "next": f"{context_uri(info.id)}?page={page + 1}" if page < pages else None,
        "files": [
            {"path": d.path, "lines": d.lines, "chars": d.chars, "uri": file_uri(info.id, d.path)}
            for d in documents[rows]
        ],
        "skipped_files": [[skip.path, skip.reason] for skip in info.skipped[rows]],
        "changes": changes[rows],
    }


def _chars(catalogue: "Catalogue", path: str, address: Address) -> str:
    document = catalogue.require(path)
    first, dash, last = address.query["chars"].partition("-")
    if not (dash and _is_number(first) and _is_number(last)):
        raise ArgumentInvalid("chars is no range.", "Give it as chars=0-500.")
    start = min(int(first), document.chars)
    wanted = min(int(last), document.chars)
    end = min(wanted, start + MOST_CHARS)
    text = catalogue.read(document.start + start, document.start + end)
    if end >= wanted:
        return text
    more = f"{file_uri(address.id, path)}?chars={end}-{wanted}"
    return f"{text}\n… [up to character {end:,} of {document.chars:,}; more: {more}]\n"


def _lines(catalogue: "Catalogue", path: str, address: Address) -> str:
    document = catalogue.require(path)
    total = document.lines
    first = max(_number(address, "start", 1), 1)
    last = min(_number(address, "end", total), total)
    # A line takes a character at least.
    text = catalogue.lines(path, first, min(last, first + MOST_CHARS), MOST_CHARS + 1)
    shown = text[:MOST_CHARS]
    if shown != text:
        shown = shown[: shown.rfind("\n") + 1] or shown
    line = first + shown.count("\n") + (not shown.endswith("\n"))
    if shown == text and line > last:
        return text
    uri = file_uri(address.id, path)
    more = f"{uri}?start={line}, or by characters: {uri}?chars=0-{document.chars}"
    return f"{shown}\n… [lines {first:,} to {line - 1:,} of {total:,}; more: {more}]\n"


def _range(address: Address, length: int) -> tuple[int, int]:
    """The characters asked for, as many as are given at once."""
    start = min(_number(address, "start", 0), length)
    return start, min(_number(address, "end", length), length, start + MOST_CHARS)


def _rest(uri: str, address: Address, end: int, length: int) -> str:
    """Words on what is not shown, none if all that was asked for is."""
    if end >= min(_number(address, "end", length), length):
        return ""
    return f"\n… [up to character {end:,} of {length:,}; more: {uri}?start={end}]\n"


def _number(address: Address, name: str, default: int) -> int:
    value = address.query.get(name, str(default))
    if not _is_number(value):
        raise ArgumentInvalid(
            f"{name}={value[:40]} is no number.", f"Give {name} as digits, at most {MOST_DIGITS}."
        )
    return int(value)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= MOST_DIGITS


async def _answer(service: "Service", run_id: str) -> str:
    answer = (await service.view(run_id)).answer
    if answer is not None:
        return answer.text
    raise UnknownRun(f"Run {run_id} has no answer yet.", "Wait for it with get_answer.")
