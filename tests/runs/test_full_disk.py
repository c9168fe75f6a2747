"""On a disk without room runs can still be removed: some was kept for that."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from rlm_mcp.runs import spare
from rlm_mcp.runs.spare import AMPLE_BYTES, BYTES, NAME, give_spare_up, keep_spare
from rlm_mcp.runs.tables import connect

ALONE = ["unshare", "--user", "--map-root-user", "--mount"]
MOUNTED = 'mount -t tmpfs -o size=24m none "$1" && shift && exec "$@"'
# Fills the disk with runs and then to the last byte, and removes the runs.
CHILD = """
import os, sqlite3, sys
from contextlib import suppress
from pathlib import Path
from click.testing import CliRunner
from rlm_mcp.cli.traces import traces
from rlm_mcp.runs import spare, tables
from rlm_mcp.runs.journal import FILE

home = Path(sys.argv[1])
spare.AMPLE_BYTES = 0
def close(connections):
    for each in connections:
        each.close()
close(tables.connect(home / FILE))
with sqlite3.connect(home / FILE) as db:
    for number in range(4):
        run = f"run_{number}"
        row = (run, "ses", "why?", "m", "m", "2020-01-01T00:00:00.000+00:00", None, "done", 1)
        db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        for seq in range(300):
            record = "x" * 5000
            db.execute(tables.ADD_EVENT, (run, seq, "2020", "Note", "", record))
db.close()
close(tables.connect(home / FILE))
assert (home / spare.NAME).exists()
if sys.argv[2] == "not":
    (home / spare.NAME).unlink()
with suppress(OSError), open(home / "full", "ab", buffering=0) as file:
    while file.write(b"x" * 4096):
        pass
before = os.statvfs(home).f_bavail
os.environ["RLM_HOME"] = str(home)
spare.AMPLE_BYTES = 1 << 40
result = CliRunner().invoke(traces, ["rm", "--older-than", "1"])
print(before, (os.statvfs(home).f_bavail - before) >> 8, result.output, result.exception)
"""


def test_a_small_journal_keeps_none(tmp_path):
    for connection in connect(tmp_path / "journal"):
        connection.close()
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(("free", "kept"), [(AMPLE_BYTES, True), (AMPLE_BYTES - 1, False)])
def test_a_large_one_keeps_room_only_where_there_is_plenty(tmp_path, monkeypatch, free, kept):
    usage = type(shutil.disk_usage(tmp_path))(free, 0, free)
    monkeypatch.setattr(spare.shutil, "disk_usage", lambda _: usage)
    journal = tmp_path / "journal"
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("CREATE TABLE filler (bytes)")
        db.execute("INSERT INTO filler VALUES (?)", (b"x" * BYTES,))

    keep_spare(journal)

    assert (tmp_path / NAME).exists() is kept
    if kept:
        assert (tmp_path / NAME).stat().st_size == BYTES
    give_spare_up(journal)
    assert not (tmp_path / NAME).exists()


def may_mount(folder):
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    tried = subprocess.run([*ALONE, "sh", "-c", MOUNTED, "sh", folder, "true"], check=False)
    return tried.returncode == 0


@pytest.mark.parametrize("spared", ["kept", "not"])
def test_runs_are_removed_from_a_disk_without_a_byte_left(tmp_path, spared):
    if not may_mount(tmp_path):
        pytest.skip("no disk of its own can be had here")
    child = [sys.executable, "-c", CHILD, str(tmp_path), spared]
    command = [*ALONE, "sh", "-c", MOUNTED, "sh", str(tmp_path), *child]
    told = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )

    free, given_back, *words = told.stdout.split()
    assert free == "0", told.stderr
    if spared == "kept":
        assert words == ["Removed", "4", "runs.", "None"]
        assert int(given_back) >= 5  # MB, of 6 that the runs took and 4 that were kept
    else:
        assert "Removed" not in words
