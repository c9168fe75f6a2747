"""`rlm-mcp install` and `uninstall`, in homes where clients have been used."""

import json
import os
import sys
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner

from rlm_mcp import settings_file
from rlm_mcp.cli.install import install, uninstall
from rlm_mcp.cli.main import _told
from rlm_mcp.clients import changes
from rlm_mcp.clients.check import findings
from rlm_mcp.clients.formats import client, clients
from rlm_mcp.clients.running import server_here
from rlm_mcp.errors import RlmError

COMMAND = [sys.executable, "-m", "rlm_mcp"]
WITHIN_S = 120.0
THEIRS = '{\n  "mcpServers": {\n    "a": {"command": "x"}\n  }\n}\n'
CODEX = 'model = "x"  # mine\n'


class Ran:
    """What a command said and how it ended."""

    def __init__(self, result):
        error = result.exception
        told = _told(error) if isinstance(error, RlmError) else ""
        self.code = 1 if told else result.return_value
        self.out, self.err = result.stdout, result.stderr + told


def run(command, *arguments):
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, RlmError):
        raise result.exception
    return Ran(result)


@pytest.fixture
def used(files, monkeypatch):
    """A home in which Cursor, Codex and VS Code have been used."""
    for name in ("RLM_ROOTS", "RLM_HOME", "RLM_CONFIG"):
        monkeypatch.delenv(name)
    files.write("cursor", THEIRS)
    files.write("codex", CODEX)
    files.file("vscode").parent.mkdir(parents=True)
    return files


def snapshot(home):
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def neutral(text, files):
    return text.replace(str(files.home), "~").replace(server_here({}).command, "/here/rlm-mcp")


def test_a_dry_run_shows_every_change_and_writes_nothing(used, golden, monkeypatch):
    monkeypatch.setenv("RLM_API_URL", "http://localhost:8080/v1")
    monkeypatch.setenv("RLM_API_KEY", "sk-never-written")
    before = snapshot(used.home)

    ran = run(install, "--dry-run")

    assert ran.code == 0
    assert snapshot(used.home) == before
    golden("install_dry_run.txt", neutral(ran.out + ran.err, used))


def test_without_a_terminal_nothing_is_written_unless_told_to(used):
    before = snapshot(used.home)

    ran = run(install)

    assert ran.code == 2
    assert "it takes --yes" in ran.err
    assert snapshot(used.home) == before


def test_a_clean_home_has_no_client_and_the_error_says_which_are_known(files):
    ran = run(install, "--yes")

    assert ran.code == 1
    assert "No MCP client is found" in ran.err
    assert all(each.id in ran.err for each in clients())


def test_a_key_is_printed_only_when_asked_for_and_never_shown_elsewhere(used, monkeypatch):
    monkeypatch.setenv("RLM_API_KEY", "sk-secret")

    silent = run(install, "--print", "cursor", "vscode")
    asked = run(install, "--print", "cursor", "--with-key")
    shown = run(install, "--dry-run", "--with-key")

    assert "sk-secret" not in silent.out + silent.err
    assert '"RLM_API_KEY": "${input:rlm-api-key}"' in silent.out
    assert json.loads(asked.out)["mcpServers"]["rlm"]["env"]["RLM_API_KEY"] == "sk-secret"
    assert asked.err == (
        "No link for a click: it would carry RLM_API_KEY, and links are kept and passed on.\n"
    )
    assert "sk-secret" not in shown.out + shown.err


def test_a_password_in_the_address_is_written_only_when_asked_for(used, monkeypatch):
    monkeypatch.setenv("RLM_API_URL", "http://me:pw-secret@localhost:8080/v1")
    before = snapshot(used.home)

    silent = run(install, "--yes", "cursor")
    asked = run(install, "--print", "cursor", "--with-key")
    other = run(install, "--print", "cursor", "--env", "RLM_API_URL=http://localhost:8080/v1")

    assert silent.code == 1
    assert "--with-key" in silent.err
    assert "pw-secret" not in silent.out + silent.err + other.out
    assert snapshot(used.home) == before
    assert "pw-secret" in asked.out


