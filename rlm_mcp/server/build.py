"""The MCP server over an app: which request is answered by what."""

import logging
from functools import partial
from importlib.metadata import version
from typing import Any

from mcp import MCPError, types
from mcp.server import CacheHint, NotificationOptions, Server
from mcp.server.subscriptions import ListenHandler

from rlm_mcp.errors import RlmError
from rlm_mcp.server import resources, views
from rlm_mcp.server.app import App
from rlm_mcp.server.arguments import LoadContext, parse
from rlm_mcp.server.completion import completed
from rlm_mcp.server.leftovers import ERROR_BYTES
from rlm_mcp.server.prompts import listed, written
from rlm_mcp.server.schemas import input_schema, output_schema, same_output
from rlm_mcp.server.sessions import Request
from rlm_mcp.server.tools import TOOLS, Told, Tool, find_tool
from rlm_mcp.words import clip_json

INSTRUCTIONS = (
    "Answers questions about text too large to read: codebases, logs, many documents. "
    "1. load_context(source=[absolute paths]) returns a `session`; pass it to every later call. "
    "2. rlm_query(query=...) answers with citations as path:line. If its status is running, call "
    "get_answer(run_id) until it is done. Later queries see the variables of earlier ones. "
    "A query makes many model calls and takes seconds to minutes: read small files yourself, and "
    "ask one complete question rather than many small ones. `budget` caps it, get_costs shows it."
)

logger = logging.getLogger(__name__)


class RlmServer(Server[Any]):
    """A `Server` that tells each revision what changes in it: its list of resources, no other."""

    def get_capabilities(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
        *,
        protocol_version: str | None = None,
    ) -> types.ServerCapabilities:
        """What `initialize` and `server/discover` say this server can."""
        served = super().get_capabilities(
            notification_options,
            experimental_capabilities,
            extensions,
            protocol_version=protocol_version,
        )
        # The SDK takes one open stream of notices for a promise of all kinds of them.
        changes = {
            "tools": types.ToolsCapability(list_changed=False),
            "prompts": types.PromptsCapability(list_changed=False),
            "resources": types.ResourcesCapability(subscribe=False, list_changed=True),
        }
        return served.model_copy(update=changes)


def build_server(app: App) -> RlmServer:
    """A server for any transport and both eras of the protocol. The app outlives it."""
    tools = [_listed(name, tool, app) for name, tool in TOOLS.items()]

    async def list_tools(
        _: Request, __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(
        request: Request, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return await _called(app, request, params)

    async def list_resources(
        request: Request, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        return await resources.list_resources(app, request, params.cursor if params else None)

    async def list_templates(
        _: Request, __: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        return types.ListResourceTemplatesResult(resource_templates=resources.TEMPLATES)

    async def read_resource(
        request: Request, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return await resources.read_resource(app, request, str(params.uri))

    server = RlmServer(
        "rlm-mcp",
        version=version("rlm-mcp"),
        title="Recursive Language Models",
        instructions=INSTRUCTIONS,
        cache_hints={
            "tools/list": CacheHint(ttl_ms=3_600_000, scope="public"),
            "prompts/list": CacheHint(ttl_ms=3_600_000, scope="public"),
            "resources/list": CacheHint(ttl_ms=0, scope="private"),
        },
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_list_prompts=listed,
        on_get_prompt=partial(written, app),
        on_completion=partial(completed, app),
        on_subscriptions_listen=ListenHandler(app.bus),
    )
    server.extensions = views.extensions()
    return server


async def _called(
    app: App, request: Request, params: types.CallToolRequestParams
) -> types.CallToolResult:
    """The outer edge of a tool call: whatever goes wrong becomes words for the model."""
    name = params.name
    try:
        tool = find_tool(name)
        asked = parse(name, tool.takes, params.arguments or {})
        return _result(await tool.call(app, request, asked))
    except RlmError as error:
        return _refusal(str(error))
    except MCPError:
        raise
    except Exception as error:
        logger.exception("%s failed", name)
        return _refusal(
            f"{name} failed inside the server: {type(error).__name__}.\n"
            "This is a defect of rlm-mcp; what it wrote to stderr says where."
        )


def _result(told: Told) -> types.CallToolResult:
    text = types.TextContent(type="text", text=told.text)
    return types.CallToolResult(
        content=[text, *told.links],
        structured_content=told.structure.model_dump(mode="json"),
        is_error=told.is_error,
    )


def _refusal(text: str) -> types.CallToolResult:
    told = types.TextContent(type="text", text=clip_json(text, ERROR_BYTES))
    return types.CallToolResult(content=[told], is_error=True)


def _listed(name: str, tool: Tool, app: App) -> types.Tool:
    schema = input_schema(tool.takes)
    first = next(each for each, other in TOOLS.items() if other.gives is tool.gives)
    if "wait_s" in schema["properties"]:
        schema["properties"]["wait_s"]["default"] = app.settings.wait_s
    told: dict[str, Any] = {"title": tool.title}
    if tool.takes is LoadContext and app.settings.http != "off":
        told["open_world_hint"] = True
    return types.Tool(
        name=name,
        title=tool.title,
        description=tool.description,
        input_schema=schema,
        output_schema=output_schema(tool.gives) if first == name else same_output(first),
        annotations=tool.hints.model_copy(update=told),
        _meta=views.tool_meta(name),
    )
