"""How others add us: one-click links, the README's table, the example file, all of one source."""

import base64
import json
from collections.abc import Mapping
from urllib.parse import quote

from rlm_mcp.clients import NAME
from rlm_mcp.clients.entries import with_server
from rlm_mcp.clients.formats import Client, Server, client, clients, shaped
from rlm_mcp.clients.stars import secret_names, starred
from rlm_mcp.settings import DEFAULT_API_URL

# Without an installation: uv's runner fetches the package of that name.
ANYWHERE = Server("uvx", ("rlm-mcp",), {})
EXAMPLE = Server(
    "/path/to/rlm-mcp/.venv/bin/rlm-mcp",
    (),
    {"RLM_API_URL": DEFAULT_API_URL, "RLM_ROOTS": "/path/to/your/code"},
)


def link(client: Client, server: Server = ANYWHERE, name: str = NAME) -> str | None:
    """The address that adds the server to that client at a click; None if there is no such thing.

    Links travel, so there is none for a server with something that is best `untold`.
    """
    if client.link is None or untold(server):
        return None
    entry = shaped(client, server)
    named = json.dumps({"name": name, **entry}, separators=(",", ":"))
    encoded = base64.b64encode(json.dumps(entry, separators=(",", ":")).encode()).decode()
    return client.link.format(
        name=quote(name, safe=""),
        entry64=quote(encoded, safe=""),
        # It is a query in an address that is itself a query's value.
        named=quote(quote(named, safe=""), safe=""),
    )


def untold(server: Server) -> list[str]:
    """What of the server is secret, and belongs in no link: variables by name, its arguments."""
    argv = list(server.argv)
    return [*secret_names(server.env), *(["its command"] if starred(argv) != argv else [])]


def table() -> list[str]:
    """The lines of the README's table of clients."""
    rows = [_row(each) for each in clients()]
    return ["| client | set up by | in its file | at a click |", "|---|---|---|---|", *rows]


def example() -> str:
    """The text of `mcp.json.example`: the shape of most clients, and that of VS Code."""
    text = with_server(client("claude-desktop"), "", NAME, EXAMPLE)
    env: Mapping[str, str] = {**EXAMPLE.env, "RLM_ROOTS": "${workspaceFolder}"}
    asking = Server(EXAMPLE.command, EXAMPLE.args, env)
    return with_server(client("vscode"), text, NAME, asking, ("RLM_API_KEY",))


def _row(each: Client) -> str:
    command = f"rlm-mcp install {each.id}" + ("" if each.files else " --print")
    paths = {path for paths in each.files.values() for path in paths[:1]}
    if len(paths) == 1:
        file = f"`{paths.pop().replace('{home}', '~').replace('{config}', '~/.config')}`"
    else:
        file = " or ".join(sorted({f"`{path.rpartition('/')[2]}`" for path in paths}))
    address = link(each)
    return f"| {each.name} | `{command}` | {file} | {f'[add]({address})' if address else ''} |"
