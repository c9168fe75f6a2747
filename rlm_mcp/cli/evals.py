"""`rlm-mcp eval`: generated texts and questions with known answers, scored."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import click

from rlm_mcp.cli.ask import model_options, sandbox_option
from rlm_mcp.cli.screen import show
from rlm_mcp.settings import Settings

if TYPE_CHECKING:
    from rlm_mcp.evals.items import Item
    from rlm_mcp.evals.running import Result

CHARS_PER_TOKEN = 3.6
LEAST_TOKENS, MOST_TOKENS = 1 << 10, 64 << 20
# A text this much shorter than asked is all that its family has.
SHORT = 0.8
INTERRUPTED = 130
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([km]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def _tokens(_: click.Context, __: click.Parameter, value: str) -> int:
    """The tokens that `4096`, `32k` or `1m` says; k and m are powers of 1024."""
    said = _SIZE.fullmatch(value.strip())
    tokens = float(said[1]) * _UNITS[said[2].lower()] if said else 0.0
    if not LEAST_TOKENS <= tokens <= MOST_TOKENS:
        raise click.BadParameter(f"{value!r} is no size from 1k to 64m, like 32k or 1m.")
    return round(tokens)


@click.command("eval", short_help="Score models on generated texts.")
@click.argument("family", required=False)
@click.option(
    "--size",
    callback=_tokens,
    default="32k",
    show_default=True,
    help="Size of the text in tokens: 4096, 32k or 1m (from 1k to 64m).",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Seed of the text; the same seed gives the same text.",
)
@click.option("--oracle", is_flag=True, help="Scripted models; the sub-model is always right.")
@click.option(
    "--noisy",
    type=click.FloatRange(0, 1),
    help="Scripted models whose sub-model is right with this probability, e.g. 0.9.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Ask the first so many questions only.")
@model_options
@sandbox_option
@click.option("--json", "as_json", is_flag=True, help="Print every item as JSON.")
def evaluate(
    family: str | None,
    *,
    size: int,
    seed: int,
    limit: int | None,
    as_json: bool,
    noisy: float | None,
    **others: Any,
) -> int:
    """Ask questions with known answers about a generated text, and score what comes back.

    Without a FAMILY: list the families. A variant follows a slash: oolong/lexical.

    With your own models up to 26 runs are made, each reading the text; --limit makes fewer. With
    --oracle or --noisy both models are scripted and cost nothing: what is measured is the engine.
    rlm-mcp traces shows each run.

    \b
    Columns, each but n and the counts a mean:
      ceiling       score of perfect work on what the sub-model says
      efficiency    score / ceiling
      lenient       the milder of two official scores
      floor         what an answer without work earns
      over floor    (score - floor) / (1 - floor)
      silent wrong  answers that are not right where nothing says so
      failed        runs without an answer
    """  # noqa: D301 - click knows a list by the character itself
    from rlm_mcp.evals import find

    if others.pop("oracle"):
        if noisy is not None:
            raise click.UsageError("--oracle and --noisy do not go together.")
        noisy = 1.0
    if family is None:
        _refuse_options()
        click.echo("\n".join(_listed(name) for name in find.names()))
        return 0
    from rlm_mcp.evals import report

    settings = Settings.load(None, **others)
    asked = find.family(family)
    click.echo("making the text", err=True)
    wanted = round(size * CHARS_PER_TOKEN)
    items = asked.items(wanted, seed)[:limit]
    chars = max((_chars(item.context) for item in items), default=0)
    tokens, is_all = round(chars / CHARS_PER_TOKEN), chars < SHORT * wanted
    setup = report.Setup(family, asked.about, chars, tokens, seed, noisy, is_all)
    done = _results(items, settings, noisy)
    if done:
        show((report.as_json if as_json else report.as_table)(setup, done))
    return 0 if len(done) == len(items) else INTERRUPTED


def _results(items: "Sequence[Item]", settings: Settings, accuracy: float | None) -> "list[Result]":
    """The results of all items; after Ctrl-C, of those that were done."""
    from rlm_mcp.evals.running import run

    done: list[Result] = []
    tell = _teller(len(items))

    def keep(result: "Result") -> None:
        done.append(result)
        tell(result)

    try:
        anyio.run(partial(run, items, settings, accuracy=accuracy, told=keep))
    except KeyboardInterrupt:
        click.echo(f"interrupted: {len(done)} of {len(items)} questions were asked", err=True)
    return done


def _refuse_options() -> None:
    """A family is wanted if anything else was said."""
    context = click.get_current_context()
    said = [name for name in context.params if _is_typed(context, name)]
    if said:
        raise click.UsageError("Say which FAMILY; `rlm-mcp eval` alone lists them.")


def _is_typed(context: click.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return name != "family" and source == click.core.ParameterSource.COMMANDLINE


def _listed(name: str) -> str:
    from rlm_mcp.evals.find import family

    found = family(name)
    variants = f" Variants: {', '.join(found.variants)}." if found.variants else ""
    return f"{name}: {found.about}{variants}"


def _chars(context: str | Mapping[str, str]) -> int:
    return len(context) if isinstance(context, str) else sum(map(len, context.values()))


def _teller(total: int) -> Callable[["Result"], None]:
    """Says on standard error what each result is; of what is not right, where to look."""
    done = 0

    def tell(result: "Result") -> None:
        nonlocal done
        done += 1
        of = "" if result.ceiling in {None, 1.0} else f" of {result.ceiling:.2f}"
        line = f"[{done}/{total}] {result.item.id} {result.score:.2f}{of} · {result.seconds:.1f} s"
        if result.error is not None:
            line += f" · failed: {result.error}"
        elif result.answer is not None and result.score < 1:
            line += f" · {result.answer.run_id}"
        show(line, err=True)

    return tell
