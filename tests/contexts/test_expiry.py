"""Expiry: what is old or too much goes, what is cited or in use stays."""

import os
import time

import pytest

from rlm_mcp.contexts.loader import load
from rlm_mcp.rules import Keeping

pytestmark = pytest.mark.anyio

DAY_S = 24 * 3600
PLENTY = 1 << 40


@pytest.fixture
def aged(store):
    """A context of a text that was last used so many days ago."""

    async def make(text, days):
        info = await load(store, [], text=text)
        used_s = time.time() - days * DAY_S
        os.utime(info.blob.parent, (used_s, used_s))
        return info

    return make


def left(store):
    return {info.id for info in store.list()}


async def test_a_context_unused_for_too_long_goes(store, aged):
    old, new = await aged("old", 31), await aged("new", 29)
    assert store.expire((), Keeping(30, PLENTY)) == (old.id,)
    assert left(store) == {new.id}
    assert [path.name for path in new.blob.parents[1].iterdir()] == [new.id]


async def test_a_context_that_a_run_cites_stays(store, aged):
    old = await aged("old", 31)
    assert store.expire({old.id}, Keeping(30, 0)) == ()
    assert left(store) == {old.id}


async def test_beyond_the_room_the_longest_unused_go(store, aged):
    text = "x" * 10_000
    used = [await aged(f"{days}{text}", days) for days in (4, 2, 3)]
    assert store.expire((), Keeping(30, 25_000)) == (used[0].id,)
    assert left(store) == {used[1].id, used[2].id}


async def test_what_was_used_within_a_day_stays_whatever_its_size(store, aged):
    old, new = await aged("old", 2), await aged("new", 0.9)
    assert store.expire((), Keeping(30, 0)) == (old.id,)
    assert left(store) == {new.id}


@pytest.mark.parametrize("as_file", [True, False])
async def test_loading_again_is_a_use(store, tree, as_file):
    file = tree({"notes.txt": "some text"}) / "notes.txt"
    source = {"sources": [str(file)]} if as_file else {"sources": [], "text": "some text"}
    info = await load(store, **source)
    os.utime(info.blob.parent, (0, 0))
    await load(store, **source)
    assert store.expire((), Keeping(30, 0)) == ()


async def test_an_expired_source_is_loaded_anew(store, tree):
    file = tree({"notes.txt": "some text"}) / "notes.txt"
    info = await load(store, [str(file)])
    os.utime(info.blob.parent, (0, 0))
    assert store.expire((), Keeping(30, PLENTY)) == (info.id,)
    again = await load(store, [str(file)])
    assert (again.id, store.read(again, 0, 4)) == (info.id, "some")
