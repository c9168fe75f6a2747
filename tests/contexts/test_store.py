"""The store on disk: what other processes, full disks and kills may see of it; reading from it."""

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.errors import ArgumentInvalid, StoreFailed, UnknownContext
from rlm_mcp.types import Document

pytestmark = pytest.mark.anyio

CHILD = """
import sys
from pathlib import Path
import anyio
from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore

home, *sources = sys.argv[1:]
store = ContextStore(Path(home))
"""


def started(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def output_of(code, *arguments):
    with started(code, *arguments) as child:
        printed, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    return printed


def names(home):
    return sorted(path.name for path in (home / "contexts").iterdir())


async def test_reading_by_offset_path_and_line(store, tree):
    long = "".join(f"line {number}\n" for number in range(1, 100_001))
    folder = tree({"a.txt": "één\r\ntwo", "b.log": long, "c": "", "d.txt": "\n\nthird"})
    info = await load(store, [str(folder)])
    whole = store.read(info, 0, info.chars)
    assert store.read(info, -5, 10**9) == whole
    assert store.read(info, 5, 5) == ""
    assert store.read(info, 600_000, 600_020) == whole[600_000:600_020]
    assert store.lines(info, "b.log", 1, 2) == "line 1\nline 2\n"
    assert store.lines(info, "b.log", 70_000, 70_001) == "line 70000\nline 70001\n"
    assert store.lines(info, "b.log", 100_000, 10**9) == "line 100000\n"
    assert store.lines(info, "b.log", 1, 10**9) == long
    assert store.lines(info, "b.log", 100_001, 10**9) == ""
    assert store.lines(info, "a.txt", 0, 1) == "één\r\n"
    assert store.lines(info, "d.txt", 2, 3) == "\nthird"
    assert store.lines(info, "c", 1, 1) == ""
    assert store.lines(info, "d.txt", 3, 2) == ""


async def test_an_offset_has_a_document_and_a_line(store, tree):
    info = await load(store, [str(tree({"a": "1\n2", "b": "", "c": "3\n\n4\n"}))])
    catalogue = store.catalogue(info.id)
    whole = store.read(info, 0, info.chars)
    places = {mark: catalogue.at(whole.index(mark)) for mark in "1234"}
    assert {mark: (place[0].path, place[1]) for mark, place in places.items()} == {
        "1": ("a", 1),
        "2": ("a", 2),
        "3": ("c", 1),
        "4": ("c", 3),
    }
    for path in "abc":
        document, line = catalogue.at(whole.index(f"=== {path} ==="))
        assert (document.path, line) == (path, 1)
    assert catalogue.at(-1) is None
    assert catalogue.at(info.chars) is None
    assert catalogue.find("a") == Document("a", 10, 3, 2, 3)
    assert catalogue.find("A") is None


async def test_a_document_that_is_not_there_names_the_nearest(store, tree):
    info = await load(store, [str(tree({"server.py": "x", "client.py": "y"}))])
    with pytest.raises(ArgumentInvalid, match=r"Did you mean server\.py"):
        store.lines(info, "sever.py", 1, 1)


async def test_a_second_store_finds_what_the_first_wrote(store, own_environment):
    info = await load(store, [], text="some text", name="notes")
    other = ContextStore(own_environment)
    assert other.get(info.id, name="notes") == info
    assert [each.name for each in other.list()] == [info.id]


@pytest.mark.parametrize("id", ["ctx_00000000000000000000", "../home", "", "nonsense"])
async def test_an_unknown_context_says_so(store, id):
    with pytest.raises(UnknownContext, match="load_context"):
        store.get(id)


async def test_an_unknown_context_names_the_nearest(store):
    info = await load(store, [], text="some text")
    with pytest.raises(UnknownContext, match=info.id):
        store.get(info.id[:-2])


@pytest.mark.parametrize("broken", ["blob", "manifest.json"])
async def test_a_damaged_context_is_named(store, own_environment, broken):
    info = await load(store, [], text="some text")
    (info.blob.parent / broken).write_bytes(b"{")
    with pytest.raises(StoreFailed, match=info.id):
        ContextStore(own_environment).get(info.id)


@pytest.mark.parametrize("broken", ["blob", "manifest.json"])
@pytest.mark.parametrize("as_file", [True, False])
async def test_loading_again_mends_a_damaged_context(store, own_environment, broken, as_file):
    # A file old enough to be recognised.
    file = Path(json.__file__)
    text = inspect.getsource(json)
    info = await load(store, [str(file)])
    other = await load(store, [], text="another")
    (info.blob.parent / broken).write_bytes(b"{")
    later = ContextStore(own_environment)
    assert later.list() == (later.get(other.id),)
    source = {"sources": [str(file)]} if as_file else {"sources": [], "text": {file.name: text}}
    again = await load(later, **source)
    assert again.id == info.id
    assert {each.id for each in later.list()} == {info.id, other.id}
    assert later.read(again, 0, again.chars) == text
    assert not [name for name in names(own_environment) if name.startswith(".")]


async def test_a_context_damaged_under_an_open_store_is_found_out(store):
    info = await load(store, [], text="some text")
    assert store.read(info, 0, 4) == "some"
    info.blob.write_bytes(b"")
    assert store.list() == ()


def test_a_load_beyond_the_memory_is_refused(own_environment):
    printed = output_of(
        """
import resource
from rlm_mcp.errors import SourceUnreadable
text = "a" * (200 << 20)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
try:
    anyio.run(lambda: load(store, [], text=text))
except SourceUnreadable as error:
    print(error.message)
""",
        own_environment,
    )
    assert "memory" in printed


async def test_an_edited_file_gives_a_new_id(store, tree):
    file = tree({"a.txt": "before"}) / "a.txt"
    first = await load(store, [str(file)])
    status = file.stat()
    file.write_text("after!", encoding="utf-8")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = await load(store, [str(file)])
    assert store.read(second, 0, 9) == "after!"
    assert second.id != first.id
    file.write_text("before", encoding="utf-8")
    assert (await load(store, [str(file)])).id == first.id


def test_an_unchanged_folder_is_not_read_again(own_environment):
    # Python's own files: they have stood there for more than the two seconds that are not trusted.
    package = Path(json.__file__).parent
    printed = output_of(
        """
opened = []
sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
first = anyio.run(load, store, sources)
count = sum(path.startswith(sources[0]) for path in opened)
opened.clear()
second = anyio.run(load, store, sources)
again = sum(path.startswith(sources[0]) for path in opened)
print(count >= first.documents > 3, again, first == second)
""",
        own_environment,
        package,
    )
    assert printed.split() == ["True", "0", "True"]


def test_two_processes_may_load_the_same_at_once(own_environment, tree):
    folder = tree({f"{number}.txt": f"{number} é\n" * 5000 for number in range(200)})
    code = "print('ready', flush=True)\ninput()\nprint(anyio.run(load, store, sources).id)\n"
    with (
        started(code, own_environment, folder) as one,
        started(code, own_environment, folder) as two,
    ):
        for child in (one, two):
            assert child.stdout.readline() == "ready\n"
        for child in (one, two):
            child.stdin.write("\n")
            child.stdin.flush()
        ids = {child.communicate(timeout=60)[0] for child in (one, two)}
    (printed,) = ids
    loaded = printed.strip()
    assert [name for name in names(own_environment) if name != "seen"] == [loaded]
    assert ContextStore(own_environment).get(loaded).documents == 200


def test_a_full_disk_leaves_nothing_behind(own_environment):
    printed = output_of(
        """
import resource
from rlm_mcp.errors import StoreFailed
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for text in ("a" * 5_000_000, "é" + "中" * 600_000):
    try:
        anyio.run(lambda: load(store, [], text=text))
    except StoreFailed as error:
        print(error.hint)
print(anyio.run(lambda: load(store, [], text="small")).chars)
""",
        own_environment,
    )
    assert printed.count("RLM_HOME") == 2
    assert printed.endswith("\n5\n")
    assert len(names(own_environment)) == 1


async def test_a_data_folder_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreFailed, match="RLM_HOME"):
        await load(ContextStore(tmp_path / "file"), [], text="text")


