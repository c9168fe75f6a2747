"""What is the server's own: in whatever folder it lies, nobody may load it."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from rlm_mcp.rules import LoadRules

REASON = "the server's own"

Identity = tuple[int, int]


@dataclass(slots=True)
class Private:
    """The private places of some rules, told by name and by device and inode.

    A name alone would not do: file systems may ignore case, and folders may be mounted twice. Nor
    would an inode: a file may be written anew meanwhile.
    """

    paths: frozenset[Path]
    identities: frozenset[Identity]
    _folders: dict[Path, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: LoadRules) -> Self:
        """As they are now, links followed; one that is not there is known by its name."""
        paths = frozenset(path.resolve() for path in rules.private)
        return cls(paths, frozenset(found for path in paths if (found := _identity(path))))

    def holds(self, path: Path) -> bool:
        """Whether `path`, in which no link is left to follow, is one or lies in one."""
        return bool(self.paths) and (self._is(path) or self._within(path.parent))

    def is_it(self, path: str, status: os.stat_result) -> bool:
        """Whether what stands at `path` is one of them itself."""
        return (status.st_dev, status.st_ino) in self.identities or Path(path) in self.paths

    def _within(self, folder: Path) -> bool:
        if folder not in self._folders:
            above = folder.parent
            self._folders[folder] = self._is(folder) or (above != folder and self._within(above))
        return self._folders[folder]

    def _is(self, path: Path) -> bool:
        return path in self.paths or _identity(path) in self.identities


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