@pytest.mark.parametrize("name", [each.id for each in clients()])
def test_any_client_can_be_printed_and_nothing_is_touched(files, name):
    ran = run(install, name, "--print", "--env", "RLM_MODEL=qwen")

    assert ran.code == 0
    assert "qwen" in ran.out
    assert ("At a click: https://" in ran.err) == (client(name).link is not None)
    assert snapshot(files.home) == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--print"], "--print needs a client."),
        (["emacs"], "There is no client 'emacs'."),
        (["--with-key"], "--with-key writes RLM_API_KEY and RLM_SUB_API_KEY, and neither is set."),
        (["--env", "RLM_MODEL"], "--env RLM_MODEL is no NAME=VALUE."),
        (["--env", "RLM_MODLE=x"], "There is no setting RLM_MODLE."),
        (["--env", "RLM_MAX_TURNS=x"], "RLM_MAX_TURNS: "),
    ],
)
def test_what_cannot_work_is_refused_before_any_file_is_read(used, arguments, words):
    ran = run(install, "--yes", *arguments)

    assert ran.code == 1
    assert words in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    ("arguments", "carried"),
    [
        (["--env", "HF_TOKEN=hf-secret"], "HF_TOKEN"),
        (
            ["--env", "RLM_API_URL=http://me:hf-secret@host/v1", "--env", "A_KEY=k"],
            "RLM_API_URL and A_KEY",
        ),
    ],
)
def test_there_is_no_link_that_would_carry_a_secret_and_the_reason_is_told(
    files, arguments, carried
):
    ran = run(install, "cursor", "vscode", "zed", "--print", *arguments)

    words = f"No link for a click: it would carry {carried}, and links are kept and passed on.\n"
    assert ran.err == 2 * words
    assert "hf-secret" in ran.out


def test_what_the_environment_sets_comes_along_and_paths_become_absolute(used, monkeypatch):
    monkeypatch.chdir(used.home)
    Path("model.gguf").write_bytes(b"GGUF")
    Path("c.toml").write_text('roots = "*"\n', encoding="utf-8")
    monkeypatch.setenv("RLM_MODEL_PATH", "model.gguf")
    monkeypatch.setenv("RLM_MODEL", "qwen")
    monkeypatch.setenv("RLM_CONFIG", "c.toml")
    monkeypatch.setenv("RLM_SUB_API_KEY", "sk-secret")

    ran = run(install, "cursor", "--print")
    shown = run(install, "cursor", "--dry-run")

    assert json.loads(ran.out)["mcpServers"]["rlm"]["env"] == {
        "RLM_MODEL_PATH": str(used.home / "model.gguf"),
        "RLM_MODEL": "qwen",
        "RLM_CONFIG": str(used.home / "c.toml"),
    }
    left_out = "RLM_SUB_API_KEY stays out of the files of Cursor. To write it there, readable:"
    assert left_out in ran.err
    assert shown.err == f"{left_out} --with-key\n"


def test_folders_that_the_users_settings_file_names_are_known(used):
    own = settings_file.default_path()
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text('roots = "*"\n', encoding="utf-8")

    ran = run(install, "cursor", "--dry-run")

    assert own.is_relative_to(used.home)
    assert ran.err == ""


def test_a_misspelt_setting_in_the_environment_is_an_error_with_the_nearest(used, monkeypatch):
    monkeypatch.setenv("RLM_APIURL", "http://localhost:8080/v1")

    ran = run(install, "cursor", "--yes")

    assert ran.code == 1
    assert ran.err == "error: There is no setting RLM_APIURL.\nDid you mean RLM_API_URL?"
    assert ran.out == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("RLM_MODEL_PATH=none.gguf", ["none.gguf cannot be read: ", "org/repo:file.gguf"]),
        ("RLM_MODEL_PATH=text.gguf", ["text.gguf is no GGUF file."]),
        ("RLM_ROOTS=none", ["which does not exist.", "--env RLM_ROOTS=~/code"]),
        ("RLM_CONFIG=none.toml", ["none.toml cannot be read: ", "RLM_CONFIG"]),
    ],
)
def test_a_path_where_nothing_is_is_refused_before_any_file_is_read(
    used, monkeypatch, given, words
):
    monkeypatch.chdir(used.home)
    Path("text.gguf").write_text("text", encoding="utf-8")
    before = snapshot(used.home)

    ran = run(install, "cursor", "--yes", "--env", given)

    assert ran.code == 1
    assert all(word in ran.err for word in words)
    assert ran.out == ""
    assert snapshot(used.home) == before


@pytest.mark.parametrize("value", ["${workspaceFolder}", "*"])
def test_what_the_client_fills_in_stays(used, value):
    ran = run(install, "vscode", "--print", "--env", f"RLM_ROOTS={value}")

    assert json.loads(ran.out)["servers"]["rlm"]["env"] == {"RLM_ROOTS": value}


