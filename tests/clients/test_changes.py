import json
import os
import stat
from dataclasses import replace

import pytest

from rlm_mcp.clients.changes import BACKUP, adding, apply, removing
from rlm_mcp.clients.formats import Server, client
from rlm_mcp.errors import ConfigUnreadable, ConfigUnwritable, EntryTaken

SERVER = Server("/opt/rlm/bin/rlm-mcp", (), {"RLM_ROOTS": "/code"})
THEIRS = '{\n  "mcpServers": {\n    "a": {"command": "x"}\n  }\n}\n'


def put(files, name="cursor", server=SERVER):
    change = adding(client(name), files.file(name), "rlm", server)
    return change, apply(change)


def take(files, name="cursor"):
    change = removing(client(name), files.file(name), "rlm")
    return change, apply(change)


def backups(path):
    return sorted(path.parent.glob(f"{path.name}{BACKUP}*"))


def test_a_file_is_backed_up_beside_itself_before_it_is_written(files):
    path = files.write("cursor", THEIRS)

    _, backup = put(files)

    assert backups(path) == [backup]
    assert backup.read_text(encoding="utf-8") == THEIRS
    assert json.loads(path.read_text(encoding="utf-8"))["mcpServers"].keys() == {"a", "rlm"}


def test_a_file_keeps_its_mode_and_so_does_its_backup(files):
    path = files.write("cursor", THEIRS, mode=0o640)

    _, backup = put(files)

    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, backup)] == [0o640, 0o640]


def test_a_new_file_is_its_owners_alone(files):
    put(files)

    assert stat.S_IMODE(files.file("cursor").stat().st_mode) == 0o600
    assert backups(files.file("cursor")) == []


def test_a_link_stays_a_link_and_the_file_it_names_is_written(files):
    real = files.home / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text(THEIRS, encoding="utf-8")
    link = files.file("cursor")
    link.parent.mkdir()
    link.symlink_to(real)

    put(files)

    assert link.is_symlink()
    assert "rlm" in json.loads(real.read_text(encoding="utf-8"))["mcpServers"]
    assert [each.name for each in real.parent.iterdir()] == ["mcp.json"]


def test_a_file_that_somebody_wrote_meanwhile_is_left_alone(files):
    path = files.write("cursor", THEIRS)
    change = adding(client("cursor"), path, "rlm", SERVER)
    files.write("cursor", "{}")

    with pytest.raises(ConfigUnwritable) as caught:
        apply(change)

    assert str(path) in caught.value.message
    assert path.read_text(encoding="utf-8") == "{}"
    assert backups(path) == []


def test_a_folder_that_takes_no_file_is_told(files):
    files.home.joinpath(".cursor").write_text("a file", encoding="utf-8")

    with pytest.raises((ConfigUnreadable, ConfigUnwritable)) as caught:
        put(files)

    assert str(files.file("cursor")) in caught.value.message


@pytest.mark.parametrize(
    "text", [THEIRS, "{}", "", '{"mcpServers": {}}', '{\r\n "mcpServers": { }\r\n}', None]
)
def test_taken_out_again_the_file_is_byte_for_byte_what_it_was(files, text):
    path = files.file("cursor")
    if text is not None:
        files.write("cursor", text)

    put(files)
    take(files)

    assert (path.read_bytes().decode() if path.exists() else None) == text


def test_taken_out_after_a_second_change_of_ours_it_is_what_it_was_before_the_first(files):
    path = files.write("cursor", '{"mcpServers": { }}')

    put(files)
    put(files, server=Server(SERVER.command, (), {"RLM_ROOTS": "/other"}))
    take(files)

    assert path.read_text(encoding="utf-8") == '{"mcpServers": { }}'


def test_what_others_have_written_since_stays_when_ours_goes(files):
    path = files.write("cursor", '{"mcpServers": {}}')
    put(files)
    grown = json.loads(path.read_text(encoding="utf-8"))
    grown["mcpServers"]["b"] = {"command": "y"}
    files.write("cursor", json.dumps(grown))

    take(files)

    assert json.loads(path.read_text(encoding="utf-8")) == {"mcpServers": {"b": {"command": "y"}}}


