import json
import os
import socket
import sqlite3
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner
from terminals import read_terminal

from rlm_mcp.cli import looking
from rlm_mcp.cli.findings import (
    LEAST_FREE,
    SLOW_S,
    Findings,
    FoundFile,
    FoundHome,
    FoundJournal,
    FoundModel,
    FoundServer,
    Wrong,
    as_json,
    rows,
)
from rlm_mcp.cli.main import command
from rlm_mcp.cli.rows import as_text
from rlm_mcp.clients.check import Finding
from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.llm.interview import Bounds
from rlm_mcp.repl import boxes
from rlm_mcp.repl.survey import Surveyed
from rlm_mcp.runs.tables import SCHEMA_VERSION
from rlm_mcp.server.tools import TOOLS
from rlm_mcp.service import open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import ReplState

pytestmark = pytest.mark.anyio

LINUX = "seccomp", "landlock 7", "no capabilities", "no files", "no network", "memory 2,048 MB"
DEEDS = "read a file", "fork", "signal a process"
# Those that are shipped: other tests may bring boxes of their own.
BOXES = {path.stem for path in Path(boxes.__file__).parent.glob("[a-z]*.py")}
SERVER = FoundServer("0.1.0", 0.83, 7)
JOURNAL = FoundJournal(4_200_000, schema=3, runs=41)
HOME = FoundHome(Path("data/rlm-mcp"), None, 71 * 10**9, 5, 1_260_000_000, JOURNAL)
NOT_TRIED = Surveyed("plain", "none")


def works(box, isolation, layers, *, refused=(), checkpoints=False, notice=None):
    state = ReplState("survey", 1, box, isolation, layers, "3.12.1", checkpoints, refused, notice)
    return Surveyed(box, isolation, state, 0.0841)


def fails(box, isolation, reason, hint=boxes.HINT):
    return Surveyed(box, isolation, reason=reason, hint=hint)


def found(*surveyed, asked="auto", taken=None, model=None, **more):
    given = {
        "server": SERVER,
        "python": "CPython 3.12.1",
        "sdk": "2.3.0",
        "system": "Linux 6.18 x86_64",
        "text_is_mapped": True,
        "home": HOME,
        "git": "2.39.5",
        "file": None,
        "given": {},
        "asked": asked,
        "taken": taken,
        "boxes": surveyed,
        "model": model or FoundModel("http://localhost:8080/v1", "qwen", 32_768, 4),
        "clients": (),
    }
    return Findings(**given | more)


FINDINGS = {
    "all_is_well": found(
        fails("docker", "container", "docker is not installed", "Install Docker or Podman."),
        works("linux", "kernel", LINUX, refused=DEEDS, checkpoints=True),
        fails("macos", "kernel", "the macos box needs macOS, this is linux"),
        NOT_TRIED,
        taken="linux",
        file=FoundFile(Path("config/config.toml")),
        given={"api_url": "environment", "roots": "environment", "model": "file"},
        model=FoundModel("http://localhost:8080/v1", "qwen", 32_768, 4, measured_s_ago=7200.0),
        clients=(Finding("Codex", Path("codex/config.toml"), "`rlm` starts /bin/rlm-mcp"),),
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
        server=FoundServer(
            reason="rlm-mcp ended with exit code 1 before it had answered: No module named 'x'",
            hint="Run the command in a terminal.",
        ),
        home=FoundHome(Path("data/rlm-mcp"), "Permission denied"),
        git=None,
        model=FoundModel("http://localhost:1/v1", reason="no answer within 9 s", hint="Wait."),
    ),
    "what_stands_in_the_way": found(
        works("linux", "kernel", LINUX, refused=DEEDS, checkpoints=True),
        taken="linux",
        server=FoundServer("0.1.0", SLOW_S - 1, 7, ("hello from site", "again")),
        home=FoundHome(
            Path("data/rlm-mcp"),
            free_bytes=LEAST_FREE // 2,
            contexts=1,
            contexts_bytes=12_000,
            journal=FoundJournal(90_000, problem="its schema is 9, this rlm-mcp knows 3", schema=9),
        ),
        file=FoundFile(Path("config/config.toml"), "api_key"),
        clients=(
            Finding(
                "Cursor",
                Path("cursor/mcp.json"),
                "`rlm` starts /gone/rlm-mcp, which does not exist",
                "rlm-mcp install cursor",
                is_broken=True,
            ),
        ),
        given={"api_key": "file"},
    ),
    "slow_to_start": found(NOT_TRIED, server=FoundServer("0.1.0", SLOW_S + 1, 7)),
    "plain_is_asked_for": found(
        works("linux", "kernel", LINUX, refused=DEEDS, checkpoints=True),
        works(
            "plain", "none", ("memory 2,048 MB",), checkpoints=True, notice="UNSAFE: your rights."
        ),
        asked="plain",
        taken="plain",
        given={"sandbox": "environment"},
        model=FoundModel("http://localhost:1/v1", "qwen"),
    ),
    "docker_is_asked_for_and_down": found(
        fails(
            "docker",
            "container",
            "docker does not work: Cannot connect to the Docker daemon.",
            f"Start docker, then try again. {boxes.HINT}",
        ),
        works("linux", "kernel", LINUX, refused=DEEDS, checkpoints=True),
        NOT_TRIED,
        asked="docker",
        given={"sandbox": "environment"},
    ),
    "settings_are_wrong": found(
        works("linux", "kernel", LINUX, refused=DEEDS, checkpoints=True),
        taken="linux",
        server=FoundServer(
            reason="rlm-mcp ended with exit code 1 before it had answered: There is no setting"
            " RLM_MODLE.",
            hint="Run the command in a terminal.",
        ),
        wrong=(
            Wrong("There is no setting RLM_MODLE.", "Did you mean RLM_MODEL?"),
            Wrong("config.toml:3: max_turns: Input should be a valid integer", "Set max_turns."),
        ),
    ),
    "still_loading": found(
        works("linux", "kernel", LINUX, refused=DEEDS, checkpoints=True),
        taken="linux",
        model=FoundModel(
            reason="no answer within 10 s",
            hint=looking.WAITS,
            state="still loading qwen.gguf after 10 s",
        ),
    ),
}
BROKEN = Finding("Cursor", Path("mcp.json"), "`rlm` starts /gone", "Mend it.", is_broken=True)


