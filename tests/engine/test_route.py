"""Which way a question is asked, and what that takes."""

from dataclasses import replace
from pathlib import Path

import pytest

from rlm_mcp.engine.route import DIRECT_TOKENS, Route, planned, route
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.types import Budget, ContextInfo, TextKind

NOWHERE = Path("nowhere")
WINDOW = 32_768


def text(tokens):
    chars = 4 * tokens
    return ContextInfo(
        "ctx_1", "text", 1, chars, chars, 9, tokens, (), TextKind.ASCII, NOWHERE, NOWHERE
    )


def way(*tokens, strategy="auto", window=WINDOW, has_variables=False):
    contexts = [text(each) for each in tokens]
    return route(strategy, contexts, window, has_variables=has_variables)


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (way(1000), "fits the model's window of 32,768"),
        (way(1000, 2000), "about 3,000 tokens"),
        (way(WINDOW, strategy="direct", window=None), "asked for"),
        (way(1000, strategy="direct", has_variables=True), "asked for"),
    ],
)
def test_a_text_that_fits_well_is_asked_about_directly(chosen, why):
    assert chosen.way == "direct"
    assert why in chosen.why


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (way(20_000), "at most 13,107"),
        (way(DIRECT_TOKENS + 1, window=1_000_000), f"at most {DIRECT_TOKENS:,}"),
        (way(9000, 9000), "about 18,000 tokens"),
        (way(1000, window=None), "not known"),
        (way(), "no text"),
        (way(1000, has_variables=True), "earlier questions"),
        (way(1000, strategy="rlm"), "asked for"),
    ],
)
def test_any_other_text_is_worked_on_by_code(chosen, why):
    assert chosen.way == "rlm"
    assert why in chosen.why


def test_a_text_that_cannot_fit_is_refused_if_it_is_to_be_asked_about_directly():
    with pytest.raises(ArgumentInvalid, match="window is 32,768"):
        way(40_000, strategy="direct")


def test_a_direct_question_is_planned_as_one_call_or_two():
    plan = planned(Route("direct", "it fits"), [text(1000)], WINDOW, Budget())

    assert (plan.way, plan.why, plan.calls) == ("direct", "it fits", (1, 2))
    assert 1000 < plan.tokens[0] < plan.tokens[1] < 4000


def test_a_plan_grows_with_the_text_and_stays_within_the_budget():
    small, large = (
        planned(Route(), [text(tokens)], WINDOW, Budget(calls=None))
        for tokens in (50_000, 5_000_000)
    )
    held = planned(Route(), [text(5_000_000)], WINDOW, Budget(calls=100, tokens=10_000))

    assert small.calls[0] == large.calls[0]  # searching costs the same
    assert small.calls[1] < large.calls[1]
    assert large.tokens[1] > 5_000_000
    assert held.calls[1] == 100
    assert held.tokens == (min(small.tokens[0], 10_000), 10_000)


def test_sub_models_of_a_small_window_take_more_calls():
    info = replace(text(1_000_000))

    wide, narrow = (planned(Route(), [info], window, Budget()) for window in (65_536, 4096))

    assert narrow.calls[1] > wide.calls[1]
