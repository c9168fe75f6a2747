"""The file of bearer tokens: each a line `name sha256:<hash>`, which gives none away.

A token has 256 random bits, so its bare hash cannot be guessed back.
"""

import hashlib
import hmac
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from rlm_mcp.errors import ArgumentInvalid, SettingsInvalid

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
LINE = re.compile(rf"({NAME.pattern}) sha256:([0-9a-f]{{64}})")
OTHERS = stat.S_IRWXG | stat.S_IRWXO

Stamp = tuple[int, int, int, int]


def new_token(path: Path, name: str) -> tuple[str, str]:
    """A new token of `name`, and the line with its hash that was added to the file.

    The file is made if need be, for its owner alone.

    A name may have several, to change from one to the next.

    Raises:
        ArgumentInvalid: `name` is none.
        SettingsInvalid: the file is no file of tokens, others may open it, or it cannot be written.
    """
    if not NAME.fullmatch(name):
        raise ArgumentInvalid(
            f"{name!r} cannot name a user.",
            "Take up to 64 of: letters, digits and . _ @ + -, a letter or digit first.",
        )
    token = f"rlm_{secrets.token_urlsafe(32)}"
    line = f"{name} sha256:{_hash(token)}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(
            os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8"
        ) as file:
            _require_own(path, file.fileno())
            before = file.read()
            _parsed(path, before)
            file.write("\n" * (bool(before) and not before.endswith("\n")))
            file.write(f"{line}\n")
    except OSError as error:
        raise _unusable(path, error) from error
    return token, line


@dataclass(slots=True)
class TokenFile:
    """Who may call. A change of the file counts with the next request."""

    path: Path
    _stamp: Stamp | None = None
    _entries: list[tuple[str, str]] = field(default_factory=list)

    def name_of(self, token: str) -> str | None:
        """Whose token it is, None if it is nobody's. Takes the same time for each that is wrong.

        Raises:
            SettingsInvalid: the file cannot be read, others may read it, or a line is broken.
        """
        self.refresh()
        wanted = _hash(token)
        found = [name for name, known in self._entries if hmac.compare_digest(known, wanted)]
        return found[0] if found else None

    def refresh(self) -> None:
        """Read the file if it is not the one that was read last; raises as `name_of`.

        Who may open it is looked at each time: that can change while what it holds does not.
        """
        before, self._stamp = self._stamp, None
        known, self._entries = self._entries, []  # what cannot be read lets nobody in
        try:
            with self.path.open(encoding="utf-8") as file:
                found = _require_own(self.path, file.fileno())
                stamp = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
                entries = known if stamp == before else _parsed(self.path, file.read())
        except (OSError, UnicodeDecodeError) as error:
            raise _unusable(self.path, error) from error
        self._stamp, self._entries = stamp, entries


def _require_own(path: Path, number: int) -> os.stat_result:
    found = os.fstat(number)
    if os.name == "posix" and found.st_mode & OTHERS:
        raise SettingsInvalid(f"Others on this machine may open {path}.", f"chmod 600 {path}")
    return found


def _parsed(path: Path, text: str) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.fullmatch(line.strip())
        if found is None:  # the line itself may be a token, so it is not shown
            raise SettingsInvalid(
                f"Line {number} of {path} is not `name sha256:<hash>`.",
                "Remove it and make a token: rlm-mcp token NAME",
            )
        entries.append((found[1], found[2]))
    return entries


def _unusable(path: Path, error: Exception) -> SettingsInvalid:
    why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return SettingsInvalid(
        f"The file of tokens {path} cannot be used: {why}.", "Make a token: rlm-mcp token NAME"
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
