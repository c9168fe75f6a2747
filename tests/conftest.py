"""Shared fixtures: the anyio back end, a data folder of one's own, no settings from outside."""

import os

import pytest

from rlm_mcp.settings import PREFIX


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def own_environment(tmp_path, monkeypatch):
    """No test sees the user's settings or writes to the user's data folder."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("RLM_HOME", str(home))
    return home
