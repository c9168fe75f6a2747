import os
import re
import sysconfig
from pathlib import Path

import anyio
import pytest

from rlm_mcp.cli import demo_script
from rlm_mcp.types import Message

pytestmark = pytest.mark.anyio

STDLIB = Path(sysconfig.get_path("stdlib"))


async def test_the_demo_says_it_is_scripted_and_computes_every_place_it_names(desk):
    code, out, err = await desk.run("demo")

    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("The model in this demo is scripted")
    answer = out.partition("\nanswer ")[2].partition("\ncitations ")[0]
    places = re.findall(r"([\w/]+\.py):(\d+)", answer)
    assert places
    for path, line in places:
        source = (STDLIB / path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
        assert re.search(r"\b_?warn|_deprecated", source), f"{path}:{line}"
    warnings = int(re.search(r"of (\d+) deprecation warnings", answer)[1])
    asked = int(re.search(r"\[(\d+) sub-calls over HTTP in", out)[1])
    assert 0 < asked <= warnings  # those that read the same are asked once
    assert re.search(rf"sub   {asked} calls · [\d,]+ tokens in", out)
    assert "all found in the text" in out
    run = re.search(r"rlm-mcp traces show (run_\S+)", out)[1]
    _, trace, _ = await desk.run("traces", "show", run)
    assert demo_script.QUESTION in trace


async def test_a_reader_that_stops_reading_ends_the_demo_without_a_word(desk):
    ours, theirs = os.pipe()
    with anyio.fail_after(60):
        process = await desk.start("demo", stdout=theirs)
        os.close(theirs)
        await anyio.to_thread.run_sync(os.read, ours, 1)
        os.close(ours)
        err = b"".join([chunk async for chunk in process.stderr])
        code = await process.wait()

    assert (code, err) == (1, b"")


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        ("warnings._deprecated(__name__, remove=(3, 13))", "3.13"),
        ("_deprecated(__name__, remove=(3,13))", "3.13"),
        ('warn("f() is slated for removal in Python 3.12",\n DeprecationWarning)', "3.12"),
        ('warn("f() will be "\n     "removed in "\n     "Python 3.14")', "3.14"),
        ('# removed in 3.9\nwarn("g() will be removed in 3.15")', "3.15"),
        ('warn("since 3.10, use g()", DeprecationWarning)', "none"),
        ("", "none"),
    ],
)
def test_the_scripted_sub_model_judges_only_the_piece_it_is_sent(piece, said):
    prompt = f"In which Python version will this be removed?\n\n{piece}"

    assert demo_script.sub([Message("user", prompt)]) == said