@pytest.mark.parametrize("name", FINDINGS)
def test_the_words_are_those_agreed_on(golden, name):
    golden(f"doctor_{name}.txt", as_text(rows(FINDINGS[name])) + "\n")


def test_every_row_that_is_not_sound_says_on_its_last_line_what_to_do():
    bad = [row for each in FINDINGS.values() for row in rows(each) if row.verdict == "bad"]
    places = {"server", "sandbox", "data", "journal", "settings", "setting", "client"}

    assert {row.label for row in bad} == places
    assert [row for row in bad if not row.fix] == []
    assert all(row.words.endswith(f"\n{row.fix}") for row in bad)


def test_a_finding_that_fails_the_command_is_a_row_that_is_not_sound():
    failing = [each for each in FINDINGS.values() if not each.is_sound]

    assert failing
    assert all("bad" in {row.verdict for row in rows(each)} for each in failing)


def test_where_another_sandbox_works_it_is_named_and_not_the_one_without_any():
    shown = {row.label: row for row in rows(FINDINGS["docker_is_asked_for_and_down"])}

    assert shown["sandbox"].fix == "RLM_SANDBOX=auto, or --sandbox auto, takes linux here."
    assert shown["docker"].fix == "Start docker, then try again."


@pytest.mark.parametrize(
    ("findings", "sound"),
    [
        (found(taken="linux"), True),
        (found(taken="linux", model=FoundModel(reason="none", hint="start one")), True),
        (found(taken="linux", git=None, text_is_mapped=False), True),
        (found(taken=None), False),
        (found(taken="linux", server=FoundServer(reason="x", hint="y")), False),
        (found(taken="linux", server=FoundServer("1", 1.0, 7, ("hello",))), False),
        (found(taken="linux", home=FoundHome(Path("home"), "Permission denied")), False),
        (found(taken="linux", home=replace(HOME, journal=FoundJournal(9, problem="x"))), False),
        (found(taken="linux", clients=(BROKEN,)), False),
        (found(taken="linux", clients=(replace(BROKEN, is_broken=False),)), True),
        (found(taken="linux", wrong=(Wrong("x", "y"),)), False),
        (found(taken="linux", model=FoundModel(reason="x", state="still loading")), True),
    ],
)
def test_it_is_sound_if_a_client_can_use_the_server_and_its_code_can_run(findings, sound):
    assert findings.is_sound is sound


@pytest.mark.parametrize("name", ["all_is_well", "nothing_works"])
def test_the_json_is_the_one_agreed_on(golden, name):
    golden(f"doctor_{name}.json", as_json(FINDINGS[name]) + "\n")


def test_the_list_of_commands_says_in_full_what_each_does():
    ran = CliRunner().invoke(command, ["--help"])
    commands = ran.stdout.partition("Commands:\n")[2].splitlines()
    told = dict(line.split(maxsplit=1) for line in commands)

    assert ran.exit_code == 0
    assert told["doctor"] == "Show what works on this machine, and what to do about the rest."
    assert told["ask"] == "Ask a question about files."


