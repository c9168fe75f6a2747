"""Rotated logs: all parts of a log as one document, the oldest first."""

import gzip

import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.errors import SourceForbidden, SourceMissing, SourceUnreadable
from rlm_mcp.rules import LoadRules

pytestmark = pytest.mark.anyio


async def loaded(store, folder, name="app.log"):
    info = await load(store, [f"rotated:{folder}/{name}"])
    (document,) = store.catalogue(info.id).documents
    assert (info.name, document.path) == (name, name)
    return store.read(info, 0, info.chars)


@pytest.mark.parametrize(
    "parts",
    [
        ["app.log.10", "app.log.2", "app.log.1", "app.log"],
        ["app.log.3.gz", "app.log.2.gz", "app.log.1", "app.log"],
        ["app.log-20251230", "app.log-20260101.gz", "app.log-20260101-2", "app.log"],
        ["app.log.2025-12-31", "app.log.2026-01-01", "app.log.2026-01-01_12", "app.log"],
        ["app.log-202512", "app.log.7", "app.log"],
        ["app.log.2", "app.log.1"],
    ],
)
async def test_parts_come_oldest_first(store, tree, parts):
    lines = {name: f"{number}\n" for number, name in enumerate(parts)}
    packed = {
        name: gzip.compress(text.encode()) if name.endswith(".gz") else text
        for name, text in lines.items()
    }
    others = {"app.log.bak": "x", "app.logs": "x", "app.log.d/x": "x", "myapp.log.1": "x"}
    assert await loaded(store, tree(packed | others)) == "".join(lines.values())


async def test_without_asking_a_log_is_only_itself(store, tree):
    folder = tree({"app.log": "new\n", "app.log.1": "old\n"})
    info = await load(store, [f"{folder}/app.log"])
    assert store.read(info, 0, info.chars) == "new\n"


async def test_a_part_that_cannot_be_read_is_named(store, tree):
    folder = tree({"app.log": "new\n", "app.log.1.gz": b"no gzip"})
    with pytest.raises(SourceUnreadable, match=r"app\.log\.1\.gz is damaged"):
        await loaded(store, folder)


async def test_a_log_without_parts_is_missing(store, tree):
    with pytest.raises(SourceMissing, match="no part of"):
        await loaded(store, tree({"other.log": "x"}))


async def test_links_and_pipes_are_no_parts(store, tree, tmp_path):
    folder = tree({"app.log": "new\n"})
    (tmp_path / "secret").write_text("secret\n", encoding="utf-8")
    (folder / "app.log.1").symlink_to(tmp_path / "secret")
    assert await loaded(store, folder) == "new\n"


async def test_a_log_outside_the_roots_is_not_looked_at(store, tree, tmp_path):
    folder = tree({"app.log": "new\n"})
    rules = LoadRules(roots=(tmp_path / "other",))
    with pytest.raises(SourceForbidden):
        await load(store, [f"rotated:{folder}/app.log"], rules=rules)
