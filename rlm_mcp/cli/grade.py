"""`rlm-mcp grade`: whether a model can drive an RLM, and whether the engine stands bad models."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import anyio
import click

from rlm_mcp.cli import screen
from rlm_mcp.cli.ask import model_options, sandbox_option
from rlm_mcp.settings import Settings

if TYPE_CHECKING:
    from rlm_mcp.evals.driving import Advice, Drive
    from rlm_mcp.evals.grading import Verdict
    from rlm_mcp.evals.trials import Trial
    from rlm_mcp.llm.models import ModelPair

GOOD, BAD, INTERRUPTED = 0, 1, 130
# So many lines of progress for all policies, however many there are.
TOLD_TIMES = 20
LABEL_CHARS = 9
SKILL_CHARS = 24


@click.command(short_help="Test whether a model can drive an RLM.")
@model_options
@click.option(
    "--engine",
    is_flag=True,
    help="Grade rlm-mcp itself: scripted models with bad habits, no endpoint; takes two minutes.",
)
@click.option(
    "--policy",
    "wanted",
    multiple=True,
    help="With --engine: only policies with this in their name.",
)
@click.option("--verbose", is_flag=True, help="With --engine: list the policies that pass too.")
@sandbox_option
@click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON.")
def grade(
    *,
    engine: bool,
    wanted: tuple[str, ...],
    verbose: bool,
    as_json: bool,
    sandbox: str | None,
    **overrides: object,
) -> int:
    """Test whether a model can drive an RLM, with five small tasks whose answers are known.

    Each task runs as a query would, on your endpoint and with your settings; that takes a few
    minutes on a slow one. Then the slips it made, a verdict and the settings that suit it. Exit
    code: 0 if the model solved most tasks, 1 if not, 130 if interrupted.

    With --engine no model is needed: scripted ones with a bad habit are run through the engine,
    each once ignoring what it is told and once learning from it, and a few that behave well. Exit
    code: 0 if at least 96 % pass, none hangs or crashes, and no wrong answer goes without a
    warning.
    """
    if (wanted or verbose) and not engine:
        raise click.UsageError(f"{'--policy' if wanted else '--verbose'} goes with --engine.")
    try:
        if engine:
            return anyio.run(_engine, wanted, sandbox, as_json, verbose)
        from rlm_mcp.evals.running import FORCED

        settings = Settings.load(None, sandbox=sandbox, **FORCED, **overrides)
        return anyio.run(_model, settings, as_json)
    except KeyboardInterrupt:
        click.echo("interrupted: no verdict", err=True)
        return INTERRUPTED


async def _model(settings: Settings, as_json: bool) -> int:
    from rlm_mcp.evals import driving
    from rlm_mcp.evals.trials import TRIALS
    from rlm_mcp.service import open_service

    begun: list[Trial] = []

    def begin(trial: "Trial") -> None:
        begun.append(trial)
        click.echo(f"[{len(begun)}/{len(TRIALS)}] {trial.item.id}: {trial.skill}", err=True)

    def show(drive: "Drive") -> None:
        if not as_json:
            screen.show(_row(drive))

    async with open_service(settings) as service:
        models = await service.models.resolve()
        if not as_json:
            screen.show(_header(models))
        drives = await driving.drive(service, models, show, begin)
    words = driving.verdict(models.root.name, drives)
    advice = driving.advice(drives, models, settings)
    screen.show(_json(words, drives, advice) if as_json else _closing(words, advice))
    return GOOD if driving.can_drive(drives) else BAD


def _header(models: "ModelPair") -> str:
    window = models.root.window_tokens
    size = "window unknown" if window is None else f"window {window:,} tokens"
    sub = "" if models.sub is models.root else f" · sub-calls by {models.sub.name}"
    return f"{models.root.name} · {size} · {models.root.slots} at a time{sub}\n"


def _row(drive: "Drive") -> str:
    from rlm_mcp.cli.report import STOPPED
    from rlm_mcp.evals.slips import told
    from rlm_mcp.words import count

    outcome = "solved" if drive.solved else "NOT solved"
    took = f"{count(drive.turns, 'turn')}, {count(drive.calls, 'call')}, {drive.seconds:.1f} s"
    lines = [f"{drive.trial:<{LABEL_CHARS}}{drive.skill:<{SKILL_CHARS}}{outcome:<12}{took}"]
    if drive.slips:
        lines.append(told(drive.slips))
    if drive.error:
        lines.append(drive.error)
    elif not drive.solved and drive.stopped_by == "answer":
        lines.append(f"it answered {drive.answer[:60]!r}")
    elif not drive.solved and drive.stopped_by is not None:
        lines.append(STOPPED[drive.stopped_by])
    if not drive.solved and drive.run_id:
        lines.append(f"rlm-mcp traces show {drive.run_id}")
    return f"\n{'':<{LABEL_CHARS}}".join(lines)


def _closing(words: str, advice: Sequence["Advice"]) -> str:
    lines = ["", f"{'verdict':<{LABEL_CHARS}}{words}"]
    settings = [
        f"{each.name}: {each.why}" if each.value == "?" else f"{each.name}={each.value}  {each.why}"
        for each in advice
    ]
    for number, line in enumerate(settings or ["those you have will do"]):
        lines.append(f"{'' if number else 'settings':<{LABEL_CHARS}}{line}")
    return "\n".join(lines)


def _json(words: str, drives: Sequence["Drive"], advice: Sequence["Advice"]) -> str:
    record = {
        "verdict": words,
        "tasks": [asdict(drive) for drive in drives],
        "settings": [asdict(each) for each in advice],
    }
    return json.dumps(record, ensure_ascii=False, indent=2)


async def _engine(wanted: Sequence[str], sandbox: str | None, as_json: bool, verbose: bool) -> int:
    from rlm_mcp.evals import grading
    from rlm_mcp.evals.policies import controls, policies

    chosen = [
        policy
        for policy in (*controls(), *policies())
        if not wanted or any(name in policy.name for name in wanted)
    ]
    if not chosen:
        raise click.UsageError(f"No policy has {' or '.join(wanted)} in its name.")

    total = len(chosen) * len(grading.MODES)
    behaved = sum(policy in controls() for policy in chosen)
    if not as_json:
        click.echo(f"{len(chosen) - behaved} that misbehave, {behaved} that behave well")
    seen: list[Verdict] = []

    def show(verdict: "Verdict") -> None:
        seen.append(verdict)
        if not as_json and not verdict.passed:
            click.echo(f"{verdict.policy} ({verdict.mode}): {verdict.outcome}", err=True)
        if len(seen) % -(-total // TOLD_TIMES) == 0:
            click.echo(f"[{len(seen)}/{total}]", err=True)

    verdicts = await grading.grade(chosen, sandbox=sandbox, on_verdict=show)
    lines = grading.table(verdicts, whole=verbose)
    click.echo(grading.as_json(verdicts) if as_json else "\n".join(lines))
    return GOOD if grading.sums(verdicts).is_good else BAD
