"""The page of a run as hosts show it beside a tool's result: MCP Apps, revision 2026-01-26."""

from typing import Any

from mcp import types
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID, Apps, ResourceCsp, client_supports_apps

from rlm_mcp.server.sessions import Request

URI = "ui://rlm-mcp/run.html"
TITLE = "A run as it goes on"
SHOWN = ("rlm_query", "get_answer", "get_trace")


def extensions() -> dict[str, dict[str, Any]]:
    """What the server declares of it."""
    return {EXTENSION_ID: Apps().settings()}


def tool_meta(name: str) -> dict[str, Any] | None:
    """What tells a host to show the page beside a tool's result; the flat key is an older form."""
    return {"ui": {"resourceUri": URI}, "ui/resourceUri": URI} if name in SHOWN else None


def listed(request: Request) -> list[types.Resource]:
    """The page, for a client that can show it; others have no use for it."""
    if not client_supports_apps(request):
        return []
    return [
        types.Resource(
            uri=URI, name="run-view", title=TITLE, mime_type=APP_MIME_TYPE, _meta=_meta()
        )
    ]


def read() -> types.ReadResourceResult:
    """The page itself."""
    from rlm_mcp.runs.viewer import app_page  # noqa: PLC0415 - not what listing waits for

    contents = types.TextResourceContents(
        uri=URI, mime_type=APP_MIME_TYPE, text=app_page(), _meta=_meta()
    )
    return types.ReadResourceResult(contents=[contents])


def _meta() -> dict[str, Any]:
    """It fetches nothing: what it shows comes by tool calls through the host."""
    csp = ResourceCsp(connect_domains=[], resource_domains=[])
    return {"ui": {"csp": csp.model_dump(by_alias=True, exclude_none=True), "prefersBorder": True}}
