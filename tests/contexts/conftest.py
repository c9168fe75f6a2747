"""A store, trees of files, and loading in one line."""

import os
import subprocess

import pytest

from rlm_mcp.contexts.store import ContextStore


@pytest.fixture
def store(own_environment):
    return ContextStore(own_environment)


@pytest.fixture
def tree(tmp_path):
    """Make files below a folder: `tree({"a/b.txt": "text", "c": b"bytes"})` gives the folder."""

    def make(files, name="tree"):
        folder = tmp_path / name
        for path, content in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return folder

    return make


@pytest.fixture
def repository(tree):
    """The same, in a git repository with everything in `tracked` added."""

    def make(files, name="tree", tracked=()):
        folder = tree(files, name)
        own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        for command in ["init", "-q"], *([["add", "-f", *tracked]] if tracked else []):
            subprocess.run(["git", *command], cwd=folder, env=own, check=True)
        return folder

    return make
