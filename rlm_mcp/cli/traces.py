"""`rlm-mcp traces`: the runs in the journal, and what happened in one of them."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any, get_args

import anyio
import click

from rlm_mcp.cli.view import open_view
from rlm_mcp.settings import Settings
from rlm_mcp.types import Detail

if TYPE_CHECKING:
    from rlm_mcp.runs.costs import Costs
    from rlm_mcp.runs.journal import RunRow
    from rlm_mcp.runs.trace import Trace

QUERY_CHARS = 60


@click.group(invoke_without_command=True)
@click.option("-n", "limit", default=20, show_default=True, help="How many runs, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def traces(context: click.Context, *, limit: int, as_json: bool) -> None:
    """List the newest runs; `traces show RUN` shows one."""
    if context.invoked_subcommand is not None:
        return
    rows = anyio.run(_rows, limit)
    if as_json:
        click.echo(json.dumps([_record(run, costs) for run, costs in rows], indent=2))
    elif not rows:
        click.echo('No runs yet. Ask something: rlm-mcp ask PATH... "question"')
    for run, costs in [] if as_json else rows:
        click.echo(_line(run, costs))


@traces.command()
@click.argument("run")
@click.option("--page", default=1, show_default=True, help="Page of the trace.")
@click.option(
    "--detail",
    type=click.Choice(get_args(Detail)),
    default="turns",
    show_default=True,
    help="turns: sub-calls as sums. calls: each one. full: less is cut. answer: the answer alone.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(run: str, *, page: int, detail: Detail, as_json: bool) -> None:
    """Show what happened in RUN: code, output, calls, answer."""
    trace = anyio.run(_trace, run, page, detail)
    click.echo(json.dumps(dataclasses.asdict(trace), indent=2) if as_json else trace.text())
    if page < trace.pages and not as_json:
        click.echo(f"\nNext: rlm-mcp traces show {run} --page {page + 1}", err=True)


traces.add_command(open_view)


async def _rows(limit: int) -> list[tuple["RunRow", "Costs"]]:
    from rlm_mcp.service import open_service

    async with open_service(Settings.load()) as service:
        runs = await service.journal.runs(limit)
        return [(run, await service.costs("run", run.id)) for run in runs]


async def _trace(run: str, page: int, detail: Detail) -> "Trace":
    from rlm_mcp.service import open_service

    async with open_service(Settings.load()) as service:
        return await service.trace(run, page, detail)


def _line(run: "RunRow", costs: "Costs") -> str:
    from rlm_mcp.cli.report import bill

    query = " ".join(run.query.split())
    if len(query) > QUERY_CHARS:
        query = query[: QUERY_CHARS - 1] + "…"
    began = run.started[:16].replace("T", " ")
    return f"{run.id}  {began}  {run.phase:<7}  {query}\n{'':6}{bill(costs.total.usage)}"


def _record(run: "RunRow", costs: "Costs") -> dict[str, Any]:
    usage = {"root": costs.root, "sub": costs.sub, "total": costs.total}
    return dataclasses.asdict(run) | {
        "usage": {role: dataclasses.asdict(spent) for role, spent in usage.items()},
        "cost": costs.total.usage.cost,
    }
