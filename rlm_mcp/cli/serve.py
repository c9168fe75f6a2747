"""`rlm-mcp serve`: the MCP server on standard input and output, or over HTTP."""

import sys
from pathlib import Path

import anyio
import click

from rlm_mcp.settings import Settings

WAITING = (
    "rlm-mcp waits here for an MCP client. To ask a question: rlm-mcp ask PATH... "
    '"question". More: rlm-mcp --help'
)


@click.command()
@click.option("--http", is_flag=True, help="Serve Streamable HTTP instead of stdio.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address for --http.")
@click.option(
    "--port", default=8765, show_default=True, help="Port for --http; 0 takes a free one."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="With --http, take only the bearer tokens of this file; see `rlm-mcp token`.",
)
def serve(
    *,
    http: bool = False,
    host: str = "127.0.0.1",
    port: int = 8765,
    token_file: Path | None = None,
) -> None:
    """Serve MCP to a client, or over HTTP to a team.

    Without --http: on standard input and output, as an MCP client starts it. With it: at
    http://HOST:PORT/mcp, and to this machine alone unless tokens or OAuth tell its users apart.
    """
    settings = Settings.load(token_file=token_file)
    if http:
        from rlm_mcp.server.http import serve_http

        anyio.run(serve_http, settings, host, port, _announce)
        return
    if sys.stdin.isatty():
        click.echo(WAITING, err=True)
    from rlm_mcp.server.stdio import serve_stdio

    anyio.run(serve_stdio, settings)


def _announce(url: str) -> None:
    click.echo(f"rlm-mcp serves MCP at {url}", err=True)
