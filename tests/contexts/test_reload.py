"""Loading again: only what changed is read, and what changed is said."""

import os
from pathlib import Path

import pytest
from contents import contents

from rlm_mcp.contexts.loader import load
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.types import Changes, Skip

pytestmark = pytest.mark.anyio

LONG_AGO_S = 1_600_000_000


@pytest.fixture
def settle(monkeypatch):
    """Make files old: those younger than 2 s are always read again.

    A change of the inode cannot be dated back, so what the clock says is moved instead.
    """
    monkeypatch.setattr("rlm_mcp.contexts.loader.time.time_ns", lambda: 2**62)


@pytest.fixture
def opened(monkeypatch):
    """The names of the files that are opened to be read."""
    names = []
    real = os.open

    def noting(path, *rest, **more):
        if "tree" in Path(path).parts:
            names.append(Path(path).name)
        return real(path, *rest, **more)

    monkeypatch.setattr("rlm_mcp.contexts.sources.path.os.open", noting)
    return names


FILES = {
    "a.txt": "first\n",
    "b/empty": "",
    "b/open": "no newline",
    "b/z.bin": b"\0",
    "c.txt": "middle\n",
    "d.txt": "last",
}


async def test_only_what_changed_is_read_again(store, tree, settle, opened):
    folder = tree(FILES)
    first = await load(store, [str(folder)])
    opened.clear()
    (folder / "c.txt").write_text("another\n", encoding="utf-8")
    second = await load(store, [str(folder)])
    assert opened == ["c.txt"]
    assert second.changes == Changes(first.id, added=(), changed=("c.txt",), removed=())
    assert second.skipped == (Skip("b/z.bin", "binary"),)
    # To be told from one that was read from scratch by nothing.
    scratch = await load(ContextStore(store.recall._folder / "other"), [str(folder)])
    assert scratch.id == second.id
    assert scratch.blob.read_bytes() == second.blob.read_bytes()
    assert scratch.manifest.read_bytes() == second.manifest.read_bytes()


@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        ({"b/empty": "now text"}, {"changed": ("b/empty",)}),
        ({"a.txt": None}, {"removed": ("a.txt",)}),
        ({"0.txt": "new"}, {"added": ("0.txt",)}),
        ({"b/between": "new\n", "d.txt": None}, {"added": ("b/between",), "removed": ("d.txt",)}),
        ({"b/z.bin": "text now"}, {"added": ("b/z.bin",)}),
        ({"c.txt": b"\0"}, {"removed": ("c.txt",)}),
        ({"c.txt": "größer €"}, {"changed": ("c.txt",)}),
    ],
)
async def test_a_changed_folder_is_what_a_fresh_load_of_it_is(
    store, tree, settle, tmp_path, edit, changes
):
    folder = tree(FILES)
    first = await load(store, [str(folder)])
    for path, content in edit.items():
        (folder / path).unlink(missing_ok=True)
        if content is not None:
            tree({path: content})
    second = await load(store, [str(folder)])
    fresh = await load(ContextStore(tmp_path / "other"), [str(folder)])
    assert (second.id, second.kind, second.skipped) == (fresh.id, fresh.kind, fresh.skipped)
    assert contents(store, second) == contents(store, fresh)
    assert second.blob.read_bytes() == fresh.blob.read_bytes()
    nothing = {"added": (), "changed": (), "removed": ()}
    assert second.changes == Changes(first.id, **nothing | changes)
    back = await load(store, [str(folder)])
    assert (back.id, back.changes) == (second.id, None)


async def test_a_folder_whose_widest_file_went_becomes_narrow_again(store, tree, settle):
    folder = tree({"a": "plain", "b": "größer €", "c": "plain"})
    assert (await load(store, [str(folder)])).kind == "ucs2"
    (folder / "b").write_text("plain", encoding="utf-8")
    assert (await load(store, [str(folder)])).kind == "ascii"


async def test_a_file_touched_without_a_change_gives_the_same_snapshot(store, tree, settle, opened):
    folder = tree(FILES)
    first = await load(store, [str(folder)])
    os.utime(folder / "a.txt", (LONG_AGO_S, LONG_AGO_S))
    opened.clear()
    again = await load(store, [str(folder)])
    assert opened == ["a.txt"]
    assert (again.id, again.changes) == (first.id, None)


async def test_a_file_that_changed_just_now_is_always_read_again(store, tree, opened):
    folder = tree(FILES)
    await load(store, [str(folder)])
    opened.clear()
    await load(store, [str(folder)])
    assert "a.txt" in opened


async def test_a_remembered_snapshot_that_is_gone_is_loaded_anew(store, tree, settle):
    folder = tree(FILES)
    first = await load(store, [str(folder)])
    first.manifest.unlink()
    (folder / "c.txt").write_text("another\n", encoding="utf-8")
    second = await load(store, [str(folder)])
    assert contents(store, second)["c.txt"] == "another\n"


@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"id": 1}', b"[]"])
async def test_a_spoilt_memory_only_costs_time(store, tree, settle, spoilt):
    folder = tree(FILES)
    first = await load(store, [str(folder)])
    for file in store.recall._folder.iterdir():
        file.write_bytes(spoilt)
    again = await load(store, [str(folder)])
    assert again.id == first.id