def test_the_help_says_what_measuring_takes_and_how_it_ends():
    ran = CliRunner().invoke(command, ["doctor", "--help"])
    words, bounds = " ".join(ran.stdout.split()), Bounds()

    assert (bounds.seconds, bounds.first_s) == (2 * 60, 5 * 60)
    assert f"up to two minutes and {bounds.tokens:,} tokens per model" in words
    assert "once it is loaded (up to five minutes more)" in words
    assert "0 measured, 1 not reached" in words


@pytest.fixture
def desk(desk, tmp_path):
    """The real command in a home of its own, without the user's MCP clients."""
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR", "COPILOT_HOME"):
        desk.environment.pop(name, None)
    desk.environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    return desk


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
    assert lines["server"].startswith(f"rlm-mcp {version('rlm-mcp')} answers in ")
    assert lines["server"].endswith(f"{len(TOOLS)} tools · nothing stray on standard output")
    assert version("mcp") in lines["python"]


async def test_the_real_command_says_all_in_json_and_starts_plain_only_if_asked_to(desk, sandbox):
    code, out, _ = await desk.run("doctor", "--json", "--sandbox", "plain")
    report = json.loads(out)
    best, plain = (
        next(box for box in report["boxes"] if box["box"] == name) for name in (sandbox, "plain")
    )

    assert (code, report["sound"]) == (0, True)
    assert report["sandbox"] == {"asked": "plain", "taken": "plain"}
    assert (best["works"], bool(best["layers"])) == (True, True)
    assert (len(best["refused"]) >= 8) == (best["isolation"] == "kernel")
    assert (plain["works"], plain["isolation"], plain["level"]) == (True, "none", "C")
    assert "UNSAFE" in plain["notice"]
    assert report["text_is_mapped"] is True
    assert report["model"]["model"] == "scripted"


async def test_no_model_is_a_finding_with_what_to_do():
    model = await looking._model(Settings.load({}, api_url="http://127.0.0.1:9/v1"))
    row = next(row for row in rows(found(model=model)) if row.label == "model")

    assert row.text.startswith("none found: Nothing answers at http://127.0.0.1:9")
    assert row.fix == model.hint


async def test_an_address_that_can_never_work_is_a_finding_too():
    model = await looking._model(Settings.load({}, api_url="localhost:8080"))

    assert "RLM_API_URL" in model.reason


async def test_an_endpoint_that_takes_the_call_and_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with anyio.fail_after(2 * looking.MODEL_S):
            model = await looking._model(Settings.load({}, api_url=f"{address}/v1"))

    assert (model.model, model.url) == (None, f"{address}/v1")
    assert model.reason


async def test_a_model_that_still_comes_from_the_hub_is_told_and_no_failure(
    monkeypatch, own_environment
):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed")
    pytest.importorskip("huggingface_hub", reason="the hub's client is not installed")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}"
        )
        settings = Settings(model_path="org/repo:x.gguf", home=own_environment)
        model = await looking._model(settings, within_s=2.0)
    seen = replace(FINDINGS["all_is_well"], model=model)
    row = next(row for row in rows(seen) if row.label == "model")

    assert row.text == "not ready yet: still looking for x.gguf on the hub after 2 s"
    assert row.fix == f"{looking.WAITS} {looking.HUB}"
    assert (row.verdict, seen.is_sound) == ("neutral", True)


