"""`rlm-mcp traces open`: a run as a file to look at, which nothing opens unasked."""

import errno
import json
import os
import stat
from pathlib import Path

import anyio
import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
async def run_id(desk):
    desk.script = answer
    _, out, _ = await desk.run("ask", "-", "Which one?", "--json", stdin=b"numbers")
    return json.loads(out)["run_id"]


async def answer(_messages):
    return "```repl\nFINAL('this one')\n```"


async def test_a_run_is_written_where_only_its_owner_can_read_it(desk, run_id):
    mask = os.umask(0o022)
    code, out, err = await desk.run("traces", "open", run_id)
    os.umask(mask)

    path = Path(out.strip())
    written = await anyio.Path(path).read_text(encoding="utf-8")
    assert (code, err) == (0, "")
    assert path.name == f"{run_id}.html"
    assert path.parent.name == "pages"
    assert "this one" in written
    assert os.name == "nt" or [
        stat.S_IMODE(each.stat().st_mode) for each in (path.parent, path)
    ] == [0o700, 0o600]


def beside(page):
    return set(page.parent.iterdir())


async def test_a_page_goes_with_its_run(desk, run_id):
    _, out, _ = await desk.run("traces", "open", run_id)
    page = Path(out.strip())
    assert (await desk.run("traces", "open", run_id))[1] == out
    left = page.with_name("run_gone.html")
    left.write_text("of a run that has expired", encoding="utf-8")
    await desk.run("traces", "open", run_id)
    assert beside(page) & {page, left} == {page}

    await desk.run("traces", "rm", run_id)

    assert page not in beside(page)


async def test_a_run_is_written_to_the_file_named(desk, run_id, tmp_path):
    wanted = tmp_path / "page.html"

    code, out, _ = await desk.run("traces", "open", run_id, "--out", str(wanted))

    assert (code, out.strip()) == (0, str(wanted))
    assert wanted.read_text(encoding="utf-8").startswith("<!doctype html>")


async def test_a_run_that_is_not_there_writes_nothing(desk, run_id, tmp_path):
    wanted = tmp_path / "page.html"

    code, out, err = await desk.run("traces", "open", "nobody", "--out", str(wanted))

    assert (code, out) == (1, "")
    assert "There is no run 'nobody'" in err
    assert not wanted.exists()


async def test_a_file_that_cannot_be_written_is_named_with_the_reason(desk, run_id, tmp_path):
    wanted = tmp_path / "missing" / "page.html"

    code, out, err = await desk.run("traces", "open", run_id, "--out", str(wanted))

    assert (code, out) == (1, "")
    assert err == f"Error: Could not open file {str(wanted)!r}: {os.strerror(errno.ENOENT)}\n"