def test_folders_become_absolute_for_a_client_starts_the_server_elsewhere(used, monkeypatch):
    monkeypatch.chdir(used.home)
    for folder in ("code", "notes"):
        Path(folder).mkdir()
    monkeypatch.setenv("RLM_ROOTS", os.pathsep.join(["code", "~/notes"]))

    ran = run(install, "cursor", "--print")

    roots = json.loads(ran.out)["mcpServers"]["rlm"]["env"]["RLM_ROOTS"].split(os.pathsep)
    assert roots == [str(used.home / "code"), str(used.home / "notes")]


def test_a_client_without_a_file_is_told_what_to_paste(files):
    ran = run(install, "jetbrains", "--yes")

    assert ran.code == 1
    assert "rlm-mcp install jetbrains --print" in ran.err


def test_one_broken_file_keeps_no_other_client_from_being_set_up(used):
    path = used.write("claude-desktop", "{")

    ran = run(install, "--dry-run")

    assert ran.code == 1
    assert f"Claude Desktop: {path}: line 1, column 2: a name" in ran.err
    assert "Cursor: " in ran.out


def test_one_file_that_cannot_be_written_keeps_no_other_from_being_set_up_and_tried(used):
    # A name so long that there is none for the file that is to take its place.
    real = used.home / f"{'x' * 250}.json"
    real.write_text("{}", encoding="utf-8")
    used.file("cursor").unlink()
    used.file("cursor").symlink_to(real)

    ran = run(install, "cursor", "codex", "--yes")

    assert ran.code == 1
    assert f"Cursor: {used.file('cursor')} cannot be written: " in ran.err
    assert real.read_text(encoding="utf-8") == "{}"
    assert "rlm" in used.file("codex").read_text(encoding="utf-8")
    assert "Started as a client would: " in ran.out
    assert client("codex").after in ran.out
    assert client("cursor").after not in ran.out


def test_a_file_with_a_key_that_others_can_read_is_told_with_what_to_do(used, monkeypatch):
    path = used.write("cursor", THEIRS, mode=0o644)
    monkeypatch.setenv("RLM_API_KEY", "sk-secret")
    monkeypatch.setenv("RLM_ROOTS", "*")

    ran = run(install, "cursor", "--dry-run", "--with-key")

    assert ran.err == (
        f"{path} is to hold RLM_API_KEY, and other users may read it. To be its only reader:"
        f" chmod 600 {path}\n"
    )


def with_entries(files, name, *entries, env=None):
    """A client's file with servers of ours of those names; what it was before."""
    path = files.file(name)
    before = path.read_bytes()
    for entry in entries:
        server = server_here(env or {})
        changes.apply(changes.adding(client(name), path, entry, server))
    return before


def test_without_a_name_every_entry_of_ours_is_found_shown_and_removed(used, golden):
    before = with_entries(used, "cursor", "rlm", "big-reader", env={"RLM_API_KEY": "sk-secret"})
    with_entries(used, "codex", "reader")

    shown = run(uninstall, "--dry-run")
    ran = run(uninstall, "--yes")

    assert ran.code == 0
    assert used.file("cursor").read_bytes() == before
    assert "reader" not in used.file("codex").read_text(encoding="utf-8")
    assert "sk-secret" not in "".join(map(str, snapshot(used.home).values()))
    golden("uninstall.txt", neutral(shown.out, used))
    assert ran.out == shown.out + (
        "Cursor: written; the file is what it was before\n"
        "Codex: written; the file is what it was before\n"
    )


def test_with_a_name_only_that_entry_goes_from_wherever_it_is(used):
    with_entries(used, "cursor", "rlm", "big-reader")
    with_entries(used, "codex", "rlm")
    before = used.file("codex").read_bytes()

    ran = run(uninstall, "--yes", "--name", "big-reader")

    assert ran.code == 0
    left = json.loads(used.file("cursor").read_text(encoding="utf-8"))["mcpServers"]
    assert list(left) == ["a", "rlm"]
    assert used.file("codex").read_bytes() == before


def test_a_backup_says_that_our_keys_are_starred_out_in_it(used):
    with_entries(used, "cursor", "rlm", env={"RLM_API_KEY": "sk-secret"})
    path = used.file("cursor")
    path.write_bytes(path.read_bytes() + b"\n")

    ran = run(uninstall, "cursor", "--yes")

    told = "Cursor: written; the file as it was, our keys starred out: "
    assert f"{told}{path}{changes.BACKUP}" in ran.out
    assert "sk-secret" not in "".join(map(str, snapshot(used.home).values()))


