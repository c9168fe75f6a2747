"""`rlm-mcp doctor`: what works on this machine, tried and not guessed."""

import sys
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import click

from rlm_mcp import given
from rlm_mcp.cli.ask import sandbox_option
from rlm_mcp.cli.screen import show
from rlm_mcp.errors import SettingsInvalid
from rlm_mcp.settings import Settings

if TYPE_CHECKING:
    from rlm_mcp.cli.rows import Row
    from rlm_mcp.llm.profiles import ModelProfile

SOUND, UNSOUND = 0, 1
ASKING = "Asking the model some questions: up to two minutes per model, once it is loaded."


@click.command()
@sandbox_option
@click.option(
    "--endpoint",
    is_flag=True,
    help="Measure the model endpoint instead: window, slots, roles, thinking, usage, speed.",
)
@click.option(
    "--settings",
    "origins",
    is_flag=True,
    help="List every setting with its value and where it is given, and look at nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, sandbox: str | None, endpoint: bool, origins: bool, as_json: bool) -> int:
    """Show what works on this machine, and what to do about the rest.

    The server is started as a client starts it, and each sandbox is started and tried; then the
    model a run would ask, the data folder, git, the settings, and the MCP clients that start it.
    It takes seconds, and three minutes at most. Exit code: 0 if a client can use the server, each
    client that has it set up can start it, the settings can work and model-written code can run as
    they say; 1 if not. That no model answers is told, and is no failure.

    With --endpoint each model of the settings is asked ten to thirty questions, which takes up to
    two minutes and 150,000 tokens per model, once it is loaded (up to five minutes more). What
    they show is kept in the data folder and used by every run after. Exit code then: 0 measured,
    1 not reached.
    """
    if endpoint and origins:
        raise click.UsageError("--endpoint and --settings do not go together.")
    settings, found = Settings.salvage(sandbox=sandbox)
    if origins or endpoint:
        if origins:
            _list(settings, found, as_json=as_json)
        if found.wrong:
            raise found.wrong[0]
        if endpoint:
            _show_measured(settings, as_json=as_json)
        return SOUND
    from rlm_mcp.cli import findings
    from rlm_mcp.cli.looking import look

    seen = anyio.run(look, settings, found)
    if as_json:
        show(findings.as_json(seen))
    else:
        _show(findings.rows(seen))
    return SOUND if seen.is_sound else UNSOUND


def _list(settings: Settings, found: given.AllGiven, *, as_json: bool) -> None:
    from rlm_mcp.cli import origins

    click.echo((origins.as_json if as_json else origins.as_text)(settings, found))


def _show(found: "list[Row]") -> None:
    from rlm_mcp.cli import rows

    if sys.stdout.isatty():
        rows.show(found)
    else:
        click.echo(rows.as_text(found))


def _show_measured(settings: Settings, *, as_json: bool) -> None:
    profiles = anyio.run(_measure, settings)
    from rlm_mcp.cli import measured

    if as_json:
        show(measured.as_json(profiles))
    else:
        _show([row for each in profiles for row in measured.rows(each, settings.context_window)])


async def _measure(settings: Settings) -> "tuple[ModelProfile, ...]":
    from rlm_mcp.cli.looking import write_problem
    from rlm_mcp.llm.models import Models

    home = settings.home.expanduser()
    if problem := await anyio.to_thread.run_sync(write_problem, home):
        raise SettingsInvalid(
            f"{home} cannot be written: {problem}.",
            "Make it writable, or set RLM_HOME to another folder.",
        )
    async with Models(settings) as models:
        await models.resolve()
        click.echo(ASKING, err=True)
        return await models.measure()
