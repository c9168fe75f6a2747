"""Measures loading against a plain read of the same bytes in the same run.

python tests/perf/ingest.py [--mb 256] [--files 5000] [--rounds 3]
"""

import argparse
import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path

import anyio

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore

LINE = "2026-01-02 03:04:05,678 INFO [svc-{0}] request id={1} took 12ms, user={2}\n"
USERS = {"ascii": "bob", "latin1": "José", "ucs2": "Борис", "ucs4": "bob 🙂"}
CHUNK_BYTES = 1 << 20


def write_log(path, user, size_bytes):
    block = "".join(LINE.format(n % 20, n * 7919, user) for n in range(20_000)).encode("utf-8")
    with path.open("wb") as log:
        while log.tell() < size_bytes:
            log.write(block)


def write_tree(folder, count):
    text = Path(anyio.__file__).read_text(encoding="utf-8")
    for number in range(count):
        place = folder / f"package{number // 100}"
        place.mkdir(exist_ok=True)
        (place / f"module{number}.py").write_text(f"# {number}\n{text}", encoding="utf-8")


def read_plainly(path):
    with path.open("rb", buffering=0) as file:
        while file.read(CHUNK_BYTES):
            pass


def read_tree_plainly(folder):
    for parent, _, names in os.walk(folder):
        for name in names:
            with Path(parent, name).open("rb", buffering=0) as file:
                file.read()


def load_once(folder, source, *, again=False):
    """Seconds of wall and CPU for one load into a fresh store, or for the second into the same."""
    home = Path(tempfile.mkdtemp(dir=folder))
    store = ContextStore(home)
    if again:
        anyio.run(load, store, [str(source)])
    wall, cpu = time.perf_counter(), time.process_time()
    anyio.run(load, store, [str(source)])
    spent = time.perf_counter() - wall, time.process_time() - cpu
    shutil.rmtree(home)
    return spent


def timed(action):
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def best(action, rounds):
    return tuple(map(min, zip(*(action() for _ in range(rounds)), strict=True)))


def report(what, loaded, plain, amount, unit):
    print(
        f"{what:12} {amount / loaded[0]:9,.0f} {unit}/s wall"
        f"  {amount / loaded[1]:9,.0f} {unit}/s CPU  {loaded[0] / plain[0]:5.1f}x a plain read"
    )


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mb", type=int, default=256)
    options.add_argument("--files", type=int, default=5000)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for kind, user in USERS.items():
            log = folder / f"{kind}.log"
            write_log(log, user, given.mb << 20)
            plain = best(partial(timed, partial(read_plainly, log)), given.rounds)
            loaded = best(partial(load_once, folder, log), given.rounds)
            report(kind, loaded, plain, given.mb, "MB")
            log.unlink()
        tree = folder / "tree"
        tree.mkdir()
        write_tree(tree, given.files)
        time.sleep(2.1)  # files younger than 2 s are always read again
        plain = best(partial(timed, partial(read_tree_plainly, tree)), given.rounds)
        first = best(partial(load_once, folder, tree), given.rounds)
        report("tree", first, plain, given.files, "files")
        again = best(partial(load_once, folder, tree, again=True), given.rounds)
        report("tree again", again, plain, given.files, "files")


if __name__ == "__main__":
    main()
