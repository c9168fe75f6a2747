"""The status line that progress, terminal and callers share."""

import re
from dataclasses import replace

import pytest

from rlm_mcp.events import (
    CallEnded,
    CallRetried,
    CallStarted,
    CellEnded,
    CellStarted,
    Note,
    RunEnded,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.runs.status import LINE_CHARS, RunStatus
from rlm_mcp.types import Budget, Usage

pytestmark = pytest.mark.anyio

STARTED = RunStarted("", "q", "ses", (), "qwen3:14b", "qwen3:14b", Budget(turns=20))


def call(name, role="sub", batch=1, node=""):
    return CallStarted(node, name, 1, role, "qwen3:14b", "p", 1, batch)


def ended(name, role="sub", cost=None, node=""):
    usage = Usage(1, 900, 200, None, 0, cost, 1.0)
    return CallEnded(node, name, 1, role, "qwen3:14b", "ok", "r", 1, 0, usage)


def cell_ended(node=""):
    return CellEnded(node, "c1", 1, "ok", "", 0, None, 0.1)


async def line_after(*events):
    status = RunStatus()
    for event in events:
        status.emit(event)
    return status.line()


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((), "turn 0 · starting · 0 calls · 0 tok"),
        (
            (STARTED, TurnStarted("", 3), call("r1", "root")),
            "turn 3/20 · waiting for qwen3:14b · 0 calls · 0 tok",
        ),
        (
            (STARTED, TurnStarted("", 1), CellStarted("", "c1", 1, "# count\nn = len(x)\n")),
            "turn 1/20 · running code: n = len(x) · 0 calls · 0 tok",
        ),
        (
            (STARTED, *[call(f"s{n}", batch=3) for n in (1, 2, 3)], ended("s2")),
            "turn 0/20 · asking 3 sub-questions, 1 done · 1 call · 1k tok",
        ),
        (
            (STARTED, call("s1", batch=3), ended("s1"), cell_ended(), call("r1", "root")),
            "turn 0/20 · waiting for qwen3:14b · 1 call · 1k tok",
        ),
        (
            (STARTED, call("s1", batch=3), cell_ended("1"), ended("r1", "root", node="1")),
            "turn 0/20 · code done · 1 call · 1k tok",
        ),
        (
            (
                STARTED,
                *[call(f"{n}.s1", batch=2, node=f"{n}") for n in (1, 2)],
                ended("1.s1", node="1"),
                ended("2.r1", "root", node="2"),
            ),
            "turn 0/20 · asking 4 sub-questions, 1 done · 2 calls · 2k tok",
        ),
        (
            (STARTED, call("r1", "root"), ended("r1", "root", cost=0.25)),
            "turn 0/20 · waiting for qwen3:14b · 1 call · 1k tok · $0.25",
        ),
        (
            (STARTED, call("r1"), CallRetried("", "r1", 1, "503 loading", 4.0)),
            "turn 0/20 · retrying in 4 s: 503 loading · 0 calls · 0 tok",
        ),
        (
            (STARTED, call("r1"), CallRetried("", "r1", 1, "Nothing answers", 4.0, lost=True)),
            "turn 0/20 · waiting for the endpoint, 0 s: Nothing answers · 0 calls · 0 tok",
        ),
        (
            (STARTED, call("r1"), CallRetried("", "r1", 1, "Nothing answers", 0.0, lost=True)),
            "turn 0/20 · retrying in 0 s: Nothing answers · 0 calls · 0 tok",
        ),
        (
            (
                STARTED,
                call("s1"),
                CallRetried("", "s1", 1, "Nothing answers", 4.0, lost=True),
                replace(ended("s1"), outcome="cancelled"),
                call("r2", "root"),
            ),
            "turn 0/20 · waiting for qwen3:14b · 1 call · 1k tok",
        ),
        (
            (
                STARTED,
                *[call(f"s{n}", batch=2) for n in (1, 2)],
                CallRetried("", "s1", 1, "Nothing answers", 4.0, lost=True),
                ended("s2"),
            ),
            "turn 0/20 · asking 2 sub-questions, 1 done · 1 call · 1k tok",
        ),
        (
            (STARTED, RunEnded("", "turns", "x", (), Usage(), Usage(), 20, 1.0)),
            "turn 0/20 · stopped by turns · 0 calls · 0 tok",
        ),
    ],
)
async def test_the_line_says_what_a_run_is_doing(events, said):
    line, _, seconds = (await line_after(*events)).rpartition(" · ")

    assert line.replace(", 1 s", "") == said  # an activity of a second says how long it takes
    assert re.fullmatch(r"\d+ s", seconds)


async def test_the_line_is_never_longer_than_a_hundred_characters():
    line = await line_after(STARTED, Note("", "a long note " * 50))

    assert len(line) == LINE_CHARS
    assert "…" in line
