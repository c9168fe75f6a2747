"""Runs to make pages of: events with times, and a page taken apart."""

import json
from datetime import UTC, datetime, timedelta

from rlm_mcp.events import (
    CallEnded,
    CallStarted,
    CellEnded,
    CellStarted,
    Note,
    RunEnded,
    RunStarted,
    TurnStarted,
)
from rlm_mcp.runs.journal import Recorded, RunRow
from rlm_mcp.types import Budget, Usage

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ESC, BIDI, LINE_END, LONE = "\x1b", "\u202e", "\u2028", "\ud800"
HOSTILE = (
    "</script><script>window.ran = 1</script><!-- <img src=x onerror='window.ran = 1'>"
    f" &lt;b&gt; {LINE_END} {ESC}[31mred {BIDI}txt.exe @RECORD@ @SCRIPT_HASH@"
)


def row(query="How many?", phase="done"):
    began = BEGAN.isoformat(timespec="milliseconds")
    return RunRow("run_1", "ses", query, "big", "small", began, None, phase, 1)


def recorded(timed):
    """Pairs of milliseconds and event as the journal gives them."""
    for seq, (at, event) in enumerate(timed, 1):
        time = BEGAN + timedelta(milliseconds=at)
        yield Recorded(seq, time.isoformat(timespec="milliseconds"), event)


def fan_out(calls, lanes):
    """A run whose code asks `calls` questions, `lanes` at once; every hundredth fails."""
    subs = Usage(calls, 900 * calls, 100 * calls, None, 0, 0.001 * calls, calls)
    used = Usage(1, 900, 100, None, 0, 0.001, 1.0)
    yield 0, RunStarted("", "How many?", "ses", (), "big", "small", Budget())
    yield 0, TurnStarted("", 1)
    yield 0, CallStarted("", "r1", 1, "root", "big", "Go on.", 6)
    yield 1000, CallEnded("", "r1", 1, "root", "big", "ok", "I ask.", 6, 0, used)
    yield 1000, CellStarted("", "c1", 1, "# first\nasked = llm_query_batched(pieces)")
    for first in range(0, calls, lanes):
        at = 1000 + 10 * first
        numbers = range(first, min(first + lanes, calls))
        for n in numbers:
            prompt = f"Is piece {n} odd? " + "x" * 500
            yield at, CallStarted("", f"s{n}", 1, "sub", "small", prompt, len(prompt), calls)
        for n in numbers:
            outcome = "failed" if n % 100 == 99 else "ok"
            reply = f"reply {n}: " + "y" * 300
            yield (
                at + 9 * lanes,
                CallEnded("", f"s{n}", 1, "sub", "small", outcome, reply, 300, 0, used, "503"),
            )
    end = 1000 + 10 * (calls + lanes)
    yield end, CellEnded("", "c1", 1, "ok", "4 of them", 9, None, end / 1000)
    yield end, Note("", "A note on the way.")
    yield end, RunEnded("", "answer", "Four.", (), used, subs, 1, end / 1000)


def record_of(page):
    """What a page has in it of its run."""
    _, _, rest = page.partition('<script id="record" type="application/json">')
    return json.loads(rest.partition("</script>")[0])