def test_a_file_that_speaks_of_us_and_cannot_be_read_is_told_and_not_passed_over(used):
    path = used.write("claude-desktop", '{"mcpServers": {"rlm": {"command": "/x/rlm-mcp"}')

    ran = run(uninstall, "--yes")

    assert ran.code == 1
    assert f"Claude Desktop: {path}: line 1, " in ran.err
    assert ran.out == ""


def test_a_link_to_a_file_that_was_not_there_stays_when_the_file_goes(used):
    real = used.home / "dotfiles" / "mcp.json"
    used.file("vscode").symlink_to(real)
    changes.apply(changes.adding(client("vscode"), used.file("vscode"), "rlm", server_here({})))

    ran = run(uninstall, "vscode", "--yes")

    assert "VS Code: file removed; there was none before\n" in ran.out
    assert used.file("vscode").is_symlink()
    assert not real.exists()


def test_what_is_not_ours_is_neither_replaced_nor_removed(used):
    used.write("cursor", THEIRS.replace('"a"', '"rlm"'))

    added = run(install, "cursor", "--yes")
    removed = run(uninstall, "--yes")

    assert (added.code, removed.code) == (1, 0)
    assert "Choose another name with --name." in added.err
    assert removed.out == "No client has it.\n"


def test_added_twice_and_removed_everything_is_as_before(used):
    before = snapshot(used.home)

    added = run(install, "--yes", "--env", "RLM_MODEL=qwen")
    with_us = snapshot(used.home)
    again = run(install, "--yes", "--env", "RLM_MODEL=qwen")
    with_us_still = snapshot(used.home)
    checked = findings(used.machine, server_here({}))
    removed = run(uninstall, "--yes")
    after = snapshot(used.home)

    assert (added.code, again.code, removed.code) == (0, 0, 0)
    assert all("Started as a client would: " in ran.out for ran in (added, again))
    assert again.out.count("is set up already.") == 3
    assert with_us_still == with_us
    assert [(each.client, each.fix) for each in checked] == [
        ("Cursor", None),
        ("VS Code", None),
        ("Codex", None),
    ]
    assert all(with_us[path] != before[path] for path in before)
    assert {path: after[path] for path in before} == before
    assert not used.file("vscode").exists()
    assert all(".before-rlm-mcp-" in path.name for path in after.keys() - before.keys())


def test_a_server_that_does_not_start_fails_with_its_words_and_the_others_are_tried(used):
    broken = {"command": server_here({}).command, "args": [], "env": {"RLM_MODLE": "x"}}
    used.write("cursor", json.dumps({"mcpServers": {"rlm": broken}}))

    ran = run(install, "cursor", "codex", "--yes")

    assert ran.code == 1
    assert "Cursor: " in ran.err
    assert "There is no setting RLM_MODLE." in ran.err
    assert "Started as a client would: " in ran.out
    assert f"Codex: {client('codex').after}\n" in ran.out


def test_the_words_of_help_are_those_agreed_on(golden):
    helps = [run(command, "--help").out for command in (install, uninstall)]

    golden("install_help.txt", "\n".join(helps))


@pytest.mark.anyio
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize("reply", ["n", "y"])
async def test_a_terminal_is_asked_once_and_only_what_is_named_is_written(used, reply):
    named = [used.file(name) for name in ("cursor", "codex")]
    before = snapshot(used.home)
    ours, theirs = os.openpty()
    os.write(ours, f"{reply}\n".encode())
    command = [*COMMAND, "install", "cursor", "codex", "--name", "mine"]

    with anyio.fail_after(WITHIN_S):
        ran = await anyio.run_process(command, stdin=theirs, check=False)
    os.close(ours)
    os.close(theirs)

    out, after = ran.stdout.decode(), snapshot(used.home)
    changed = {path.parent for path in after if before.get(path) != after[path]}
    assert out.count("[y/N]") == 1
    assert "Write these 2 files?" in out
    assert ran.returncode == (0 if reply == "y" else 1)
    assert changed == ({path.parent for path in named} if reply == "y" else set())
    if reply == "y":
        entry = json.loads(named[0].read_text(encoding="utf-8"))["mcpServers"]["mine"]
        assert Path(entry["command"]).is_absolute()
        assert client("codex").after in out
