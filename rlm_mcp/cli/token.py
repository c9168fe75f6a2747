"""`rlm-mcp token`: a bearer token for one user of `rlm-mcp serve --http`, shown once."""

from pathlib import Path

import click

from rlm_mcp.settings import Settings


@click.command()
@click.argument("name")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="The file of tokens. Default: RLM_TOKEN_FILE, or `tokens` in RLM_HOME.",
)
def token(name: str, file: Path | None = None) -> None:
    """Make a token for NAME, a user of the HTTP server.

    The token is printed once, to standard output; give it to its user, and keep it nowhere else.
    The file of tokens gets a line with its hash, which is told on standard error:

    \b
        rlm-mcp token alice
        rlm-mcp serve --http --token-file FILE

    A client sends the token as `Authorization: Bearer rlm_...`. To shut it out, remove its line: a
    change counts with the next request. A name may have several tokens; all are the same user.
    """  # noqa: D301 - click knows a list by the character itself
    from rlm_mcp.server.tokenfile import new_token

    settings = Settings.load()
    path = (file or settings.token_file or settings.home / "tokens").expanduser()
    made, line = new_token(path, name)
    click.echo(made)
    click.echo(
        f"Added to {path}: {line}\n"
        f"{name} sends it as `Authorization: Bearer ...`. It is not shown again.\n"
        f"Serve with it: rlm-mcp serve --http --token-file {path}",
        err=True,
    )