@pytest.mark.parametrize("name", ["cursor", "codex"])
def test_a_second_time_changes_nothing(files, name):
    put(files, name)

    assert adding(client(name), files.file(name), "rlm", SERVER).is_none


def test_taking_out_what_is_not_there_changes_nothing(files):
    assert removing(client("cursor"), files.file("cursor"), "rlm").is_none
    files.write("cursor", THEIRS)
    assert removing(client("cursor"), files.file("cursor"), "rlm").is_none


@pytest.mark.parametrize("deed", [put, take])
@pytest.mark.parametrize("entry", [{"command": "another"}, {"url": "https://x.example"}])
def test_an_entry_of_that_name_that_is_not_ours_is_never_touched(files, deed, entry):
    path = files.write("cursor", json.dumps({"mcpServers": {"rlm": entry}}))
    before = path.read_bytes()

    with pytest.raises(EntryTaken) as caught:
        deed(files)

    assert "--name" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ['{"mcpServers": {"a": }}', "\udcff"])
def test_a_file_that_cannot_be_read_is_refused_with_the_place(files, text):
    path = files.file("claude-desktop")
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(ConfigUnreadable) as caught:
        put(files, "claude-desktop")

    assert str(path) in caught.value.message
    assert "line 1, column 22" in caught.value.message or "byte 0" in caught.value.message


def test_an_older_opencode_is_sent_to_its_own_format(files):
    files.write("opencode", '{"mcp": {"a": {"type": "local", "command": ["x"]}}}')

    with pytest.raises(ConfigUnreadable) as caught:
        put(files, "opencode")

    assert caught.value.hint == "rlm-mcp install opencode-1 sets that version up."


def test_what_is_shown_is_the_change_without_the_values_of_secrets(files, golden):
    files.write(
        "cursor",
        '{\n  "mcpServers": {\n    "a": {"command": "x", "args": ["t0p"], "env": {"PIN": "t0p"}}\n'
        "  } // t0p\n}\n",
    )
    env = {"RLM_API_URL": "http://me:t0p@host/v1", "RLM_API_KEY": 't0p"1', "RLM_MODEL": "qwen"}

    shown = adding(
        client("cursor"), files.file("cursor"), "rlm", Server(SERVER.command, (), env)
    ).diff()

    assert "t0p" not in shown
    golden("diff.txt", shown + "\n")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cursor", '{"mcpServers": {"a": {"env": {"PIN": "t0p"}}, "rlm": {"command": "rlm-mcp"}}}'),
        ("vscode", '{"inputs": [{"id": "t0p"}], "servers": {"a": {"args": ["t0p"]}}, "b": "t0p"}'),
        ("codex", "t = 't0p'\n[mcp_servers]\na.env.PIN = 't0p'\nrlm = {command = 'rlm-mcp'}\n"),
        ("codex", "t = 't0p'\n[mcp_servers.a]\nargs = ['t0p']\n"),
    ],
)
def test_nothing_of_other_servers_is_shown_on_whatever_line_it_stands(files, name, text):
    path = files.write(name, text)
    added = adding(client(name), path, "rlm", SERVER, ("RLM_API_KEY",))

    shown = added.diff()
    shown_back = replace(added, before=added.after, after=added.before).diff()

    assert SERVER.command in shown
    assert SERVER.command in shown_back
    assert "t0p" not in shown + shown_back


@pytest.mark.parametrize("name", ["cursor", "codex"])
def test_no_character_in_a_secret_moves_the_stars_to_another_line(files, name):
    env = {"RLM_MODEL": "a\n\u2028b", "RLM_API_KEY": "t0p\n\u2028\x85\rt0p", "RLM_ROOTS": "/code"}

    shown = adding(client(name), files.file(name), "rlm", Server("rlm-mcp", (), env)).diff()

    assert "t0p" not in shown
    assert "/code" in shown


