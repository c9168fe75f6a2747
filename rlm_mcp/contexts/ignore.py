"""Which files of a folder git would ignore: asked of git itself, of `pathspec` where git is not."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from pathspec import GitIgnoreSpec

from rlm_mcp.contexts.listing import Tick

Rules = Callable[[str], bool]
"""Whether a path relative to the folder is ignored; a folder's path ends in a slash."""

_LIST = ["ls-files", "--others", "--ignored", "--directory", "-z"]
_POLL_S = 0.2


def rules_for(folder: str, tick: Tick) -> Rules:
    """The rules that hold in `folder` and below it, up to the next nested repository.

    In a work tree they are the repository's, the user's own excludes and files that are tracked in
    spite of a rule included. A folder outside any, or one that is ignored as a whole and was named
    all the same, has the rules of the .gitignore files in it.
    """
    if shutil.which("git"):
        ignored = _in_work_tree(folder, tick)
        if ignored is None or "./" in ignored:
            ignored = _outside_work_tree(folder, tick)
        if ignored is not None:
            return ignored.__contains__
    return _Specs(folder).ignores


def _in_work_tree(folder: str, tick: Tick) -> set[str] | None:
    return _git([*_LIST, "--exclude-standard"], folder, tick)


def _outside_work_tree(folder: str, tick: Tick) -> set[str] | None:
    """Git wants a repository to apply its rules: the emptiest one it accepts, beside the folder."""
    with tempfile.TemporaryDirectory(prefix="rlm-git-") as empty:
        Path(empty, "objects").mkdir()
        Path(empty, "refs").mkdir()
        Path(empty, "HEAD").write_text("ref: refs/heads/none\n", encoding="utf-8")
        place = [f"--git-dir={empty}", f"--work-tree={folder}"]
        return _git([*place, *_LIST, "--exclude-per-directory=.gitignore"], folder, tick)


def _git(arguments: list[str], folder: str, tick: Tick) -> set[str] | None:
    """The paths git prints, None if it refuses. Nothing a repository configures is executed."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=own | quiet,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as git:
        try:
            while True:
                try:
                    printed, _ = git.communicate(timeout=_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    tick()
        except BaseException:
            git.kill()
            raise
    return set(os.fsdecode(printed).split("\0")) if git.returncode == 0 else None


class _Specs:
    """The .gitignore files of a folder, each read when the walk first comes past it."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._specs: dict[str, GitIgnoreSpec] = {}

    def ignores(self, path: str) -> bool:
        """The deepest file with a rule for `path` decides, in it the last rule."""
        parent = path.rstrip("/").rpartition("/")[0]
        while True:
            inner = path[len(parent) + 1 :] if parent else path
            verdict = self._spec(parent).check_file(inner).include
            if verdict is not None:
                return verdict
            if not parent:
                return False
            parent = parent.rpartition("/")[0]

    def _spec(self, parent: str) -> GitIgnoreSpec:
        spec = self._specs.get(parent)
        if spec is None:
            try:
                text = (self._folder / parent / ".gitignore").read_text("utf-8", "surrogateescape")
            except OSError:
                text = ""
            spec = self._specs[parent] = GitIgnoreSpec.from_lines(text.splitlines())
        return spec