async def test_a_killed_load_is_invisible_and_swept_a_day_later(store, own_environment, tree):
    file = tree({"big.log": b"line\n" * 20_000_000}) / "big.log"
    code = """
def told(progress):
    print("loading", flush=True)
    input()

async def main():
    await load(store, sources, progress=told)

anyio.run(main)
"""
    with started(code, own_environment, file) as child:
        assert child.stdout.readline() == "loading\n"
        child.send_signal(signal.SIGKILL)
    (draft,) = names(own_environment)
    assert store.list() == ()
    kept = await load(store, [], text="today")
    assert names(own_environment) == [draft, kept.id]
    long_ago = time.time() - 100_000
    for path in (
        own_environment / "contexts" / draft / "blob",
        own_environment / "contexts" / draft,
    ):
        os.utime(path, (long_ago, long_ago))
    other = await load(store, [], text="tomorrow")
    assert names(own_environment) == sorted([kept.id, other.id])


def test_memory_does_not_grow_with_the_context(own_environment, tree):
    folder = tree({"small.log": b"line of a log\n" * 700_000})
    with (folder / "large.log").open("wb") as large:
        for _ in range(20):
            large.write(b"line of a log\n" * 700_000)
        large.write("wide at the very end: 🙂\n".encode())
    code = """
import resource
info = anyio.run(load, store, sources)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, info.chars)
"""
    used = {}
    for name in ("small.log", "large.log"):
        peak_kb, chars = map(int, output_of(code, own_environment, folder / name).split())
        used[name] = peak_kb
        assert chars >= 9_800_000
    assert used["large.log"] - used["small.log"] < 20_000