def test_another_key_is_shown_as_a_change_though_both_are_stars(files):
    put(files, server=Server(SERVER.command, (), {"RLM_API_KEY": "sk-1"}))
    other = Server(SERVER.command, (), {"RLM_API_KEY": "sk-2"})

    shown = adding(client("cursor"), files.file("cursor"), "rlm", other).diff()

    assert [line for line in shown.splitlines() if line[0] != " "] == [
        '-        "RLM_API_KEY": "********"',
        '+        "RLM_API_KEY": "********"',
    ]


WITH_KEY = Server(SERVER.command, (), {"RLM_API_KEY": "sk-1", "RLM_ROOTS": "/code"})


def holding(files, text):
    return [
        path
        for path in files.home.rglob("*")
        if path.is_file() and text in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", ["cursor", "codex"])
@pytest.mark.parametrize("others_write", [False, True])
def test_taken_out_a_key_is_in_no_file_any_more(files, name, others_write):
    start = "# mine\n[a]\n" if name == "codex" else THEIRS
    path = files.write(name, start)
    put(files, name, WITH_KEY)
    put(files, name, Server(SERVER.command, (), WITH_KEY.env | {"RLM_ROOTS": "/other"}))
    assert holding(files, "sk-1") == [path]
    if others_write:
        files.write(name, path.read_text(encoding="utf-8") + "\n")

    change, backup = take(files, name)

    assert holding(files, "sk-1") == []
    assert (backup is None) == (not others_write)
    if backup is not None:
        kept = backup.read_text(encoding="utf-8")
        assert kept == change.before.replace("sk-1", "********")


def test_a_file_that_becomes_what_it_was_needs_no_backup(files):
    path = files.write("cursor", THEIRS)
    _, first = put(files)

    _, second = take(files)

    assert second is None
    assert backups(path) == [first]


def test_a_link_to_a_file_that_is_not_there_yet_is_a_link_to_it_in_the_end(files):
    real = files.home / "dotfiles" / "mcp.json"
    link = files.file("cursor")
    link.parent.mkdir()
    link.symlink_to(real)

    put(files)
    assert real.is_file()
    take(files)

    assert link.is_symlink()
    assert not real.exists()


def test_without_a_name_all_that_are_ours_go_and_the_file_is_what_it_was(files):
    path = files.write("cursor", THEIRS)
    for name in ("rlm", "big-reader"):
        apply(adding(client("cursor"), path, name, SERVER))

    change = removing(client("cursor"), path)
    apply(change)

    assert change.names == ("rlm", "big-reader")
    assert path.read_text(encoding="utf-8") == THEIRS


def test_with_a_name_the_others_that_are_ours_stay(files):
    path = files.write("cursor", THEIRS)
    for name in ("rlm", "big-reader"):
        apply(adding(client("cursor"), path, name, SERVER))

    apply(removing(client("cursor"), path, "rlm"))

    assert list(json.loads(path.read_text(encoding="utf-8"))["mcpServers"]) == ["a", "big-reader"]


@pytest.mark.skipif(os.name == "nt", reason="a mode tells nothing there")
@pytest.mark.parametrize(
    ("mode", "server", "told"),
    [
        (0o644, WITH_KEY, ("RLM_API_KEY",)),
        (0o640, WITH_KEY, ("RLM_API_KEY",)),
        (0o600, WITH_KEY, ()),
        (0o644, SERVER, ()),
        (None, WITH_KEY, ()),
    ],
)
def test_a_key_in_a_file_that_others_can_read_is_told(files, mode, server, told):
    path = files.file("cursor")
    if mode is not None:
        files.write("cursor", THEIRS, mode=mode)

    assert adding(client("cursor"), path, "rlm", server).exposed == told


def test_a_file_that_cannot_be_written_leaves_no_backup_behind(files):
    # A name so long that there is none for the file that is to take its place.
    real = files.home / f"{'x' * 250}.json"
    real.write_text(THEIRS, encoding="utf-8")
    link = files.file("cursor")
    link.parent.mkdir()
    link.symlink_to(real)

    with pytest.raises(ConfigUnwritable) as caught:
        put(files)

    assert caught.value.message.startswith(f"{link} cannot be written: ")
    assert backups(link) == []
    assert real.read_text(encoding="utf-8") == THEIRS
