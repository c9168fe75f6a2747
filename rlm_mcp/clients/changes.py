"""A client's file changed so that nobody is surprised: shown, backed up, written in one step."""

import contextlib
import datetime as dt
import difflib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.clients.entries import entries, is_of_older, with_server, without_server
from rlm_mcp.clients.formats import Client, Server, is_ours, server_of
from rlm_mcp.errors import ConfigUnreadable, ConfigUnwritable, EntryTaken

BACKUP = ".before-rlm-mcp-"
SECRET = re.compile(
    r"""((?:key|token|secret|password|authorization)["']?\s*[:=]\s*)(["'])(?!\$\{).*?(?<!\\)\2""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a client's file. None: there is no file, before or after."""

    client: Client
    path: Path
    before: str | None
    after: str | None

    @property
    def is_none(self) -> bool:
        """Whether all is as it should be already."""
        return self.before == self.after

    def diff(self) -> str:
        """The change line by line, with the values of secrets starred out."""
        before, after = ((text or "").splitlines() for text in (self.before, self.after))
        lines = list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]
        return SECRET.sub(r"\1\2********\2", "\n".join(lines))


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
        return Change(client, path, before, with_server(client, text, name, server, secrets))


def removing(client: Client, path: Path, name: str) -> Change:
    """What takes the server of that name out of that file.

    Where nothing else has changed since it was put in, the file becomes byte for byte what it was.

    Raises:
        ConfigUnreadable: the client could not read the file.
        EntryTaken: something else has that name there.
    """
    with _placed(path):
        before = _read(path)
        if before is None:
            return Change(client, path, None, None)
        _refuse_others(client, before, name)
        entry = entries(client, before).get(name)
        if entry is None:
            return Change(client, path, before, before)
        for earlier in _earlier(path):
            if _becomes(client, earlier, before, name):
                return Change(client, path, before, earlier)
        return Change(client, path, before, without_server(client, before, name))


def apply(change: Change) -> Path | None:
    """Write it, in one step and through links, with the file's own rights; returns the backup.

    There is a backup, beside the file, wherever there was a file.

    Raises:
        ConfigUnwritable: it cannot be written, or is no longer as it was shown.
    """
    path = change.path
    try:
        with _placed(path):
            if _read(path) != change.before:
                raise ConfigUnwritable(
                    "somebody else has just written it.", "Close the client and try again."
                )
        backup = None if change.before is None else _back_up(path, change.before)
        if change.after is None:
            path.unlink()
        else:
            _write(path, change.after)
    except OSError as error:
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
