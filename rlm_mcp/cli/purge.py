"""`rlm-mcp purge`: empties the data folder."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from rlm_mcp.cli.view import FOLDER as PAGES
from rlm_mcp.settings import Settings
from rlm_mcp.words import count, size

FOLDERS = ("contexts", "endpoints", "models", "cache", "sessions", PAGES)
BESIDE = ("", "-wal", "-shm", "-journal")


@click.command(short_help="Empty the data folder.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(*, yes: bool) -> None:
    """Remove all runs, their pages, costs, contexts, endpoint profiles, models and caches.

    Nothing else in the data folder is touched, and links are removed, not followed. Refused while
    a server of this data folder is at work.
    """
    from rlm_mcp.llm.embedded.server import LOG
    from rlm_mcp.runs.alone import held
    from rlm_mcp.runs.journal import FILE
    from rlm_mcp.runs.spare import NAME

    home = Settings.load().home.expanduser()
    journal = home / FILE
    with held(journal):  # a refusal comes before the question
        pass
    names = [*(FILE + end for end in BESIDE), LOG, NAME]
    files = [path for name in names if (path := home / name).exists()]
    places = [path for name in FOLDERS if os.path.lexists(path := home / name)]
    told = _told(home, [*files, *places])
    if not files and not places:
        click.echo(f"{home} holds nothing of rlm-mcp.")
        return
    if not yes:
        click.confirm(f"Remove {told}?", abort=True, err=True)
    with held(journal):
        failed = list(_removed(places))
    failed += list(_removed([home / name for name in names]))
    if failed:
        raise click.ClickException("Could not remove all:\n" + "\n".join(failed))
    click.echo(f"Removed {told}.")


def _told(home: Path, paths: list[Path]) -> str:
    from rlm_mcp.runs.alone import runs_in
    from rlm_mcp.runs.journal import FILE

    runs = runs_in(home / FILE)
    parts = [
        "a journal that cannot be read" if runs is None else count(runs, "run"),
        count(sum(1 for _ in _inside(home / PAGES, "*.html")), "page"),
        count(sum(1 for _ in _inside(home / "contexts", "ctx_*")), "context"),
        count(sum(1 for _ in _inside(home / "endpoints", "*.json")), "endpoint profile"),
        count(sum(1 for _ in _inside(home / "models", "*/*/**/*.gguf")), "downloaded model"),
    ]
    amount = size(sum(map(_bytes, paths)))
    return f"{', '.join(parts)} and the caches in {home}, {amount} in all"


def _inside(folder: Path, pattern: str) -> Iterator[Path]:
    return iter(()) if folder.is_symlink() else folder.glob(pattern)


def _bytes(path: Path) -> int:
    """What it takes on the disk as file sizes; a link counts as itself."""
    total = 0
    with suppress(OSError):
        total = path.lstat().st_size if path.is_symlink() or path.is_file() else 0
    if not path.is_symlink():
        for folder, _, names in os.walk(path):
            for name in names:
                with suppress(OSError):
                    total += Path(folder, name).lstat().st_size
    return total


def _removed(paths: list[Path]) -> Iterator[str]:
    """Remove each; what is said of those that stay."""
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            yield f"{path}: {error.strerror or error}"
