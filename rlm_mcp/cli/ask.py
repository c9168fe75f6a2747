"""`rlm-mcp ask`: load, ask, and print the answer, with nothing else on standard output."""

import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, get_args

import anyio
import click

from rlm_mcp.cli.outcome import ANSWERED, printed, settled
from rlm_mcp.cli.screen import show
from rlm_mcp.conduct import Plan, Strategy
from rlm_mcp.settings import Settings
from rlm_mcp.types import Answer, ContextInfo

if TYPE_CHECKING:
    from rlm_mcp.cli.live import LiveLine
    from rlm_mcp.engine.session import Session
    from rlm_mcp.service import Service

STDIN = "-"
AT_LEAST_1 = click.IntRange(min=1)
MORE_THAN_0 = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, of which paths; `-` is standard input."""

    paths: tuple[str, ...]
    question: str


def sandbox_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that names a box, for commands that run model-written code."""
    return click.option(
        "--sandbox",
        type=click.Choice(get_args(Settings.model_fields["sandbox"].annotation)),
        help="`plain` runs model-written code with your rights.",
    )(command)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whom to ask, for commands that run on the user's own models."""
    for option in (
        click.option("--sub-model", help="Model that code asks; `auto` is the root's."),
        click.option("--model", help="Root model; `auto` takes the endpoint's first."),
        click.option(
            "--api-url", help="OpenAI-compatible endpoint, like http://localhost:8080/v1."
        ),
    ):
        command = option(command)
    return command


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how a run's end is printed; see `outcome.printed`."""
    for option in (
        click.option("-q", "--quiet", is_flag=True, help="Print the answer and nothing else."),
        click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("path", nargs=-1, required=True)
@click.argument("question")
@model_options
@click.option("--turns", "max_turns", type=AT_LEAST_1, help="Most turns of the root model.")
@click.option("--calls", "max_calls", type=AT_LEAST_1, help="Most model calls.")
@click.option("--tokens", "max_tokens", type=AT_LEAST_1, help="Most tokens, in and out.")
@click.option(
    "--cost",
    "max_cost",
    type=click.FloatRange(min=0),
    help="Highest cost, in the prices' currency.",
)
@click.option("--seconds", "max_seconds", type=MORE_THAN_0, help="Longest time.")
@click.option(
    "--depth",
    "max_depth",
    type=click.IntRange(1, 8),
    help="1: sub-calls. 2 and more: nested REPLs too.",
)
@sandbox_option
@click.option(
    "--strategy",
    type=click.Choice(get_args(Strategy)),
    help="`direct` puts the text into the prompt, `rlm` never does.",
)
@click.option("--estimate", is_flag=True, help="Tell what it would take, and do not ask.")
@output_options
def ask(
    path: tuple[str, ...],
    question: str,
    *,
    as_json: bool,
    quiet: bool,
    estimate: bool,
    **overrides: object,
) -> int:
    """Ask a question about files.

    Ask QUESTION about files, folders or globs; a PATH of - reads text from standard input.

    The answer goes to standard output, everything else to standard error. Exit code: 0 answered,
    1 failed, 2 wrong usage, 3 a budget was spent (the best answer so far is printed), 130
    interrupted (likewise).
    """
    if not question.strip():
        raise click.UsageError("QUESTION is empty.")
    # The person who types names what to load, not a model.
    settings = Settings.load(None, roots="*", **overrides)
    request = Request(path, question)
    if estimate:
        from rlm_mcp.cli import report

        plan = anyio.run(_plan, settings, request, quiet)
        show(json.dumps(asdict(plan)) if as_json else report.plan_text(plan))
        return ANSWERED
    answer, contexts = anyio.run(_answer, settings, request, quiet)
    return printed(answer, contexts, as_json=as_json, quiet=quiet)


async def _plan(settings: Settings, request: Request, quiet: bool) -> Plan:
    from rlm_mcp.service import Query

    async with _loaded(settings, request, quiet) as (service, session, _):
        return await service.plan(session, Query(request.question))


@asynccontextmanager
async def _loaded(
    settings: Settings, request: Request, quiet: bool
) -> AsyncIterator[tuple["Service", "Session", "LiveLine"]]:
    from rlm_mcp.cli.live import live_line
    from rlm_mcp.service import open_service

    async with open_service(settings) as service:
        with live_line(quiet=quiet) as line:
            line.say("looking for a model")
            service.models.say = line.say
            await service.models.resolve()  # a long load would be for nothing without one
            session = await service.new_session()
            await _load(service, session, request.paths, line)
            yield service, session, line


async def _answer(
    settings: Settings, request: Request, quiet: bool
) -> tuple[Answer, Sequence[ContextInfo]]:
    from rlm_mcp.service import Query

    async with _loaded(settings, request, quiet) as (service, session, line):
        job = await service.start(session, Query(request.question))
        return await settled(job, line.follow), session.contexts


async def _load(
    service: "Service", session: "Session", paths: Sequence[str], line: "LiveLine"
) -> None:
    files = [path for path in paths if path != STDIN]
    if files:
        await service.load(session, files, progress=line.loading)
    if STDIN in paths:
        text = await anyio.to_thread.run_sync(_read_stdin, abandon_on_cancel=True)
        await service.load(session, [], text=text, name="stdin")


def _read_stdin() -> str:
    from rlm_mcp.contexts.decode import Decoder

    raw = sys.stdin.buffer.read()
    _, utf8 = Decoder(raw).decode(raw, final=True)
    return utf8.decode("utf-8")
