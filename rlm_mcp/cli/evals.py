"""`rlm-mcp eval`: generated texts and questions with known answers, scored."""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio
import click

from rlm_mcp.cli.ask import sandbox_option
from rlm_mcp.settings import Settings

if TYPE_CHECKING:
    from rlm_mcp.evals.running import Result

CHARS_PER_TOKEN = 3.6
LEAST_TOKENS = 1024
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([km]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def _tokens(_: click.Context, __: click.Parameter, value: str) -> int:
    """The tokens that `4096`, `32k` or `1m` says; k and m are powers of 1024."""
    said = _SIZE.fullmatch(value.strip())
    tokens = round(float(said[1]) * _UNITS[said[2].lower()]) if said else 0
    if tokens < LEAST_TOKENS:
        raise click.BadParameter(f"{value!r} is no size of 1k or more, like 32k or 1m.")
    return tokens


@click.command("eval")
@click.argument("family", required=False)
@click.option("--size", callback=_tokens, default="32k", show_default=True, help="Tokens of text.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Which text."
)
@click.option("--oracle", is_flag=True, help="Scripted models; the leaf knows all labels.")
@click.option(
    "--noisy", type=click.FloatRange(0, 1), help="The same, but right so often only, like 0.9."
)
@click.option("--limit", type=click.IntRange(min=1), help="Ask the first so many questions only.")
@click.option("--api-url", help="OpenAI-compatible endpoint, like http://localhost:8080/v1.")
@click.option("--model", help="Root model; `auto` takes the endpoint's first.")
@click.option("--sub-model", help="Model that code asks; `auto` is the root's.")
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
) -> None:
    """Ask questions with known answers about a generated text, and score what comes back.

    Without a FAMILY: list the families. A variant stands behind it, as in oolong/lexical.

    Your own models are asked, unless --oracle or --noisy plays them: then code and leaf are
    scripted, and what is measured is the engine. Each question is a run: rlm-mcp traces shows it.

    Columns: ceiling is the score of perfect work on what the leaf says; efficiency is score /
    ceiling; lenient is the milder of two official scores; floor is what an answer without work
    earns; silent wrong counts answers that are not right where nothing says so.
    """
    from rlm_mcp.evals import find

    if others.pop("oracle"):
        if noisy is not None:
            raise click.UsageError("--oracle and --noisy do not go together.")
        noisy = 1.0
    if family is None:
        click.echo("\n".join(_listed(name) for name in find.names()))
        return
    from rlm_mcp.evals import report
    from rlm_mcp.evals.running import run

    settings = Settings.load(None, **others)
    asked = find.family(family)
    items = asked.items(round(size * CHARS_PER_TOKEN), seed)[:limit]
    chars = max((_chars(item.context) for item in items), default=0)
    setup = report.Setup(family, asked.about, chars, size, seed, noisy)

    async def results() -> "list[Result]":
        return await run(items, settings, accuracy=noisy, told=_teller(len(items)))

    written = report.as_json if as_json else report.as_table
    click.echo(written(setup, anyio.run(results)))


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
        click.echo(line, err=True)

    return tell
