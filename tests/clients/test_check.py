import json
import sys
from pathlib import Path

import pytest

from rlm_mcp.clients.check import findings
from rlm_mcp.clients.entries import with_server
from rlm_mcp.clients.formats import Server, client, clients, is_ours
from rlm_mcp.clients.running import server_here

HERE = server_here({"RLM_MODEL": "qwen"})


def found(files, name="cursor", server=HERE, entry="rlm"):
    """The only finding, of a file that has the server."""
    path = files.write(name, with_server(client(name), "", entry, server))
    (finding,) = findings(files.machine, server_here({}))
    assert (finding.client, finding.path) == (client(name).name, path)
    return finding


@pytest.mark.parametrize("name", [each.id for each in clients() if each.files])
def test_an_entry_that_works_is_found_fine(files, name):
    finding = found(files, name)

    assert finding.fix is None
    assert finding.what == f"`rlm` starts {' '.join(HERE.argv)}"


def test_this_installation_is_a_path_that_exists_and_is_absolute():
    assert Path(HERE.command).is_absolute()
    assert Path(HERE.command).is_file()
    assert Path(HERE.command).parent == Path(sys.executable).parent


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        (None, ()),
        ({"url": "file:///code/rlm"}, ("--from", "rlm-mcp @ file:///code/rlm")),
        (
            {"url": "https://x.org/rlm.git", "vcs_info": {"vcs": "git", "commit_id": "0a1b"}},
            ("--from", "rlm-mcp @ git+https://x.org/rlm.git@0a1b"),
        ),
    ],
)
def test_run_by_uvx_clients_start_uvx_too_and_fetch_from_the_same_place(
    tmp_path, monkeypatch, origin, told
):
    uvx = tmp_path / "uvx"
    uvx.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "cache" / "archive-v0" / "Xy12"))
    installed = tmp_path / "rlm_mcp-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: rlm-mcp\nVersion: 1\n", encoding="utf-8")
    if origin is not None:
        (installed / "direct_url.json").write_text(json.dumps(origin), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    assert server_here({}).argv == (str(uvx), *told, "rlm-mcp")
    assert is_ours(server_here({}))


def test_a_command_that_is_gone_is_told_with_the_command_that_mends_it(files):
    finding = found(files, server=Server("/gone/rlm-mcp", (), {}))

    assert finding.what == "`rlm` starts /gone/rlm-mcp, which does not exist"
    assert finding.fix == "rlm-mcp install cursor"


@pytest.mark.parametrize("command", ["rlm-mcp", "bin/rlm-mcp", "uvx"])
def test_a_command_that_the_client_may_not_find_is_told(files, command):
    finding = found(files, server=Server(command, ("rlm-mcp",), {}), entry="mine")

    assert f"`mine` starts `{command}`" in finding.what
    assert finding.fix == "rlm-mcp install cursor --name mine"


@pytest.mark.parametrize(
    ("env", "what", "fix"),
    [
        ({"RLM_MODLE": "x"}, "There is no setting RLM_MODLE.", "Did you mean RLM_MODEL?"),
        ({"RLM_MAX_TURNS": "many"}, "RLM_MAX_TURNS: Input should be", "Set RLM_MAX_TURNS"),
    ],
)
def test_a_setting_that_the_server_would_refuse_is_told(files, env, what, fix):
    finding = found(files, server=Server(HERE.command, HERE.args, env))

    assert what in finding.what
    assert fix in finding.fix


def test_what_the_client_asks_for_itself_is_no_mistake(files):
    text = with_server(client("vscode"), "", "rlm", HERE, ("RLM_API_KEY",))
    files.write("vscode", text)

    assert [each.fix for each in findings(files.machine, server_here({}))] == [None]


def test_another_installation_is_told_with_both_paths(files, tmp_path):
    other = tmp_path / "rlm-mcp"
    other.touch(mode=0o755)

    finding = found(files, server=Server(str(other), (), {}))

    here = " ".join(HERE.argv)
    assert finding.what == f"`rlm` starts another installation: {other}; this one is {here}"
    assert finding.fix == "rlm-mcp install cursor"


def test_this_installation_by_its_module_or_through_a_link_is_no_other(files, tmp_path):
    link = tmp_path / "rlm-mcp"
    link.symlink_to(HERE.command)
    servers = [Server(sys.executable, ("-m", "rlm_mcp"), {}), Server(str(link), (), {})]

    assert [found(files, server=server).fix for server in servers] == [None, None]


def test_a_file_that_the_client_cannot_read_is_told_with_the_place_if_it_has_us(files):
    path = files.write("claude-desktop", '{"mcpServers": {"rlm": {"command": "/x/rlm-mcp"},}}')
    files.write("cursor", "{ broken")

    (finding,) = findings(files.machine, HERE)

    assert finding.path == path
    assert "line 1, column 49" in finding.what
    assert finding.fix == "Mend the file there."


def test_servers_of_others_and_clients_without_any_are_passed_over(files):
    files.write("cursor", json.dumps({"mcpServers": {"a": {"command": "x"}, "b": {"url": "y"}}}))
    files.write("zed", "{}")

    assert findings(files.machine, HERE) == ()


def test_a_fix_is_one_line(files):
    for name, server in {
        "cursor": Server("rlm-mcp", (), {}),
        "zed": Server("/gone/rlm-mcp", (), {}),
        "codex": Server(HERE.command, HERE.args, {"RLM_X": "{y}"}),
    }.items():
        files.write(name, with_server(client(name), "", "rlm", server))

    found = findings(files.machine, HERE)

    assert len(found) == 3
    assert all(each.fix and "\n" not in each.fix for each in found)
