"""A revision of a git repository, `folder@revision`: read from its objects, not its work tree."""

import difflib
import os
import select
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from rlm_mcp.contexts import git, secrets
from rlm_mcp.contexts.listing import Asking, Entry, Listing, Piece, Source, Tick, shown
from rlm_mcp.contexts.private import Private
from rlm_mcp.contexts.reading import CHUNK_BYTES, pieces
from rlm_mcp.contexts.repository import GIT_S, require_admitted
from rlm_mcp.contexts.roots import located
from rlm_mcp.errors import SourceMissing, SourceUnreadable
from rlm_mcp.rules import LoadRules
from rlm_mcp.types import Skip

_POLL_S = 0.2
_ABSENT = "not in this clone"


def offer(source: Source, asking: Asking) -> Listing | None:
    """The files of a folder as a revision has them: a branch, a tag, a commit.

    Links and submodules are skipped; nothing is fetched, and nothing the repository configures is
    run.

    Raises:
        SourceForbidden: the folder or its repository lies in none of the roots.
        SourceMissing: there is no such revision.
        SourceUnreadable: the folder is in no repository, or git is not there.
    """
    if not isinstance(source, str) or os.path.lexists(source):
        return None
    place, at, revision = source.rpartition("@")
    if not at or not revision or not place:
        return None
    folder = located(place, asking.rules)
    if not folder.is_dir():
        return None
    try:
        repository = _Repository.around(folder, asking)
        return repository.listing(revision)
    except FileNotFoundError as error:
        raise SourceUnreadable(
            f"{shown(source)} needs git, which is not here.", "Install git."
        ) from error


@dataclass(frozen=True, slots=True)
class _Repository:
    """The repository that a folder lies in; `prefix` is the way down to the folder."""

    folder: Path
    prefix: str
    asking: Asking

    @classmethod
    def around(cls, folder: Path, asking: Asking) -> Self:
        require_admitted(folder, asking)
        printed = git.output(["rev-parse", "--show-prefix"], str(folder), GIT_S, asking.tick)
        if printed is None:
            raise _gone()
        return cls(folder, os.fsdecode(printed.removesuffix(b"\n")), asking)

    def listing(self, revision: str) -> Listing:
        """The files of a revision."""
        commit = self._asked(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
        if commit is None:
            raise self._missing(revision)
        tree = self._asked("ls-tree", "-r", "-z", "-l", "--full-tree", commit.strip(), self.prefix)
        blobs = self.asking.stack.enter_context(_Blobs(str(self.folder), self.asking.tick))
        entries: list[Entry] = []
        skipped: list[Skip] = []
        private = Private.of(self.asking.rules)
        if tree is None:
            raise _gone()
        for row in tree.split("\0")[:-1]:
            head, _, path = row.partition("\t")
            mode, _, name, size = head.split()
            path = path.removeprefix(self.prefix)
            if private.holds(self.folder / path):
                continue
            reason = _reason(int(mode, 8), path, self.asking.rules)
            if not reason and not size.isdigit():
                reason = _ABSENT
            if reason:
                skipped.append(Skip(shown(path), reason))
                continue
            guard = secrets.Guard.of(path, self.asking.rules)
            read = partial(_read, blobs, name, guard=guard)
            entries.append(Entry(shown(path), read, f"git {name} {guard}", bytes=int(size)))
        return Listing(
            name=shown(f"{self.folder.name}@{revision}"),
            folder=f"{self.folder}@{revision}",
            entries=tuple(sorted(entries, key=lambda entry: entry.path)),
            skipped=tuple(sorted(skipped, key=lambda skip: skip.path)),
        )

    def _asked(self, *arguments: str) -> str | None:
        given = [argument for argument in arguments if argument]
        printed = git.output(given, str(self.folder), GIT_S, self.asking.tick)
        return None if printed is None else os.fsdecode(printed)

    def _missing(self, revision: str) -> SourceMissing:
        known = (self._asked("for-each-ref", "--format=%(refname:short)") or "").split()
        near = difflib.get_close_matches(revision, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else "Name a branch, a tag or a commit it has."
        return SourceMissing(f"{shown(str(self.folder))} has no revision {shown(revision)}.", hint)


def _reason(mode: int, path: str, rules: LoadRules) -> str | None:
    """Why a file is left out, None if it is not."""
    if stat.S_ISLNK(mode):
        return "symbolic link"
    if not stat.S_ISREG(mode):
        return "submodule"
    return secrets.reason(path, rules)


def _read(blobs: "_Blobs", name: str, *, guard: secrets.Guard) -> Iterator[Piece]:
    yield from pieces(blobs.read(name), guard=guard)


def _gone() -> SourceUnreadable:
    return SourceUnreadable("git gives no answer", "Check the repository with git fsck.")


class _Blobs:
    """One `git cat-file --batch` for all objects of a load."""

    def __init__(self, folder: str, tick: Tick) -> None:
        self._folder = folder
        self._tick = tick
        self._left = 0
        self._buffer = b""

    def __enter__(self) -> Self:
        self._git = git.start(["cat-file", "--batch"], self._folder, stdin=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        self._git.kill()
        with self._git:
            pass

    def read(self, name: str) -> Iterator[bytes]:
        """The bytes of an object.

        Raises:
            SourceUnreadable: it is not there, or git has ended.
        """
        for _ in self._rest():  # of one that was not read to its end
            pass
        assert self._git.stdin
        try:
            self._git.stdin.write(f"{name}\n".encode())
            self._git.stdin.flush()
        except OSError as error:
            raise _gone() from error
        head = self._line().split()
        if head[-1:] == [b"missing"]:
            raise SourceUnreadable(_ABSENT, "Fetch it with git.")
        self._left = int(head[2]) + 1
        yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        while self._left:
            chunk = (self._buffer or self._more())[: self._left]
            self._buffer = self._buffer[len(chunk) :]
            self._left -= len(chunk)
            text = chunk if self._left else chunk[:-1]  # a newline ends it
            if text:
                yield text

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            self._buffer += self._more()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _more(self) -> bytes:
        """Waits for git and looks around meanwhile: a pipe among the objects would stop it."""
        assert self._git.stdout
        number = self._git.stdout.fileno()
        while os.name == "posix" and not select.select([number], [], [], _POLL_S)[0]:
            self._tick()
        chunk = os.read(number, CHUNK_BYTES)
        if not chunk:
            raise _gone()
        return chunk
