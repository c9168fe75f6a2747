"""A client's file changed so that nobody is surprised: shown, backed up, written in one step."""

import contextlib
import datetime as dt
import difflib
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.clients.entries import (
    entries,
    excerpt,
    is_of_older,
    keyless,
    ours,
    with_server,
    without_server,
)
from rlm_mcp.clients.formats import Client, Server, is_ours, server_of
from rlm_mcp.clients.stars import secret_names
from rlm_mcp.errors import ConfigUnreadable, ConfigUnwritable, EntryTaken
from rlm_mcp.settings_file import READABLE

BACKUP = ".before-rlm-mcp-"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a client's file, and of the entries of ours that have those names.

    `before` and `after` are its texts; None: there is no file. `kept` is what the backup is to
    hold: the text before, without keys of ours; None: it needs none.
    """

    client: Client
    path: Path
    before: str | None
    after: str | None
    names: tuple[str, ...] = ()
    kept: str | None = None

    @property
    def is_none(self) -> bool:
        """Whether all is as it should be already."""
        return self.before == self.after

    def diff(self) -> str:
        """What changes of those entries, line by line; their secrets starred out, all else not."""
        sides = [
            [excerpt(self.client, text or "", self.names, bare=bare) for bare in (True, False)]
            for text in (self.before, self.after)
        ]
        (before, before_shown), (after, after_shown) = sides
        lines: list[str] = []
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        for kind, start, end, new_start, new_end in matcher.get_opcodes():
            if kind == "equal":
                lines += [f" {line}" for line in before_shown[start:end]]
            else:
                lines += [f"-{line}" for line in before_shown[start:end]]
                lines += [f"+{line}" for line in after_shown[new_start:new_end]]
        return "\n".join(lines)

    @property
    def exposed(self) -> tuple[str, ...]:
        """The secret variables that other users could read in the file as it is to be.

        A new file is its owner's alone; a file that is there keeps its mode. Empty on Windows,
        where a mode does not tell.
        """
        real = Path(os.path.realpath(self.path))
        if os.name == "nt" or not real.exists() or not real.stat().st_mode & READABLE:
            return ()
        there = ours(self.client, self.after or "")
        envs = [there[name].env for name in self.names if name in there]
        return tuple(name for env in envs for name in secret_names(env))


def adding(
    client: Client, path: Path, name: str, server: Server, secrets: tuple[str, ...] = ()
) -> Change:
    """What puts the server into that file.

    Raises:
        ConfigUnreadable: the client could not read the file, or it is of an older client.
        EntryTaken: something else has that name there.
    """
    with _placed(path):
        before = _read(path)
        text = before or ""
        _refuse_others(client, text, name)
        if is_of_older(client, text):
            raise ConfigUnreadable(
                f"it has servers as an earlier version than {client.name} writes them.",
                f"rlm-mcp install {client.older} sets that version up.",
            )
        after = with_server(client, text, name, server, secrets)
        kept = None if before is None else keyless(client, before)
        return Change(client, path, before, after, (name,), kept)


def removing(client: Client, path: Path, name: str | None = None) -> Change:
    """What takes the server of that name out of that file; None: all that start rlm-mcp.

    Where nothing else has changed since they were put in, the file becomes byte for byte what it
    was, and needs no backup.

    Raises:
        ConfigUnreadable: the client could not read the file.
        EntryTaken: something else has that name there.
    """
    with _placed(path):
        before = _read(path)
        if before is None:
            return Change(client, path, None, None)
        if name is not None:
            _refuse_others(client, before, name)
        names = tuple(each for each in ours(client, before) if name in {None, each})
        after, is_restored = _taken_out(client, path, before, names)
        kept = None if is_restored else keyless(client, before)
        return Change(client, path, before, after, names, kept)


def apply(change: Change) -> Path | None:
    """Write it, in one step and through links, with the file's own rights; returns the backup.

    The backup is beside the file.

    Raises:
        ConfigUnwritable: it cannot be written, or is no longer as it was shown.
    """
    path, backup = change.path, None
    try:
        with _placed(path):
            if _read(path) != change.before:
                raise ConfigUnwritable(
                    "somebody else has just written it.", "Close the client and try again."
                )
        backup = None if change.kept is None else _back_up(path, change.kept)
        if change.after is None:
            Path(os.path.realpath(path)).unlink()
        else:
            _write(path, change.after)
    except OSError as error:
        if backup is not None:
            backup.unlink()
        raise ConfigUnwritable(
            f"{path} cannot be written: {error.strerror or error}.",
            "Make it writable, or print the entry with --print and put it in yourself.",
        ) from error
    return backup


def _refuse_others(client: Client, text: str, name: str) -> None:
    entry = entries(client, text).get(name)
    server = server_of(client, entry)
    if entry is not None and (server is None or not is_ours(server)):
        raise EntryTaken(
            f"its entry {name!r} is not rlm-mcp's.", "Choose another name with --name."
        )


def _taken_out(
    client: Client, path: Path, text: str | None, names: Sequence[str]
) -> tuple[str | None, bool]:
    """The text without those entries, and whether it is one that was there before them."""
    is_restored = False
    left = list(names)
    while left and text is not None:
        step = _step_back(client, path, text, left)
        is_restored = step is not None
        name, text = step or (left[-1], without_server(client, text, left[-1]))
        left.remove(name)
    return text, is_restored


def _step_back(
    client: Client, path: Path, text: str, names: Sequence[str]
) -> tuple[str, str | None] | None:
    """The entry that was put in last, and the text before it; None if others have written since."""
    steps = ((name, earlier) for name in names for earlier in _earlier(path))
    return next((step for step in steps if _becomes(client, step[1], text, step[0])), None)


def _becomes(client: Client, earlier: str | None, now: str, name: str) -> bool:
    """Whether putting the present entry into the earlier text gives the present text."""
    entry = entries(client, now)[name]
    server = server_of(client, entry)
    try:
        if server is None or name in entries(client, earlier or ""):
            return False
        asked = tuple(key for key, value in server.env.items() if value.startswith("${input:"))
        return with_server(client, earlier or "", name, server, asked) == now
    except ConfigUnreadable:
        return False


def _earlier(path: Path) -> Iterator[str | None]:
    """The texts that the backups have, the newest first, and last that there was no file."""
    for backup in sorted(path.parent.glob(f"{path.name}{BACKUP}*"), reverse=True):
        with contextlib.suppress(OSError, ConfigUnreadable):
            yield _read(backup)
    yield None


def _read(path: Path) -> str | None:
    """The text as it is, line ends and all; None if there is no file."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigUnreadable(
            f"byte {error.start} is no UTF-8.", "Save the file as UTF-8."
        ) from error
    except OSError as error:
        raise ConfigUnreadable(
            f"it cannot be read: {error.strerror}.", "Make the file readable."
        ) from error


def _back_up(path: Path, text: str) -> Path:
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    backup = path.with_name(f"{path.name}{BACKUP}{stamp}")
    _write(backup, text, mode=stat.S_IMODE(path.stat().st_mode))
    return backup


def _write(path: Path, text: str, mode: int | None = None) -> None:
    real = Path(os.path.realpath(path))
    if mode is None:
        # A new file is its owner's alone: it may come to hold a key.
        mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else 0o600
    real.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.chmod(mode)
        fresh.replace(real)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _placed(path: Path) -> Iterator[None]:
    """Errors inside begin with the file's path."""
    try:
        yield
    except (ConfigUnreadable, ConfigUnwritable, EntryTaken) as error:
        raise type(error)(f"{path}: {error.message}", error.hint) from error
