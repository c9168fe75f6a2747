"""Measures loading against a plain read of the same bytes, and against `str(open().read())`.

Usage: python tests/perf/ingest.py [--mb 1024] [--files 100000] [--rounds 3] [KIND ...]

A KIND is ascii, latin1, ucs2 (Cyrillic), ucs4 (emoji) or tree. Every load is one of a fresh process
into a fresh store, from the system's cache; seconds are those of computing unless said otherwise.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

LINE = "2026-01-02 03:04:05,678 INFO [svc-{0}] request id={1} took 12ms, user={2}\n"
USERS = {"ascii": "bob", "latin1": "José", "ucs2": "Борис", "ucs4": "bob 🙂"}
FILE_BYTES = 10_000
TARGET_S_A_GB, TARGET_MB, TARGET_TREE, TARGET_RELOAD = 1.5, 64, 0.6, 0.05
CHILD = """
import os, resource, shutil, sys, time
from pathlib import Path
import anyio, orjson
from blake3 import blake3
from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore

def read_file(path):
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass

def plain(source):
    if os.path.isfile(source):
        return read_file(source)
    for parent, _, names in os.walk(source):
        for name in names:
            read_file(os.path.join(parent, name))

def text(source):
    with open(source, encoding="utf-8") as file:
        str(file.read())

def passes(source):
    # what a load must hand to C of each file: read, tell ASCII, hash, count lines, write
    with open(sys.argv[3], "wb", buffering=1 << 18) as blob:
        for parent, _, names in os.walk(source):
            for name in names:
                with open(os.path.join(parent, name), "rb", buffering=0) as file:
                    raw = file.read()
                raw.isascii(), blake3(raw).digest(), raw.count(b"\\n")
                blob.write(raw)

def looks(source):
    # what tells that a tree is unchanged, and what a new snapshot of it must copy
    for parent, _, names in os.walk(source):
        for name in names:
            os.lstat(os.path.join(parent, name))
    shutil.copyfile(sys.argv[4], sys.argv[3])

def loading(source):
    anyio.run(load, ContextStore(Path(sys.argv[3])), [source])

what, source = sys.argv[1:3]
anyio.run(anyio.sleep, 0)
action = {"plain": plain, "text": text, "load": loading, "passes": passes, "looks": looks}[what]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
wall, cpu = time.perf_counter(), time.process_time()
action(source)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(orjson.dumps({"wall": wall, "cpu": cpu, "mb": peak / 1024}).decode())
"""


def write_log(path, user, size_bytes):
    block = "".join(LINE.format(n % 20, n * 7919, user) for n in range(20_000)).encode("utf-8")
    with path.open("wb") as log:
        while log.tell() < size_bytes:
            log.write(block)


def write_tree(folder, count):
    line = "def function_{0}(first, second):\n    return first + second * {0}\n\n"
    for number in range(count):
        place = folder / f"package{number // 5000}" / f"part{number // 100}"
        place.mkdir(parents=True, exist_ok=True)
        text = "".join(line.format(number * 200 + n) for n in range(FILE_BYTES // 65))
        (place / f"module{number}.py").write_text(text, encoding="utf-8")


def child(what, source, home, *more):
    command = [sys.executable, "-c", CHILD, what, str(source), str(home), *map(str, more)]
    return orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def best(what, source, homes, rounds):
    """The least of each figure over the rounds; the last home stays as it was left."""
    runs = [child(what, source, homes / f"{what}{n}") for n in range(rounds)]
    return {key: min(run[key] for run in runs) for key in runs[0]}


def line(what, run, beside, more=""):
    print(
        f"  {what:20} {run['cpu']:7.2f} s  {run['wall']:7.2f} s wall  {run['mb']:7.1f} MB more "
        f" {run['cpu'] / beside['cpu']:6.2f} x plain read{more}",
        flush=True,
    )


def measure_text(kind, folder, given):
    log = folder / f"{kind}.log"
    write_log(log, USERS[kind], given.mb << 20)
    print(f"{kind}, {given.mb:,} MB")
    plain = best("plain", log, folder, given.rounds)
    line("plain read", plain, plain)
    line("str(open().read())", best("text", log, folder, given.rounds), plain)
    load = best("load", log, folder, given.rounds)
    s_a_gb = load["cpu"] * 1024 / given.mb
    more = f"  {s_a_gb / TARGET_S_A_GB:.2f} x target {TARGET_S_A_GB} s a GB"
    line("load", load, plain, f"{more}, {load['mb'] / TARGET_MB:.2f} x target {TARGET_MB} MB")


def measure_tree(folder, given):
    tree = folder / "tree"
    tree.mkdir()
    write_tree(tree, given.files)
    time.sleep(2.1)  # files younger than 2 s are always read again
    print(f"tree, {given.files:,} files of {FILE_BYTES:,} bytes")
    plain = best("plain", tree, folder, given.rounds)
    line("plain read", plain, plain)
    line("only its C calls", best("passes", tree, folder, given.rounds), plain)
    load = best("load", tree, folder, given.rounds)
    speed = plain["wall"] / load["wall"]
    line("load", load, plain, f"  {speed:.0%} of its speed, target {TARGET_TREE:.0%}")
    home = folder / f"load{given.rounds - 1}"
    line("unchanged", child("load", tree, home), plain)
    with next(tree.rglob("*.py")).open("a", encoding="utf-8") as changed:
        changed.write("more = 1\n")
    again = child("load", tree, home)
    share = again["wall"] / load["wall"]
    line("one file changed", again, plain, f"  {share:.0%} of a load, target {TARGET_RELOAD:.0%}")
    blob = next(home.rglob("blob"))
    floor = child("looks", tree, folder / "copy", blob)
    share = floor["wall"] / load["wall"]
    line("only stat and copy", floor, plain, f"  {share:.0%} of a load")


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--mb", type=int, default=1024)
    options.add_argument("--files", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("kinds", nargs="*", default=[*USERS, "tree"], metavar="KIND")
    given = options.parse_args()
    for kind in given.kinds:
        with tempfile.TemporaryDirectory() as folder:
            if kind == "tree":
                measure_tree(Path(folder), given)
            else:
                measure_text(kind, Path(folder), given)


if __name__ == "__main__":
    main()
