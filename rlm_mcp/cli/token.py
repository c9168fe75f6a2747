"""`rlm-mcp token`: a bearer token for one user of `rlm-mcp serve --http`, shown once."""

from pathlib import Path

import click

from rlm_mcp.settings import Settings


@click.command()
@click.argument("name")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="Default: RLM_TOKEN_FILE, or `tokens` in RLM_HOME.",
)
def token(name: str, file: Path | None = None) -> None:
    """Make a token for a user of the HTTP server.

    The token is printed once; the file keeps its hash. Remove its line to shut it out.
    """
    from rlm_mcp.server.tokenfile import new_token

    settings = Settings.load()
    path = (file or settings.token_file or settings.home / "tokens").expanduser()
    made = new_token(path, name)
    click.echo(made)
    click.echo(
        f"For {name}: send it as `Authorization: Bearer ...`. It is not shown again.\n"
        f"Serve with it: rlm-mcp serve --http --token-file {path}",
        err=True,
    )
