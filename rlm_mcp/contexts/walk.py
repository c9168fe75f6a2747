"""A folder to the files in it: git's ignore rules hold, and what is left out has a reason."""

import os
import stat
from dataclasses import dataclass

from rlm_mcp.contexts import private
from rlm_mcp.contexts.ignore import RuleBook, Rules
from rlm_mcp.contexts.listing import Tick, reason_of, shown
from rlm_mcp.contexts.private import Private
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import Skip

_IGNORED = "ignored by .gitignore"
_IGNORED_SHOWN = 20


@dataclass(frozen=True, slots=True)
class WalkedFile:
    """A regular file: its path relative to the walked folder, as the system gives it."""

    path: str
    status: os.stat_result


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to enter: its path with a slash at the end, and the rules from `path[cut:]` on."""

    path: str
    rules: Rules
    cut: int


def kind_of(mode: int) -> str:
    """What stands at a path that is no regular file, in words."""
    if stat.S_ISLNK(mode):
        return "symbolic link"
    if stat.S_ISFIFO(mode):
        return "named pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"


def walk(
    folder: str, tick: Tick, rules: LoadRules | None = None
) -> tuple[list[WalkedFile], list[Skip]]:
    """The files under `folder` that git would not ignore, in no order; `.git` itself left out.

    What the `rules` call private is not looked into.

    An ignored folder is one skip, and so are all ignored files of a folder behind its 20th.

    Raises:
        OSError: `folder` itself cannot be listed.
    """
    walker = _Walker(folder, tick, Private.of(rules or LoadRules()))
    pending = walker.enter(_Folder("", walker.book.rules(folder), 0))
    while pending:
        tick()
        inner = pending.pop()
        try:
            pending += walker.enter(inner)
        except OSError as error:
            walker.skip(inner.path, reason_of(error))
    return walker.files, walker.skipped


class _Walker:
    """What was found so far."""

    def __init__(self, top: str, tick: Tick, closed: Private) -> None:
        self._top = top
        self._closed = closed
        self.book = RuleBook(tick)
        self.files: list[WalkedFile] = []
        self.skipped: list[Skip] = []

    def skip(self, path: str, reason: str) -> None:
        self.skipped.append(Skip(shown(path), reason))

    def enter(self, folder: _Folder) -> list[_Folder]:
        """Take the files of one folder; its own folders are returned, to be entered later."""
        place = f"{self._top}/{folder.path}"
        with os.scandir(place) as listing:
            found = {entry.name: entry for entry in listing}
        if found.pop(".git", None) and folder.path:
            folder = _Folder(folder.path, self.book.rules(place), len(folder.path))
        inner: list[_Folder] = []
        ignored = 0
        for entry in found.values():
            path = folder.path + entry.name
            if self._closed.paths and self._is_closed(entry):
                self.skip(path, private.REASON)
            elif entry.is_dir(follow_symlinks=False):
                if folder.rules(path[folder.cut :] + "/"):
                    self.skip(path + "/", _IGNORED)
                else:
                    inner.append(_Folder(path + "/", folder.rules, folder.cut))
            elif not folder.rules(path[folder.cut :]):
                self._take(entry, path)
            elif (ignored := ignored + 1) <= _IGNORED_SHOWN:
                self.skip(path, _IGNORED)
        if ignored > _IGNORED_SHOWN:
            self.skip(folder.path + "*", f"{ignored - _IGNORED_SHOWN} more {_IGNORED}")
        return inner

    def _is_closed(self, entry: os.DirEntry[str]) -> bool:
        try:
            return self._closed.is_it(entry.path, entry.stat(follow_symlinks=False))
        except OSError:
            return False  # whoever takes it is told

    def _take(self, entry: os.DirEntry[str], path: str) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            self.skip(path, reason_of(error))
            return
        if stat.S_ISREG(status.st_mode):
            self.files.append(WalkedFile(path, status))
        else:
            self.skip(path, kind_of(status.st_mode))