def test_a_data_folder_that_cannot_be_written_fails(tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "home"
    home = looking._home(place, looking.write_problem(place))
    seen = replace(FINDINGS["all_is_well"], home=home)
    row = next(row for row in rows(seen) if row.label == "data")

    assert not seen.is_sound
    assert row.text.startswith(f"{place} cannot be written: Not a directory")
    assert "RLM_HOME" in row.fix


def test_a_journal_that_is_none_or_of_the_future_cannot_be_used(tmp_path):
    none, later = tmp_path / "none", tmp_path / "later"
    none.write_bytes(b"no database" * 100)
    with closing(sqlite3.connect(later)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    assert looking._journal(tmp_path / "absent") is None
    assert looking._journal(none).problem == "file is not a database"
    assert (
        looking._journal(later).problem
        == f"its schema is {SCHEMA_VERSION + 1}, this rlm-mcp knows {SCHEMA_VERSION}"
    )


async def test_the_data_folder_is_told_with_what_is_in_it(tmp_path):
    async with open_service(Settings.load(home=tmp_path)) as service:
        session = await service.new_session()
        info = await service.load(session, [], text="some text", name="note")

    home = looking._home(tmp_path, looking.write_problem(tmp_path))
    files = list((tmp_path / "contexts" / info.id).iterdir())

    assert (home.problem, home.contexts) == (None, 1)
    assert home.contexts_bytes == sum(path.stat().st_size for path in files)
    assert (home.journal.schema, home.journal.runs) == (SCHEMA_VERSION, 0)
    assert home.journal.bytes == (tmp_path / "journal.sqlite3").stat().st_size


async def test_what_prints_as_python_starts_is_seen_as_a_client_would(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("print('hello from site')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with anyio.fail_after(2 * looking.SERVER_S):
        server = await looking._server()

    assert server.stray == ("hello from site",)
    assert server.tools == len(TOOLS)


async def test_a_server_that_does_not_start_is_a_finding_with_its_words(monkeypatch):
    monkeypatch.setenv("RLM_MODLE", "qwen")
    with anyio.fail_after(2 * looking.SERVER_S):
        server = await looking._server()

    assert server.start_s is None
    assert "There is no setting RLM_MODLE" in server.reason


async def test_every_setting_is_listed_with_its_value_and_where_it_is_given(desk, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('# mine\napi_key = "s3cret"\nmax_turns = 7', encoding="utf-8")
    variables = {"RLM_CONFIG": str(path), "RLM_API_URL": "http://me:pass@localhost:1/v1"}
    arguments = ["doctor", "--settings", "--sandbox", "plain"]
    path.chmod(0o644)
    code, out, err = await desk.run(*arguments, **variables)
    _, told, _ = await desk.run(*arguments, "--json", **variables)
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    record = json.loads(told)

    assert code == 0
    assert list(lines) == [*Settings.model_fields, "file:"] == [*record["settings"], "file:"]
    assert lines["max_turns"] == ["7", f"{path}:3"]
    assert lines["sandbox"] == ["plain", "--sandbox"]
    assert lines["secrets"] == ["false", "default"]
    assert lines["api_url"] == ["http://********@localhost:1/v1", "RLM_API_URL"]
    assert lines["api_key"] == ["********", f"{path}:2"]
    assert record["file"] == str(path)
    assert record["settings"]["max_turns"] == {"value": 7, "origin": "file", "where": f"{path}:3"}
    assert record["settings"]["max_cost"] == {"value": None, "origin": "default", "where": None}
    assert err == f"{path} holds api_key and others can read it: chmod 600 it.\n"
    assert "s3cret" not in out + told


async def test_a_setting_that_is_wrong_is_listed_with_the_rest_and_fails(desk, tmp_path):
    (tmp_path / "own.toml").write_text("max_turn = 7\nmax_calls = 9", encoding="utf-8")
    variables = {"RLM_CONFIG": str(tmp_path / "own.toml")}
    code, out, err = await desk.run("doctor", "--settings", "--json", **variables)

    assert code == 1
    assert json.loads(out)["settings"]["max_calls"]["value"] == 9
    assert err == (
        f"error: {tmp_path}/own.toml:1: there is no setting max_turn.\nDid you mean max_turns?\n"
    )


async def test_settings_that_are_wrong_are_findings_and_all_else_is_looked_at(desk, tmp_path):
    (tmp_path / "own.toml").write_text('\ufeffmax_turns = "many"', encoding="utf-8")
    variables = {"RLM_CONFIG": str(tmp_path / "own.toml"), "RLM_MODLE": "x", "RLM_MAX_CALLS": "0"}
    code, out, _ = await desk.run("doctor", "--json", **variables)
    report = json.loads(out)
    wrong = {each["what"]: each["fix"] for each in report["settings"]["wrong"]}

    assert (code, report["sound"]) == (1, False)
    assert [what.partition(": ")[0] for what in wrong] == [
        "There is no setting RLM_MODLE.",
        f"{tmp_path}/own.toml:1",
        "RLM_MAX_CALLS",
    ]
    assert wrong["There is no setting RLM_MODLE."] == "Did you mean RLM_MODEL?"
    assert "There is no setting RLM_MODLE." in report["server"]["reason"]
    assert report["model"]["model"] == "scripted"
    assert report["sandbox"]["asked"] == "auto"


async def test_a_client_that_cannot_start_the_server_fails_the_command(desk, tmp_path):
    entry = {"command": "/gone/rlm-mcp", "args": []}
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"mcpServers": {"rlm": entry}}), encoding="utf-8")
    code, out, _ = await desk.run("doctor")

    assert code == 1
    assert "Cursor: `rlm` starts /gone/rlm-mcp, which does not exist" in out


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
async def test_a_terminal_shows_a_table(desk, sandbox):
    ours, theirs = os.openpty()
    with anyio.fail_after(60):
        process = await desk.start("doctor", "--sandbox", sandbox, stdout=theirs)
        os.close(theirs)
        shown = await anyio.to_thread.run_sync(read_terminal, ours)
        code = await process.wait()

    assert code == 0
    assert "✓" in shown
    assert f"{sandbox}: --sandbox asks for it" in shown
