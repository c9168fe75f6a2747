"""The journal's file: its owner's alone, and open to who reads while others write."""

import os
import sqlite3
import stat
from contextlib import closing

import anyio
import pytest

from rlm_mcp.runs.journal import FILE, Journal
from rlm_mcp.service import open_service
from rlm_mcp.settings import Settings

pytestmark = pytest.mark.anyio

OTHERS = stat.S_IRWXG | stat.S_IRWXO
on_posix = pytest.mark.skipif(os.name != "posix", reason="a mode tells nothing there")


@pytest.fixture
def home(tmp_path):
    """A data folder that everybody may look into, as new files may be read by everybody."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    mask = os.umask(0o022)
    yield folder
    os.umask(mask)


def exposed(home):
    """What others may open, of all that stands in the folder itself."""
    return {each.name for each in home.iterdir() if each.stat().st_mode & OTHERS}


@on_posix
async def test_nobody_else_reads_it_whatever_folder_it_lies_in(home):
    async with open_service(Settings.load({}, home=home)) as service:
        session = await service.new_session()
        await service.load(session, (), text="what is said in confidence")
        beside = {each.name for each in home.iterdir()}
        assert {FILE, f"{FILE}-wal", f"{FILE}-shm", "contexts"} <= beside
        assert exposed(home) == set()


@on_posix
async def test_one_of_before_is_closed_to_others_with_what_lies_beside_it(home):
    async with Journal.open(home / FILE):
        (home / "contexts").mkdir()
        for each in home.iterdir():
            each.chmod(0o755)
        async with open_service(Settings.load({}, home=home)) as service:
            session = await service.new_session()
            await service.load(session, (), text="some text")
            assert exposed(home) == set()


async def test_who_reads_waits_for_nobody_who_writes(tmp_path):
    async with Journal.open(tmp_path / FILE) as journal:
        await journal.claim("ses")
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE sessions SET epoch = 7")
        with anyio.fail_after(5):
            async with Journal.open(tmp_path / FILE) as journal:
                assert await journal.runs() == []
                assert await journal.has_session("ses")
