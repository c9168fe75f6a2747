"""Shared fixtures: the anyio back end, a data folder of one's own, golden files."""

import os
import signal
from pathlib import Path

import pytest

from rlm_mcp.settings import PREFIX

UPDATE_GOLDEN = bool(os.environ.get("RLM_UPDATE_GOLDEN"))


def pytest_configure():
    # A shell's background job ignores Ctrl-C, and so would every program that a test starts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
def program_cache(tmp_path_factory):
    """The compiled program of guests, made once for all tests."""
    return tmp_path_factory.mktemp("program")


@pytest.fixture(autouse=True)
def own_environment(tmp_path, monkeypatch, program_cache):
    """No test sees the user's settings or writes to the user's data folder."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    (home / "cache").symlink_to(program_cache, target_is_directory=True)
    monkeypatch.setenv("RLM_HOME", str(home))
    monkeypatch.setenv("RLM_CONFIG", os.devnull)
    monkeypatch.setenv("RLM_ROOTS", "*")  # tests load from folders of their own
    return home


@pytest.fixture
def golden(request):
    """Compares a text with a file in `golden/` beside the test; RLM_UPDATE_GOLDEN=1 writes it."""

    def compare(name: str, text: str) -> None:
        path = Path(request.path).parent / "golden" / name
        if UPDATE_GOLDEN:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
