"""`rlm-mcp traces open`: a run as an HTML page on this machine."""

from pathlib import Path

import anyio
import click

from rlm_mcp.rights import make_closed
from rlm_mcp.settings import Settings

FOLDER = "pages"
EVERY = -1


@click.command("open")
@click.argument("run")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page to this file. Without it: one in the data folder; it goes with the run.",
)
@click.option("--browser", is_flag=True, help="Open the page in your browser too.")
def open_view(run: str, *, out: Path | None, browser: bool) -> None:
    """Write RUN as one HTML page and print its path. The page needs no network."""
    home = Settings.load().home.expanduser()
    page = anyio.run(_page, run, home)
    path = (out or page_of(home, run)).absolute()
    try:
        if out is None:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            make_closed(path)
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from error
    click.echo(path)
    if browser:
        import webbrowser

        webbrowser.open(path.as_uri())


def page_of(home: Path, run: str) -> Path:
    """Where the page of a run is, if it was opened."""
    return home / FOLDER / f"{run}.html"


async def _page(run: str, home: Path) -> str:
    """The page of a run. Those of runs that are gone are removed: each holds all of its prompts."""
    from rlm_mcp.runs.viewer import view_page
    from rlm_mcp.service import open_service

    async with open_service(Settings.load()) as service:
        page = await view_page(service.journal, run)
        left = {page_of(home, row.id) for row in await service.journal.runs(EVERY)}
    for old in set((home / FOLDER).glob("*.html")) - left:
        old.unlink(missing_ok=True)
    return page
