import json
import os
import sys
from pathlib import Path

import anyio
import pytest
import tomlkit

from rlm_mcp.clients.check import WITHIN_S, findings, tried
from rlm_mcp.clients.entries import with_server
from rlm_mcp.clients.formats import Server, client, clients, is_ours, shaped
from rlm_mcp.clients.running import server_here

pytestmark = pytest.mark.anyio

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


def entry_of(name, **fields):
    """Ours as that client has it, with some fields otherwise."""
    known = client(name)
    return {**shaped(known, HERE), **fields}


def written(files, name, entry, entry_name="rlm", **beside):
    """The only finding, of a file that has that entry, as it would be written by hand."""
    known = client(name)
    whole = {entry_name: entry}
    for key in reversed(known.key):
        whole = {key: whole}
    text = tomlkit.dumps(whole | beside) if known.format == "toml" else json.dumps(whole | beside)
    files.write(name, text)
    (finding,) = findings(files.machine, server_here({}))
    return finding


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("cursor", {"disabled": True}),
        ("windsurf", {"disabled": True}),
        ("zed", {"enabled": False}),
        ("codex", {"enabled": False}),
        ("opencode", {"disabled": True}),
        ("opencode-1", {"enabled": False}),
    ],
)
def test_an_entry_that_is_switched_off_is_told_with_the_field_that_says_so(files, name, fields):
    finding = written(files, name, entry_of(name, **fields))
    on = written(files, name, entry_of(name, **{field: not off for field, off in fields.items()}))
    ((field, off),) = fields.items()

    assert finding.what == f"`rlm` is switched off: `{field}` is {json.dumps(off)}"
    assert finding.fix == f"Switch it on in {client(name).name}, or remove `{field}` there."
    assert not finding.is_broken
    assert on.fix is None


@pytest.mark.parametrize(
    ("lists", "what"),
    [
        ({"excluded": ["rlm"]}, "`rlm` is switched off: `mcp.excluded` has it"),
        ({"allowed": ["other"]}, "`rlm` is switched off: `mcp.allowed` has others"),
        ({"excluded": ["other"], "allowed": ["rlm"]}, None),
        ({"allowed": []}, None),
    ],
)
def test_a_server_that_gemini_leaves_out_by_its_name_is_told(files, lists, what):
    finding = written(files, "gemini-cli", entry_of("gemini-cli"), mcp=lists)

    assert (finding.what if what else None) == what
    assert (finding.fix is None) == (what is None)


@pytest.mark.parametrize(
    ("name", "fields", "what"),
    [
        ("gemini-cli", {"args": ""}, '`args` what is not a list of texts: ""'),
        ("cursor", {"args": [1]}, "`args` what is not a list of texts: [1]"),
        ("opencode", {"command": HERE.command}, "`command` what is not a list of texts: "),
        ("cursor", {"command": [HERE.command]}, "`command` what is not a text: "),
        ("codex", {"env": ["RLM_MODEL"]}, "`env` what is not an object: "),
        ("lm-studio", {"env": {"RLM_MAX_TURNS": 7}}, "`env` a value that is not a text: RLM_MAX_T"),
        ("lm-studio", {"env": {"RLM_RESUME": True}}, "`env` a value that is not a text: RLM_RESU"),
    ],
)
def test_a_field_of_another_kind_than_the_client_takes_breaks_the_entry(files, name, fields, what):
    finding = written(files, name, entry_of(name, **fields))

    assert finding.what.startswith(f"`rlm` has in {what}")
    assert finding.fix
    assert finding.is_broken


def test_vs_code_takes_numbers_as_variables(files):
    finding = written(files, "vscode", entry_of("vscode", env={"RLM_MAX_TURNS": 7}))

    assert finding.fix is None


@pytest.mark.parametrize("variable", ["RLM_ROOTS", "RLM_MODEL_PATH"])
def test_a_path_that_is_gone_is_told_with_the_command_that_sets_another(files, variable):
    gone, there = str(files.home / "gone"), str(files.home)
    value = os.pathsep.join([there, gone]) if variable == "RLM_ROOTS" else gone
    wrong = found(files, server=Server(HERE.command, HERE.args, {variable: value}), entry="mine")
    right = [
        found(files, server=Server(HERE.command, HERE.args, {variable: each}))
        for each in (there, "${workspaceFolder}/x", "org/repo:x.gguf", "*")
    ]

    assert wrong.what == f"`mine` sets {variable} to what does not exist: {gone}"
    kind = "FOLDER" if variable == "RLM_ROOTS" else "FILE"
    assert wrong.fix == f"rlm-mcp install cursor --name mine --env {variable}={kind}"
    assert not wrong.is_broken
    assert [each.fix for each in right] == [None] * 4


@pytest.mark.parametrize(
    ("name", "key", "reads"),
    [
        ("vscode", "mcpServers", "servers"),
        ("zed", "mcpServers", "context_servers"),
        ("cursor", "servers", "mcpServers"),
        ("opencode", "mcpServers", "mcp.servers"),
    ],
)
def test_a_server_that_stands_where_other_clients_look_is_told(files, name, key, reads):
    path = files.write(name, json.dumps({key: {"rlm": entry_of("cursor")}}))

    (finding,) = findings(files.machine, server_here({}))

    assert finding.path == path
    where = f"`rlm` stands under `{key}`, and {client(name).name} reads `{reads}`"
    assert finding.what == where
    assert finding.fix == f"rlm-mcp install {name}"
    assert finding.is_broken


async def test_each_entry_that_seems_fine_is_started_as_its_client_would(files):
    for name in (each.id for each in clients() if each.files):
        files.write(name, with_server(client(name), "", "rlm", HERE))
    windsurf = with_server(client("windsurf"), "", "rlm", HERE)
    broken = Server(HERE.command, (*HERE.args, "srve"), HERE.env)
    files.write("windsurf", with_server(client("windsurf"), windsurf, "mine", broken))

    with anyio.fail_after(2 * WITHIN_S):
        all_found = await tried(files.machine, server_here({}))

    (wrong,) = (each for each in all_found if each.fix)
    assert wrong.what.startswith(f"`mine` starts {' '.join(broken.argv)}, which does not work: ")
    assert "ended with exit code 2 before it had answered: " in wrong.what
    assert "No such command 'srve'" in wrong.what
    assert wrong.fix == "rlm-mcp install windsurf --name mine"
    assert wrong.is_broken
    overwritten = client("opencode").name  # its file is that of the earlier version, too
    names = {each.name for each in clients() if each.files} - {overwritten}
    assert {each.client for each in all_found if each.fix is None} == names


async def test_what_is_no_start_of_this_installation_itself_is_not_started(files, tmp_path):
    other, ran = tmp_path / "rlm-mcp", tmp_path / "ran"
    other.write_text(f"#!/bin/sh\ntouch '{ran}'\n", encoding="utf-8")
    other.chmod(0o755)
    uvx = tmp_path / "uv" / "uvx"
    uvx.parent.mkdir()
    uvx.symlink_to(other)
    files.write("cursor", with_server(client("cursor"), "", "rlm", Server(str(other), (), {})))
    runner = Server(str(uvx), ("rlm-mcp",), {})
    files.write("zed", with_server(client("zed"), "", "rlm", runner))

    await tried(files.machine, server_here({}))
    await tried(files.machine, runner)

    assert not ran.exists()


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
    assert finding.is_broken


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
    assert finding.is_broken


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
