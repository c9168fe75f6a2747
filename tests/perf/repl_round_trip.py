"""What a REPL costs: cold start, an empty cell, a sub-call; beside a bare Python in the same run.

Usage: python tests/perf/repl_round_trip.py [box ...]
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import CallAsked, Cell, ReplLimits, ReplSpec, Reply, SubReply

STARTS, CELLS, CALLS = 15, 1000, 1000


def line(name: str, seconds: list[float], beside: float) -> None:
    ordered = sorted(seconds)
    median, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
    print(
        f"  {name:<22} median {median * 1e3:8.2f} ms   p99 {p99 * 1e3:8.2f} ms"
        f"   {median / beside:7.3f} x bare Python"
    )


def bare_python() -> float:
    """Seconds a bare interpreter takes to start and end."""
    spent = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


async def run(backend: LocalBackend, number: int, code: str) -> list[float]:
    """One cell; the times between its events."""
    began, between, replies = time.perf_counter(), [], []
    cursor = await backend.submit("h", 1, Cell(str(number), code))
    while True:
        batch = await backend.pump("h", str(number), cursor, replies, wait_s=30)
        between.append(time.perf_counter() - began)
        began, cursor = time.perf_counter(), batch.cursor
        if not isinstance(batch.events[-1], CallAsked):
            return between
        replies = [Reply(event.call_id, (SubReply("a"),)) for event in batch.events]


async def measure(box: str, cache: Path, beside: float) -> None:
    async with LocalBackend(cache, box) as backend:
        began = time.perf_counter()
        await backend.open(ReplSpec("first", 1, (), ReplLimits()))
        print(
            f"{box}: the first start, which compiles: {(time.perf_counter() - began) * 1e3:.0f} ms"
        )
        starts = []
        for number in range(STARTS):
            began = time.perf_counter()
            await backend.open(ReplSpec(f"h{number}", 1, (), ReplLimits()))
            starts.append(time.perf_counter() - began)
            await backend.close(f"h{number}")
        line("cold start", starts, beside)
        await backend.open(ReplSpec("h", 1, (), ReplLimits()))
        line("empty cell", [(await run(backend, n, "x = 1"))[0] for n in range(CELLS)], beside)
        asked = await run(backend, CELLS, f"for _ in range({CALLS}): llm_query('q')")
        line("llm_query", asked[1:], beside)


async def main() -> None:
    beside = bare_python()
    print(f"bare Python: {beside * 1e3:.1f} ms")
    with tempfile.TemporaryDirectory() as cache:
        for box in sys.argv[1:] or boxes.names():
            try:
                await measure(box, Path(cache), beside)
            except SandboxUnavailable as refusal:
                print(f"{box}: {refusal.message}")


if __name__ == "__main__":
    anyio.run(main)
