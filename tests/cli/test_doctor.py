import json
import os
from pathlib import Path

import anyio
import pytest

from rlm_mcp.cli.findings import Findings, FoundModel, as_json, as_text, rows
from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.llm.interview import Bounds
from rlm_mcp.repl import boxes
from rlm_mcp.repl.survey import Surveyed
from rlm_mcp.types import ReplState

pytestmark = pytest.mark.anyio

LINUX = "seccomp", "landlock 7", "no capabilities", "no files", "no network", "memory 2,048 MB"
DEEDS = "read a file", "fork", "signal a process"
# Those that are shipped: other tests may bring boxes of their own.
BOXES = {path.stem for path in Path(boxes.__file__).parent.glob("[a-z]*.py")}
NOT_TRIED = Surveyed("plain", "none")


def works(box, isolation, layers, *, refused=(), checkpoints=False, notice=None):
    state = ReplState("survey", 1, box, isolation, layers, "3.12.1", checkpoints, refused, notice)
    return Surveyed(box, isolation, state, 0.0841)


def fails(box, isolation, reason, hint=boxes.HINT):
    return Surveyed(box, isolation, reason=reason, hint=hint)


def found(*surveyed, asked="auto", taken=None, model=None, **more):
    given = {
        "python": "CPython 3.12.1",
        "system": "Linux 6.18 x86_64",
        "text_is_mapped": True,
        "home": Path("data/rlm-mcp"),
        "home_problem": None,
        "asked": asked,
        "taken": taken,
        "boxes": surveyed,
        "model": model or FoundModel("http://localhost:8080/v1", "qwen", 32_768, 4),
    }
    return Findings(**given | more)


FINDINGS = {
    "all_is_well": found(
        fails("docker", "container", "docker is not installed", "Install Docker or Podman."),
        works("linux", "kernel", LINUX, refused=DEEDS, checkpoints=True),
        fails("macos", "kernel", "the macos box needs macOS, this is linux"),
        NOT_TRIED,
        taken="linux",
    ),
    "one_layer": found(
        works("linux", "kernel", ("seccomp", *LINUX[2:]), refused=DEEDS), NOT_TRIED, taken="linux"
    ),
    "language_only": found(
        fails("linux", "kernel", "The linux box cannot lock itself: OSError: [Errno 38]."),
        works(
            "monty",
            "language",
            ("an interpreter without a system",),
            notice="A restricted Python: no generators, some modules missing.",
        ),
        NOT_TRIED,
        taken="monty",
        text_is_mapped=False,
        model=FoundModel(reason="No model server answers.", hint="Start one."),
    ),
    "nothing_works": found(
        fails("linux", "kernel", "the linux box needs Linux, this is freebsd14"),
        fails("monty", "language", "pydantic-monty is not installed", "Install rlm-mcp[monty]."),
        NOT_TRIED,
        home_problem="Permission denied",
    ),
    "plain_is_asked_for": found(
        works("linux", "kernel", LINUX, refused=DEEDS, checkpoints=True),
        works(
            "plain", "none", ("memory 2,048 MB",), checkpoints=True, notice="UNSAFE: your rights."
        ),
        asked="plain",
        taken="plain",
        model=FoundModel("http://localhost:1/v1", "qwen"),
    ),
}


@pytest.mark.parametrize("name", FINDINGS)
def test_the_words_are_those_agreed_on(golden, name):
    golden(f"doctor_{name}.txt", as_text(rows(FINDINGS[name])) + "\n")


@pytest.mark.parametrize("name", ["all_is_well", "nothing_works"])
def test_the_json_is_the_one_agreed_on(golden, name):
    golden(f"doctor_{name}.json", as_json(FINDINGS[name]) + "\n")


async def test_the_list_of_commands_says_in_full_what_each_does(desk):
    code, out, _ = await desk.run("--help")
    commands = out.partition("Commands:\n")[2].splitlines()
    told = dict(line.split(maxsplit=1) for line in commands)

    assert code == 0
    assert told["doctor"] == "Show what works on this machine."
    assert told["ask"] == "Ask a question about files."


async def test_the_help_says_what_measuring_takes_and_how_it_ends(desk):
    _, out, _ = await desk.run("doctor", "--help")
    words, bounds = " ".join(out.split()), Bounds()

    assert (bounds.seconds, bounds.first_s) == (2 * 60, 5 * 60)
    assert f"up to two minutes and {bounds.tokens:,} tokens per model" in words
    assert "once it is loaded (up to five minutes more)" in words
    assert "0 measured, 1 not reached" in words


@pytest.fixture
def sandbox():
    """The box `auto` is to take on this machine; skips where there is none."""
    for name in boxes.candidates("auto"):
        try:
            boxes.load(name).require()
        except SandboxUnavailable:
            continue
        return name
    pytest.skip("no sandbox can be on this machine")


async def test_the_real_command_starts_every_box_and_takes_the_strongest(desk, sandbox):
    code, out, err = await desk.run("doctor")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if line[0] != " ")

    assert (code, err) == (0, "")
    assert lines["sandbox"].startswith(f"{sandbox}: `auto` takes it; isolation: ")
    assert set(lines) > BOXES
    assert "not started" in lines["plain"]
    assert "scripted at http://127.0.0.1:" in lines["model"]


async def test_the_real_command_says_all_in_json(desk, sandbox):
    code, out, _ = await desk.run("doctor", "--json")
    report = json.loads(out)
    taken = next(box for box in report["boxes"] if box["box"] == sandbox)

    assert (code, report["sound"]) == (0, True)
    assert report["sandbox"] == {"asked": "auto", "taken": sandbox}
    assert (taken["works"], bool(taken["layers"])) == (True, True)
    assert (len(taken["refused"]) >= 8) == (taken["isolation"] == "kernel")
    assert report["text_is_mapped"] is True
    assert report["model"]["model"] == "scripted"


async def test_no_model_is_a_finding_and_no_failure(desk, sandbox):
    code, out, _ = await desk.run("doctor", RLM_API_URL="http://127.0.0.1:9/v1")

    assert code == 0
    assert "model      none found: Nothing answers at http://127.0.0.1:9" in out


async def test_a_data_folder_that_cannot_be_written_fails(desk, tmp_path):
    (tmp_path / "file").touch()
    code, out, _ = await desk.run("doctor", RLM_HOME=str(tmp_path / "file" / "home"))

    assert code == 1
    assert "cannot be written: Not a directory" in " ".join(out.split())
    assert "RLM_HOME" in out


async def test_plain_is_started_only_if_asked_for_and_says_what_it_is(desk):
    code, out, _ = await desk.run("doctor", "--sandbox", "plain")

    assert code == 0
    assert out.startswith("sandbox    plain: RLM_SANDBOX or --sandbox asks for it")
    assert "isolation: none (level C)" in out
    assert "UNSAFE" in out


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
async def test_a_terminal_shows_a_table(desk, sandbox):
    ours, theirs = os.openpty()
    with anyio.fail_after(60):
        process = await desk.start("doctor", stdout=theirs)
        os.close(theirs)
        shown = await anyio.to_thread.run_sync(os.read, ours, 1 << 16)
        code = await process.wait()
    os.close(ours)

    assert code == 0
    assert "✓" in shown.decode()
    assert f"{sandbox}: `auto` takes it" in shown.decode()
