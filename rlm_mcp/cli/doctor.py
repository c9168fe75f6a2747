"""`rlm-mcp doctor`: what works on this machine, tried and not guessed."""

import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import click

from rlm_mcp.cli.ask import sandbox_option
from rlm_mcp.errors import EndpointError, SettingsInvalid
from rlm_mcp.settings import Settings

if TYPE_CHECKING:
    from rlm_mcp.cli.findings import Findings, FoundModel, Row
    from rlm_mcp.llm.profiles import ModelProfile

SOUND, UNSOUND = 0, 1
MODEL_S = 15.0
ASKING = "Asking the model some questions: up to two minutes per model, once it is loaded."


@click.command()
@sandbox_option
@click.option(
    "--endpoint",
    is_flag=True,
    help="Measure the model endpoint instead: window, slots, roles, thinking, usage, speed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(*, sandbox: str | None, endpoint: bool, as_json: bool) -> int:
    """Show what works on this machine.

    Which sandboxes work here, what a run would take, and which model it would ask. Each sandbox
    is started and tried. Exit code: 0 if model-written code can run as the settings say, 1 if not.

    With --endpoint each model of the settings is asked ten to thirty questions, which takes up to
    two minutes and 150,000 tokens per model, once it is loaded (up to five minutes more). What
    they show is kept in the data folder and used by every run after. Exit code then: 0 measured,
    1 not reached.
    """
    settings = Settings.load(sandbox=sandbox)
    if endpoint:
        _show_measured(settings, as_json=as_json)
        return SOUND
    found = anyio.run(_look, settings)
    from rlm_mcp.cli import findings

    if as_json:
        click.echo(findings.as_json(found))
    else:
        _show(findings.rows(found))
    return SOUND if found.is_sound else UNSOUND


def _show(rows: "list[Row]") -> None:
    from rlm_mcp.cli import findings

    if sys.stdout.isatty():
        findings.show(rows)
    else:
        click.echo(findings.as_text(rows))


def _show_measured(settings: Settings, *, as_json: bool) -> None:
    profiles = anyio.run(_measure, settings)
    from rlm_mcp.cli import measured

    if as_json:
        click.echo(measured.as_json(profiles))
    else:
        _show([row for each in profiles for row in measured.rows(each, settings.context_window)])


async def _measure(settings: Settings) -> "tuple[ModelProfile, ...]":
    from rlm_mcp.llm.models import Models

    home = settings.home.expanduser()
    if problem := await anyio.to_thread.run_sync(_write_problem, home):
        raise SettingsInvalid(
            f"{home} cannot be written: {problem}.",
            "Make it writable, or set RLM_HOME to another folder.",
        )
    async with Models(settings) as models:
        await models.resolve()
        click.echo(ASKING, err=True)
        return await models.measure()


async def _look(settings: Settings) -> "Findings":
    from rlm_mcp.cli.findings import Findings
    from rlm_mcp.repl.survey import survey, taken, text_is_mapped

    home = settings.home.expanduser()
    problem = await anyio.to_thread.run_sync(_write_problem, home)
    with tempfile.TemporaryDirectory() as elsewhere:
        cache = Path(elsewhere) if problem else home / "cache"
        boxes = await survey(cache, settings.sandbox, settings.limits)
    return Findings(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        text_is_mapped=await text_is_mapped(),
        home=home,
        home_problem=problem,
        asked=settings.sandbox,
        taken=taken(boxes, settings.sandbox),
        boxes=boxes,
        model=await _model(settings),
    )


def _write_problem(home: Path) -> str | None:
    """Why nothing can be written to the data folder, None if it can be."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            return None
    except OSError as error:
        return error.strerror or str(error)


async def _model(settings: Settings) -> "FoundModel":
    from rlm_mcp.cli.findings import FoundModel
    from rlm_mcp.llm.client import RemoteModel
    from rlm_mcp.llm.models import Models

    try:
        with anyio.fail_after(MODEL_S):
            async with Models(settings) as models:
                root = (await models.resolve()).root
                profile = await models.kept(root)
    except EndpointError as error:
        return FoundModel(url=error.url, reason=error.message, hint=error.hint)
    except TimeoutError:
        return FoundModel(
            reason=f"no answer within {MODEL_S:.0f} s", hint="See whether the server is up."
        )
    assert isinstance(root, RemoteModel)
    age_s = None if profile is None else profile.age_s()
    return FoundModel(root.url, root.name, root.window_tokens, root.slots, measured_s_ago=age_s)
