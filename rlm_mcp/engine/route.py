"""Which way a question is asked: a short text in one prompt, any other by the loop.

Within a model's window a plain call does as well or better and costs one call (arXiv 2512.24601,
section 4: below some 2^14 tokens; likewise 2603.15653 and 2603.02615).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rlm_mcp.conduct import Plan, Strategy, Way
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.types import Budget, ContextInfo

DIRECT_TOKENS = 16_384
DIRECT_SHARE = 0.4
# Numbers in front of lines, and an estimate that may be too low.
SLACK = 1.3
# Where no window is known.
MOST_DIRECT_TOKENS = 1_000_000

PROMPT_TOKENS = 1_800
TURN_TOKENS = 700
LEAST_TURNS, MOST_TURNS = 3, 8
REPLY_TOKENS = 300
PIECE_SHARE = 0.5
PIECE_TOKENS = 3_000


@dataclass(frozen=True, slots=True)
class Route:
    """A way, and the reason for it in words."""

    way: Way = "rlm"
    why: str = ""


def route(
    strategy: Strategy,
    contexts: Sequence[ContextInfo],
    window_tokens: int | None,
    *,
    has_variables: bool,
) -> Route:
    """The way to ask about `contexts`. `has_variables`: the REPL holds what earlier runs found.

    Raises:
        ArgumentInvalid: the text cannot be asked about directly, as `strategy` wants.
    """
    tokens = sum(info.tokens_estimate for info in contexts)
    size = f"the text is about {tokens:,} tokens"
    if strategy == "rlm":
        return Route("rlm", "it was asked for")
    if strategy == "direct":
        most = MOST_DIRECT_TOKENS if window_tokens is None else window_tokens
        if tokens * SLACK > most:
            window = "one prompt holds" if window_tokens is None else "the model's window is"
            raise ArgumentInvalid(
                f"The text cannot be asked about directly: {size}, {window} {most:,}.",
                "Leave `strategy` out, or ask about less.",
            )
        return Route("direct", "it was asked for")
    if not contexts:
        return Route("rlm", "no text is loaded")
    if has_variables:
        return Route("rlm", "the REPL holds what earlier questions found")
    if window_tokens is None:
        return Route("rlm", "the model's window is not known")
    most = min(DIRECT_TOKENS, int(DIRECT_SHARE * window_tokens))
    if tokens > most:
        return Route("rlm", f"{size}, and at most {most:,} are asked about directly")
    return Route("direct", f"{size}, which fits the model's window of {window_tokens:,}")


def planned(
    way: Route, contexts: Sequence[ContextInfo], sub_window_tokens: int | None, budget: Budget
) -> Plan:
    """About what a way takes, within the budget."""
    tokens = sum(info.tokens_estimate for info in contexts)
    if way.way == "direct":
        once = round(tokens * SLACK) + REPLY_TOKENS
        return Plan(way.way, way.why, (1, 2), (once, 2 * once))
    piece = PIECE_TOKENS if sub_window_tokens is None else int(sub_window_tokens * PIECE_SHARE)
    pieces = -(-tokens // piece)
    calls = (LEAST_TURNS, MOST_TURNS + pieces)
    reading = tokens + pieces * REPLY_TOKENS
    spent = (_root_tokens(LEAST_TURNS), _root_tokens(MOST_TURNS) + reading)
    return Plan(way.way, way.why, _within(calls, budget.calls), _within(spent, budget.tokens))


def _root_tokens(turns: int) -> int:
    """Of the root model: each turn sends what came before again."""
    return turns * PROMPT_TOKENS + TURN_TOKENS * turns * (turns + 1) // 2


def _within(expected: tuple[int, int], limit: int | None) -> tuple[int, int]:
    least, most = expected
    return expected if limit is None else (min(least, limit), min(most, limit))
