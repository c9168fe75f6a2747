"""What a page of a long run's trace costs, and how long the event loop is held up meanwhile.

python tests/perf/trace_page.py [CALLS]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio

from rlm_mcp.events import CallEnded, CallStarted, CellEnded, RunEnded, RunStarted, TurnStarted
from rlm_mcp.runs.journal import Journal
from rlm_mcp.runs.trace import trace
from rlm_mcp.types import Budget, Usage

PAGES = 5
TICK_S = 0.001


async def record(journal: Journal, calls: int) -> None:
    sink = journal.sink("run", "ses", await journal.claim("ses"))
    sink.emit(RunStarted("", "q", "ses", (), "m", "m", Budget()))
    sink.emit(TurnStarted("", 1))
    used = Usage(1, 900, 100, None, 0, None, 1.0)
    for number in range(calls):
        sink.emit(CallStarted("", f"s{number}", 1, "sub", "m", "p" * 600, 600, calls))
        sink.emit(CallEnded("", f"s{number}", 1, "sub", "m", "ok", "r" * 400, 400, 0, used))
    sink.emit(CellEnded("", "c1", 1, "ok", "", 0, None, 1.0))
    sink.emit(RunEnded("", "answer", "yes", (), used, used, 1, 1.0))
    await sink.written()


async def longest_stall(stalls: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await anyio.sleep(TICK_S)
        stalls.append(time.perf_counter() - began - TICK_S)


async def main(calls: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        async with Journal.open(Path(home, "journal.sqlite3")) as journal:
            await record(journal, calls)
            for detail in ("turns", "calls", "answer"):
                stalls: list[float] = []
                seconds = []
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(longest_stall, stalls)
                    for _ in range(PAGES):
                        began = time.perf_counter()
                        await trace(journal, "run", 1, detail)
                        seconds.append(time.perf_counter() - began)
                    tasks.cancel_scope.cancel()
                page = statistics.median(seconds) * 1000
                print(
                    f"{calls:,} calls, {detail:6}: page {page:7.1f} ms,"
                    f" longest stall {max(stalls) * 1000:6.1f} ms ({max(stalls) * 1000 / page:.2f})"
                )


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
