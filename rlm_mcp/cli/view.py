"""`rlm-mcp traces open`: a run as an HTML page on this machine."""

import tempfile
from pathlib import Path

import anyio
import click

from rlm_mcp.settings import Settings


@click.command("open")
@click.argument("run")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page to this file. Without it: a new folder only you can read.",
)
@click.option("--browser", is_flag=True, help="Open the page in your browser too.")
def open_view(run: str, *, out: Path | None, browser: bool) -> None:
    """Write RUN as one HTML page and print its path. The page needs no network."""
    page = anyio.run(_page, run)
    path = (out or Path(tempfile.mkdtemp(prefix="rlm-run-"), f"{run}.html")).absolute()
    try:
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from error
    click.echo(path)
    if browser:
        import webbrowser

        webbrowser.open(path.as_uri())


async def _page(run: str) -> str:
    from rlm_mcp.runs.viewer import view_page
    from rlm_mcp.service import open_service

    async with open_service(Settings.load()) as service:
        return await view_page(service.journal, run)
