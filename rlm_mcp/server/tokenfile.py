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

Stamp = tuple[int, int, int]


def new_token(path: Path, name: str) -> str:
    """A new token of `name`, its hash added to the file, which is made if need be.

    A name may have several, to change from one to the next.

    Raises:
        ArgumentInvalid: `name` is none.
        SettingsInvalid: the file is no file of tokens, or cannot be written.
    """
    if not NAME.fullmatch(name):
        raise ArgumentInvalid(
            f"{name!r} cannot name a user.",
            "Take up to 64 of: letters, digits and . _ @ + -, a letter or digit first.",
        )
    token = f"rlm_{secrets.token_urlsafe(32)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(
            os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="utf-8"
        ) as file:
            before = file.read()
            _parsed(path, before)
            file.write("\n" * (bool(before) and not before.endswith("\n")))
            file.write(f"{name} sha256:{_hash(token)}\n")
    except OSError as error:
        raise _unusable(path, error) from error
    return token


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
        """Read the file if it is not the one that was read last; raises as `name_of`."""
        try:
            found = self.path.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp == self._stamp:
                return
            self._stamp, self._entries = None, []  # what cannot be read lets nobody in
            if os.name == "posix" and found.st_mode & OTHERS:
                raise SettingsInvalid(
                    f"Others on this machine may open {self.path}.", f"chmod 600 {self.path}"
                )
            self._entries = _parsed(self.path, self.path.read_text(encoding="utf-8"))
            self._stamp = stamp
        except (OSError, UnicodeDecodeError) as error:
            self._stamp, self._entries = None, []
            raise _unusable(self.path, error) from error


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
