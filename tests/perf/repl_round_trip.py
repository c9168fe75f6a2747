"""What a REPL costs: starts, cells with and without a checkpoint, a restore; beside a bare Python.

Usage: python tests/perf/repl_round_trip.py [BOX ...]

Everything goes through the back end's five verbs. A guest leaves no checkpoint while its heap is
beyond what may be copied (a share of its limit of memory), so a small limit measures the round trip
without one. Each line ends with its share of the target, which is for a machine that does nothing
else: compare medians within one run.
"""

import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import CallAsked, Cell, CellResult, ReplLimits, ReplSpec, Reply, SubReply

STARTS, CELLS, CALLS, CRASHES = 15, 1000, 1000, 15
GB = 1 << 30
ROOMY = ReplLimits(memory_bytes=4 * GB)
CROWDED = ReplLimits(memory_bytes=128 << 20)
WARM_UP_S = 1.0
TARGET_MS = {
    "cold start": 150.0,
    "warm start": 20.0,
    "cell": 5.0,
    "cell, no checkpoint": 1.0,
}
CRASH = "import os\nos._exit(3)"


@dataclass(slots=True)
class Report:
    """Prints a line for each series of seconds."""

    beside: float
    medians: dict[str, float] = field(default_factory=dict)

    def line(self, name: str, seconds: list[float]) -> None:
        ordered = sorted(seconds)
        median, p99 = statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
        self.medians[name] = median
        target = TARGET_MS.get(name)
        share = f"   {median * 1e3 / target:5.2f} x target {target:g} ms" if target else ""
        print(
            f"  {name:<24} median {median * 1e3:8.2f} ms   p99 {p99 * 1e3:8.2f} ms"
            f"   {median / self.beside:7.3f} x bare Python{share}",
            flush=True,
        )

    def difference(self, name: str, more: str, less: str) -> None:
        if more in self.medians and less in self.medians:
            cost_ms = (self.medians[more] - self.medians[less]) * 1e3
            print(f"  {name:<24} {cost_ms:15.2f} ms   ({more} beyond {less})", flush=True)


class Bench:
    """One back end; cells of one handle, each to its end."""

    def __init__(self, backend: LocalBackend) -> None:
        self.backend = backend
        self._ids = (f"cell-{number}" for number in itertools.count())

    async def open(self, handle: str, limits: ReplLimits = ROOMY) -> None:
        await self.backend.open(ReplSpec(handle, 1, (), limits))

    async def run(self, handle: str, code: str) -> tuple[list[float], CellResult]:
        """The seconds between a cell's events, and how it ended."""
        cell, between, replies = next(self._ids), [], []
        began = time.perf_counter()
        cursor = await self.backend.submit(handle, 1, Cell(cell, code))
        while True:
            batch = await self.backend.pump(handle, cell, cursor, replies, wait_s=60)
            between.append(time.perf_counter() - began)
            began, cursor = time.perf_counter(), batch.cursor
            if not isinstance(batch.events[-1], CallAsked):
                return between, batch.events[-1].result
            replies = [Reply(event.call_id, (SubReply("a"),)) for event in batch.events]

    async def cells(self, handle: str, count: int) -> list[float]:
        return [sum((await self.run(handle, "x = 1"))[0]) for _ in range(count)]


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


def bare_python() -> float:
    """Seconds a bare interpreter takes to start and end."""
    spent = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


async def starts(box: str, cache: Path, report: Report) -> None:
    """Cold: the first REPL of a back end. Warm: the third, as from the second on guests wait."""
    cold, warm = [], []
    for _ in range(STARTS):
        async with LocalBackend(cache, box) as backend:
            bench = Bench(backend)
            cold.append(await seconds(lambda bench=bench: bench.open("first")))
            await bench.open("second")
            await anyio.sleep(WARM_UP_S)
            warm.append(await seconds(lambda bench=bench: bench.open("third")))
    report.line("cold start", cold)
    report.line("warm start", warm)


async def round_trips(bench: Bench, report: Report) -> None:
    await bench.open("h")
    report.line("cell", await bench.cells("h", CELLS))
    asked, _ = await bench.run("h", f"for _ in range({CALLS}): llm_query('q')")
    report.line("llm_query", asked[1:])
    await bench.open("crowded", CROWDED)
    await bench.run("crowded", f"held = b'x' * {100 << 20}")
    report.line("cell, no checkpoint", await bench.cells("crowded", CELLS))
    report.difference("a checkpoint", "cell", "cell, no checkpoint")
    await bench.backend.close("crowded")
    await bench.open("large")
    await bench.run("large", f"held = bytearray(b'x') * {GB}")
    report.line("cell, 1 GB of heap", await bench.cells("large", CELLS // 10))
    report.difference("its checkpoint", "cell, 1 GB of heap", "cell, no checkpoint")


async def restores(bench: Bench, handle: str, name: str, report: Report) -> None:
    """From the submission of a cell that ends its process to the end of the next one."""
    spent = []
    for number in range(CRASHES):
        await bench.run(handle, f"kept = {number}")

        async def crash_and_go_on(number: int = number) -> None:
            await bench.run(handle, CRASH)
            _, after = await bench.run(handle, "kept")
            if after.output.strip() != str(number):
                raise RuntimeError(f"{name}: the variables are not back: {after}")

        spent.append(await seconds(crash_and_go_on))
    report.line(name, spent)


async def measure(box: str, cache: Path, report: Report) -> None:
    async with LocalBackend(cache, box) as backend:
        bench = Bench(backend)
        compiling = await seconds(lambda: bench.open("compiles"))
        state = await backend.open(ReplSpec("compiles", 1, (), ROOMY))
        words = "with checkpoints" if state.checkpoints else "without checkpoints"
        print(f"{box}, {words}: the first start, which compiles: {compiling * 1e3:.0f} ms")
    await starts(box, cache, report)
    async with LocalBackend(cache, box) as backend:
        bench = Bench(backend)
        await round_trips(bench, report)
        await restores(bench, "h", "crash and next cell", report)
        await restores(bench, "large", "the same with 1 GB", report)


async def main() -> None:
    beside = bare_python()
    print(f"bare Python: {beside * 1e3:.1f} ms")
    with tempfile.TemporaryDirectory() as cache:
        for box in sys.argv[1:] or boxes.names():
            try:
                await measure(box, Path(cache), Report(beside))
            except SandboxUnavailable as refusal:
                print(f"{box}: {refusal.message}")


if __name__ == "__main__":
    anyio.run(main)
