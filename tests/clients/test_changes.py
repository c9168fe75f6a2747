import json
import stat

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
        '{\n  "mcpServers": {\n    "a": {\n      "command": "x",\n'
        '      "env": {"A_TOKEN": "t0p", "B": "${env:KEY}"}\n    }\n  }\n}\n',
    )
    server = Server(SERVER.command, (), {"RLM_API_KEY": 'sk-"1', "RLM_MODEL": "qwen"})

    shown = adding(client("cursor"), files.file("cursor"), "rlm", server).diff()

    assert "t0p" not in shown
    assert "sk-" not in shown
    golden("diff.txt", shown + "\n")
