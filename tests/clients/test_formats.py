import datetime as dt
import json
from pathlib import Path

import pytest

from rlm_mcp.clients.formats import (
    Machine,
    Server,
    client,
    clients,
    file_of,
    is_ours,
    is_there,
    server_of,
    shaped,
)
from rlm_mcp.errors import ClientUnknown

HOME = Path("/u")
SYSTEMS = {
    "linux": {},
    "darwin": {},
    "win32": {"APPDATA": "/u/AppData/Roaming", "LOCALAPPDATA": "/u/AppData/Local"},
}
SERVER = Server("/opt/rlm/bin/rlm-mcp", ("--x",), {"RLM_MODEL": "qwen"})
IDS = [each.id for each in clients()]


def test_the_files_are_where_each_client_has_them_on_each_system(golden):
    places = {
        each.id: {
            system: path.as_posix() if path else None
            for system, environment in SYSTEMS.items()
            for path in [file_of(each, Machine(system, environment, HOME))]
        }
        for each in clients()
    }

    golden("places.json", json.dumps(places, indent=1) + "\n")


@pytest.mark.parametrize("name", IDS)
def test_each_fact_has_its_source_and_its_day(name):
    known = client(name)

    assert known.sources
    assert all(source.startswith("https://") for source in known.sources)
    assert dt.date(2026, 11, 1) <= known.read
    assert known.after.endswith(".")


@pytest.mark.parametrize("name", IDS)
def test_what_is_written_for_a_client_is_read_back_as_what_it_starts(name):
    assert server_of(client(name), shaped(client(name), SERVER)) == SERVER


@pytest.mark.parametrize("name", IDS)
def test_a_server_without_variables_has_no_empty_place_for_them(name):
    bare = Server(SERVER.command, SERVER.args, {})

    entry = shaped(client(name), bare)

    assert {} not in entry.values()
    assert server_of(client(name), entry) == bare


@pytest.mark.parametrize(
    "entry",
    [None, "text", {}, {"url": "https://mcp.example"}, {"command": 3}, {"command": "x", "args": 1}],
)
@pytest.mark.parametrize("name", ["cursor", "codex"])
def test_an_entry_that_starts_nothing_is_no_server(name, entry):
    assert server_of(client(name), entry) is None


def test_an_opencode_command_is_a_list_and_an_empty_one_starts_nothing():
    assert server_of(client("opencode"), {"command": ["a", "b"]}) == Server("a", ("b",), {})
    assert server_of(client("opencode"), {"command": []}) is None
    assert server_of(client("opencode"), {"command": "a b"}) is None


@pytest.mark.parametrize(
    ("command", "args", "ours"),
    [
        ("/opt/rlm/bin/rlm-mcp", (), True),
        ("C:\\rlm\\Scripts\\rlm-mcp.exe", (), True),
        ("rlm-mcp", (), True),
        ("/usr/bin/python3", ("-m", "rlm_mcp"), True),
        ("uvx", ("rlm-mcp",), True),
        ("uvx", ("another-mcp",), False),
        ("/opt/rlm-mcp/bin/python", ("server.py",), False),
    ],
)
def test_ours_is_what_starts_rlm_mcp_by_whatever_way(command, args, ours):
    assert is_ours(Server(command, args, {})) == ours


def test_a_variable_of_the_client_moves_its_file(tmp_path):
    moved = Machine("linux", {"CODEX_HOME": str(tmp_path / "elsewhere")}, tmp_path)

    assert file_of(client("codex"), moved) == tmp_path / "elsewhere" / "config.toml"


def test_a_packaged_claude_desktop_on_windows_has_the_file_of_its_package(tmp_path):
    windows = Machine("win32", {}, tmp_path)
    roaming = tmp_path / "AppData" / "Roaming" / "Claude"
    package = tmp_path / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    name = "claude_desktop_config.json"

    assert file_of(client("claude-desktop"), windows) == roaming / name
    roaming.mkdir(parents=True)
    package.mkdir(parents=True)
    assert file_of(client("claude-desktop"), windows) == package / name
    assert is_there(client("claude-desktop"), windows)


def test_a_client_is_there_once_it_has_been_used(files):
    claude = client("claude-code")

    assert not is_there(claude, files.machine)
    (files.home / ".claude").mkdir()
    assert is_there(claude, files.machine)
    assert not is_there(client("cursor"), files.machine)


def test_a_home_alone_is_no_sign_of_any_client(files):
    assert [each.id for each in clients() if is_there(each, files.machine)] == []


def test_an_older_version_is_set_up_by_name_only(files):
    files.write("opencode-1", "{}")

    there = [each.id for each in clients() if is_there(each, files.machine)]

    assert there == ["opencode"]


def test_the_older_file_of_lm_studio_is_used_where_it_is_the_one_there_is(files):
    older = files.home / ".cache" / "lm-studio" / "mcp.json"
    older.parent.mkdir(parents=True)
    older.write_text("{}", encoding="utf-8")

    assert files.file("lm-studio") == older


def test_an_unknown_client_is_answered_with_those_there_are():
    with pytest.raises(ClientUnknown) as caught:
        client("emacs")

    assert "'emacs'" in caught.value.message
    assert all(name in caught.value.hint for name in IDS)
