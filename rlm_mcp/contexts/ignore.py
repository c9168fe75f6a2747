"""Which files of a folder git would ignore: asked of git itself, of `pathspec` where git is not."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pathspec import GitIgnoreSpec

from rlm_mcp.contexts import git
from rlm_mcp.contexts.files import FLAGS
from rlm_mcp.contexts.listing import Tick

Rules = Callable[[str], bool]
"""Whether a path relative to the folder is ignored; a folder's path ends in a slash."""

_LIST = ["ls-files", "--others", "--ignored", "--directory", "-z"]
_GIT_S = 20.0
_RULES_BYTES = 128 << 10
_RULE_CHARS = 1024
_RULE_STARS = 3


class RuleBook:
    """The rules of one walk. Git has 20 s for it in all: a pipe among its files would stop it."""

    def __init__(self, tick: Tick) -> None:
        self._tick = tick
        self._git_s = _GIT_S if shutil.which("git") else 0.0

    def rules(self, folder: str) -> Rules:
        """The rules that hold in `folder` and below it, up to the next nested repository.

        In a work tree they are the repository's, the user's own excludes and files that are tracked
        in spite of a rule included. A folder outside any, or one that is ignored as a whole and was
        named all the same, has the rules of the .gitignore files in it.
        """
        ignored = self._in_work_tree(folder)
        if ignored is None or "./" in ignored:
            ignored = self._outside_work_tree(folder)
        return _Specs(folder).ignores if ignored is None else ignored.__contains__

    def _in_work_tree(self, folder: str) -> set[str] | None:
        return self._git([*_LIST, "--exclude-standard"], folder)

    def _outside_work_tree(self, folder: str) -> set[str] | None:
        """Git wants a repository to apply its rules: the emptiest it accepts, beside the folder."""
        with tempfile.TemporaryDirectory(prefix="rlm-git-") as empty:
            Path(empty, "objects").mkdir()
            Path(empty, "refs").mkdir()
            Path(empty, "HEAD").write_text("ref: refs/heads/none\n", encoding="utf-8")
            place = [f"--git-dir={empty}", f"--work-tree={folder}"]
            return self._git([*place, *_LIST, "--exclude-per-directory=.gitignore"], folder)

    def _git(self, arguments: list[str], folder: str) -> set[str] | None:
        """The paths git prints, None if it refuses or its time is over.

        Nothing a repository configures is executed.
        """
        if self._git_s <= 0:
            return None
        began_s = time.monotonic()
        printed = git.output(arguments, folder, self._git_s, self._tick)
        self._git_s -= time.monotonic() - began_s
        return None if printed is None else set(os.fsdecode(printed).split("\0"))


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
            lines = _rule_lines(self._folder / parent / ".gitignore")
            spec = self._specs[parent] = GitIgnoreSpec.from_lines(lines)
        return spec


def _rule_lines(file: Path) -> list[str]:
    """The lines of a rules file; none if it is a link, no file, or larger than any real one."""
    try:
        number = os.open(file, FLAGS)
        try:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _RULES_BYTES:
                return []
            raw = os.read(number, _RULES_BYTES)
        finally:
            os.close(number)
    except OSError:
        return []
    lines = raw.decode("utf-8", "surrogateescape").splitlines()
    return [line for line in lines if _is_quick(line)]


def _is_quick(rule: str) -> bool:
    """Whether matching takes no time to speak of: it grows by a power for each star of a name."""
    stars = max(rule.count("**"), *(name.count("*") for name in rule.split("/")), 0)
    return len(rule) <= _RULE_CHARS and stars <= _RULE_STARS
