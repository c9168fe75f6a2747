"""`rlm-mcp traces`: the runs in the journal, and what happened in one of them."""

import dataclasses
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import anyio
import click

from rlm_mcp.cli.replay import replay_run
from rlm_mcp.cli.screen import show as on_screen
from rlm_mcp.cli.view import open_view, page_of
from rlm_mcp.settings import Settings
from rlm_mcp.types import Detail
from rlm_mcp.words import count

if TYPE_CHECKING:
    from rlm_mcp.runs.costs import Costs
    from rlm_mcp.runs.journal import Journal, RunRow
    from rlm_mcp.runs.pages import Trace

LEAST_CHARS, QUERY_CHARS = 20, 60
EVERY = -1


@dataclasses.dataclass(frozen=True, slots=True)
class Listed:
    """A run as it is listed. `seconds` is None while it runs, or if it died."""

    run: "RunRow"
    status: str
    costs: "Costs"

    @property
    def seconds(self) -> float | None:
        """From its start to its end."""
        if self.run.ended is None:
            return None
        took = datetime.fromisoformat(self.run.ended) - datetime.fromisoformat(self.run.started)
        return took.total_seconds()


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Which part of a trace is wanted. `call` is "" for the messages of all calls."""

    page: int | None
    detail: Detail
    call: str | None

    @property
    def asked(self) -> tuple[Detail, str | None]:
        """The detail and the one call."""
        return (self.detail, None) if self.call is None else ("messages", self.call or None)

    @property
    def options(self) -> str:
        """The options that ask for it, but for the page."""
        if self.call is not None:
            return f" --messages {self.call}".rstrip()
        return "" if self.detail == "turns" else f" --detail {self.detail}"


def _listing(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("-n", "limit", default=20, show_default=True, help="How many, newest first."),
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@_listing
@click.pass_context
def traces(context: click.Context, *, limit: int, as_json: bool) -> None:
    """List the newest runs; `traces show RUN` shows one."""
    if context.invoked_subcommand is None:
        _list(limit, as_json=as_json)


@traces.command("list", short_help="List the newest runs.")
@_listing
def list_runs(*, limit: int, as_json: bool) -> None:
    """List the newest runs: id, start (UTC), status, question, calls, cost, time."""
    _list(limit, as_json=as_json)


@traces.command()
@click.argument("run")
@click.option("--page", type=int, help="Page of the trace; the first unless given.")
@click.option(
    "--detail",
    type=click.Choice(get_args(Detail)),
    default="turns",
    show_default=True,
    help="turns: sub-calls as sums. calls: each one. full: nothing cut but a long answer."
    " answer: the answer and its citations. messages: what calls sent and received, raw."
    " events: what programs draw.",
)
@click.option(
    "--messages",
    "call",
    is_flag=False,
    flag_value="",
    metavar="[CALL]",
    help="Print what calls sent and received, raw: of all, or of one, as r1 or s2.",
)
@click.option("--code", is_flag=True, help="Print the code alone, as a script.")
@click.option("--cost", is_flag=True, help="Print the bill alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: without --page, everything.")
def show(run: str, *, code: bool, cost: bool, as_json: bool, **wanted: Any) -> None:
    """Show what happened in RUN: code, output, calls, answer."""
    if code and (cost or as_json):
        raise click.UsageError("--code goes with neither --cost nor --json.")
    part = Part(**wanted)
    if code:
        on_screen(anyio.run(_script, run))
    elif cost:
        on_screen(anyio.run(_bill, run, as_json))
    elif as_json:
        on_screen(anyio.run(_page_json, run, part))
    else:
        trace = anyio.run(_trace, run, part)
        on_screen(trace.text())
        if trace.following is not None:
            more = f"--page {trace.following}{part.options}"
            click.echo(f"\nNext: rlm-mcp traces show {run} {more}", err=True)


@traces.command()
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="All older runs, too.",
)
def rm(runs: tuple[str, ...], *, days: float | None) -> None:
    """Remove runs for good. What they cost stays in the sums of their days."""
    if not runs and days is None:
        raise click.UsageError("Name the runs, or give --older-than DAYS.")
    click.echo(f"Removed {count(anyio.run(_remove, runs, days), 'run')}.")


traces.add_command(open_view)
traces.add_command(replay_run)


@asynccontextmanager
async def _journal() -> AsyncIterator["Journal"]:
    from rlm_mcp.runs.journal import FILE, Journal

    async with Journal.open(Settings.load().home.expanduser() / FILE) as journal:
        yield journal


def _list(limit: int, *, as_json: bool) -> None:
    rows = anyio.run(_rows, limit)
    if as_json:
        click.echo(json.dumps([_record(row) for row in rows], indent=2))
    elif not rows:
        click.echo('No runs yet. Ask something: rlm-mcp ask PATH... "question"')
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in [] if as_json else rows:
        on_screen(_line(row, width))


async def _rows(limit: int) -> list[Listed]:
    from rlm_mcp.runs.costs import costs

    async with _journal() as journal:
        at_work = await journal.at_work()
        return [
            Listed(
                run,
                "died" if run.phase == "running" and run.id not in at_work else run.phase,
                await costs(journal, "run", run.id),
            )
            for run in await journal.runs(limit)
        ]


async def _trace(run: str, part: Part) -> "Trace":
    from rlm_mcp.runs.trace import trace

    async with _journal() as journal:
        return await trace(journal, run, part.page or 1, *part.asked)


async def _page_json(run: str, part: Part) -> str:
    if part.page is None:
        return json.dumps(await _everything(run, part), indent=2)
    return json.dumps(dataclasses.asdict(await _trace(run, part)), indent=2)


async def _everything(run: str, part: Part) -> dict[str, Any]:
    """The steps of all pages, the bill, and every event as it was recorded."""
    from rlm_mcp.events import to_json
    from rlm_mcp.runs.costs import costs
    from rlm_mcp.runs.trace import whole_trace

    async with _journal() as journal:
        record = dataclasses.asdict(await whole_trace(journal, run, *part.asked))
        record["costs"] = dataclasses.asdict(await costs(journal, "run", run))
        record["events"] = [
            {"seq": row.seq, "at": row.at, **json.loads(to_json(row.event))}
            for row in await journal.events(run)
        ]
    return record


async def _script(run: str) -> str:
    from rlm_mcp.rerun import is_plain
    from rlm_mcp.runs.script import script

    async with _journal() as journal:
        return await script(journal, run, is_plain)


async def _bill(run: str, as_json: bool) -> str:
    from rlm_mcp.runs.costs import costs
    from rlm_mcp.server.results import CostsSummed
    from rlm_mcp.server.texts import costs_text

    async with _journal() as journal:
        summed = CostsSummed.of(await costs(journal, "run", run))
    return summed.model_dump_json(indent=2) if as_json else costs_text(summed)


async def _remove(named: tuple[str, ...], days: float | None) -> int:
    from rlm_mcp.runs.journal import FILE
    from rlm_mcp.runs.spare import give_spare_up

    home = Settings.load().home.expanduser()
    give_spare_up(home / FILE)
    async with _journal() as journal:
        runs = dict.fromkeys(named)
        if days is not None:
            before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
            at_work = await journal.at_work()
            old = [run.id for run in await journal.runs(EVERY) if run.started < before]
            runs |= dict.fromkeys(run for run in old if run not in at_work)
        await journal.remove(list(runs))
    for run in runs:
        page_of(home, run).unlink(missing_ok=True)
    return len(runs)


def _line(listed: Listed, width: int | None = None) -> str:
    """Two lines, the first cut to the width of the terminal if there is one."""
    from rlm_mcp.cli.report import bill

    run = listed.run
    began = run.started[:16].replace("T", " ")
    head = f"{run.id}  {began}  {listed.status:<7}  "
    room = QUERY_CHARS if width is None else max(LEAST_CHARS, width - len(head))
    query = " ".join(run.query.split())
    if len(query) > room:
        query = query[: room - 1] + "…"
    took = "" if listed.seconds is None else f" · {listed.seconds:.1f} s"
    spent = bill(listed.costs.total.usage) + took
    return f"{head}{query}\n{'':6}{spent}"


def _record(listed: Listed) -> dict[str, Any]:
    costs = listed.costs
    usage = {"root": costs.root, "sub": costs.sub, "total": costs.total}
    return dataclasses.asdict(listed.run) | {
        "status": listed.status,
        "calls": costs.total.usage.calls,
        "usage": {role: dataclasses.asdict(spent) for role, spent in usage.items()},
        "cost": costs.total.usage.cost,
        "seconds": listed.seconds,
    }
