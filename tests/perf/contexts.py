"""What a loaded text costs in the REPL: until it is there, to search it, and for a second session.

Usage: python tests/perf/contexts.py [--mb 256] [--box linux] [KIND ...]

A KIND is ascii, latin1, ucs2 (Cyrillic) or ucs4 (emoji). The searches are measured in the guest
against a copy of the text's beginning that is resident there, at the same cost per character.
The text's own pages are the file's, in the system's cache once for all sessions.
"""

import argparse
import ast
import contextlib
import itertools
import os
import tempfile
import time
from pathlib import Path

import anyio

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Cell, ReplLimits, ReplSpec

LINES = {
    "ascii": "2026-01-02 03:04:05,678 INFO [svc-3] request id={0} took 12ms, user=bob\n",
    "latin1": "2026-01-02 03:04:05,678 INFO [svc-3] request id={0} took 12ms, user=José\n",
    "ucs2": "Пользователь Борис прочитал страницу {0} и остался доволен ею\n",
    "ucs4": "🙂🚀 {0} 🎉🎈🎁🎂 🍏🍎🍐🍊🍋🍌🍉🍇🍓🍈🍒🍑🍍 🥝🥑🥦\n",
}
RESIDENT_CHARS = 256 << 20
TARGET_MS, TARGET_RATIO, TARGET_MB = 20, 1.3, 5
SEARCHES = """
import re, time
def best(search, text):
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        search(text)
        spent.append(time.perf_counter() - began)
    return min(spent) / len(text)
resident = context[:{most}] + "."
print({{
    name: (best(search, context), best(search, resident))
    for name, search in {{
        "in": lambda text: "NEEDLE" in text,
        "count": lambda text: text.count("\\n"),
        "re.search": lambda text: re.search("NEEDLE", text),
    }}.items()
}})
del resident
"""


class Session:
    """One back end's handles, each cell run to its end."""

    def __init__(self, backend, most_bytes):
        self.backend, self.ids = backend, itertools.count()
        self.limits = ReplLimits(memory_bytes=most_bytes, cell_s=600)

    async def open(self, handle, *contexts):
        await self.backend.open(ReplSpec(handle, 1, contexts, self.limits))

    async def run(self, handle, code):
        cell = f"cell-{next(self.ids)}"
        cursor = await self.backend.submit(handle, 1, Cell(cell, code))
        batch = await self.backend.pump(handle, cell, cursor, (), wait_s=600)
        result = batch.events[-1].result
        if result.status != "ok":
            raise RuntimeError(result.error)
        return result.output


def write_source(path, line, size_bytes):
    block = "".join(line.format(n * 7919) for n in range(20_000)).encode("utf-8")
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(block)


def anonymous_mb():
    """Megabytes that this process and those it started, and so on, have of their own.

    The copies that guests leave before a cell share theirs: they are counted, so this is too much.
    """
    pending, found = [os.getpid()], 0
    while pending:
        place = Path(f"/proc/{pending.pop()}")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in (place / "status").read_text(encoding="ascii").splitlines():
                name, _, size = line.partition(":")
                found += int(size.split()[0]) if name == "RssAnon" else 0
            for task in (place / "task").iterdir():
                pending += map(int, (task / "children").read_text(encoding="ascii").split())
    return found / 1024


async def measure(kind, size_bytes, box, folder):
    source = folder / "source"
    write_source(source, LINES[kind], size_bytes)
    began = time.perf_counter()
    info = await load(ContextStore(folder / "home"), [str(source)])
    ingest_s = time.perf_counter() - began
    source.unlink()
    blob_bytes = info.blob.stat().st_size
    print(
        f"{kind} ({info.kind}): loaded {size_bytes / ingest_s / 1e6:,.0f} MB/s,"
        f" {blob_bytes / info.bytes:.2f} bytes on disk per byte of the source",
        flush=True,
    )
    most_bytes = 2 * RESIDENT_CHARS * info.kind.width + (512 << 20)
    async with LocalBackend(folder / "cache", box) as backend:
        session = Session(backend, most_bytes)
        for handle in ("first", "second"):
            await session.open(handle)
            await session.run(handle, "1")
        began = time.perf_counter()
        await session.open("first", info)
        await session.run("first", "len(context)")
        visible_ms = (time.perf_counter() - began) * 1e3
        print(f"  visible {visible_ms:21.1f} ms     {visible_ms / TARGET_MS:5.2f} x target")
        ratios = ast.literal_eval(await session.run("first", SEARCHES.format(most=RESIDENT_CHARS)))
        for name, (mapped_s, resident_s) in ratios.items():
            ratio, speed = mapped_s / resident_s, 1e-6 / mapped_s
            print(
                f"  {name:12} {ratio:16.2f} x resident {ratio / TARGET_RATIO:4.2f} x target"
                f" {speed:9,.0f} million characters/s"
            )
        before_mb = anonymous_mb()
        await session.open("second", info)
        await session.run("second", "'NEEDLE' in context")
        second_mb = anonymous_mb() - before_mb
        print(f"  second session {second_mb:14.1f} MB     {second_mb / TARGET_MB:5.2f} x target")


async def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mb", type=int, default=256)
    options.add_argument("--box", default="linux")
    options.add_argument("kinds", nargs="*", default=list(LINES), metavar="KIND")
    given = options.parse_args()
    for kind in given.kinds:
        with tempfile.TemporaryDirectory() as folder:
            await measure(kind, given.mb << 20, given.box, Path(folder))


if __name__ == "__main__":
    anyio.run(main)
