"""A home of one's own, in which clients have been used; nothing of the real one is seen."""

import os

import pytest

from rlm_mcp.clients.formats import Machine, client, file_of

FOLDERS = ("XDG_CONFIG_HOME", "APPDATA", "LOCALAPPDATA", "CODEX_HOME", "CLAUDE_CONFIG_DIR")


class Desk:
    """A machine of which files, and nothing else, are real."""

    def __init__(self, home):
        self.home = home
        self.machine = Machine("linux", {"HOME": str(home)}, home)

    def file(self, name):
        return file_of(client(name), self.machine)

    def write(self, name, text, mode=None):
        """The text as that client's file, line ends as they are."""
        path = self.file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        if mode is not None:
            path.chmod(mode)
        return path


@pytest.fixture
def machine_home(tmp_path, monkeypatch):
    home = tmp_path / "user"
    home.mkdir()
    for name in (*FOLDERS, "COPILOT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    assert "RLM_API_KEY" not in os.environ
    return home


@pytest.fixture
def files(machine_home):
    return Desk(machine_home)
