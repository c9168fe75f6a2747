"""The settings file: TOML, one `name = value` for each setting, named as in the library."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from rlm_mcp.errors import SettingsInvalid

VARIABLE = "RLM_CONFIG"
FILE = "config.toml"
READABLE = stat.S_IRGRP | stat.S_IROTH


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What one file says. Empty texts count as not said, as they do in the environment."""

    path: Path
    text: str
    values: Mapping[str, object]

    def place(self, name: str) -> str:
        """Where a name stands, as `path:line`; the path alone if the line cannot be told."""
        written = re.compile(rf"""\s*\[*\s*(["']?){re.escape(name)}\1\s*[=.\]]""")
        for number, line in enumerate(self.text.splitlines(), 1):
            if written.match(line):
                return f"{self.path}:{number}"
        return str(self.path)

    @property
    def is_exposed(self) -> bool:
        """Whether other users may read it. False on Windows, where its mode does not tell."""
        return os.name != "nt" and bool(self.path.stat().st_mode & READABLE)


def default_path() -> Path:
    """Where the file is if `RLM_CONFIG` names no other: the system's folder for settings."""
    return platformdirs.user_config_path("rlm-mcp", appauthor=False) / FILE


def own_path() -> Path:
    """Where this process's file is, whether or not there is one."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else default_path()


def read(environment: Mapping[str, str] | None) -> SettingsFile | None:
    """The file that `RLM_CONFIG` names, else the user's own, if there is one.

    `environment` None is the process's own. One that was made by a program stands for itself: the
    user's own file does not count then.

    Raises:
        SettingsInvalid: the file cannot be read, is no TOML, or is named and not there.
    """
    named = (os.environ if environment is None else environment).get(VARIABLE)
    if not named and environment is not None:
        return None
    path = own_path() if environment is None else Path(named or "").expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not named:
            return None
        raise SettingsInvalid(
            f"{path} cannot be read: {error.strerror or error}.",
            f"Make it readable, or let {VARIABLE} name another file.",
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"{path} is no UTF-8 text.", "Save it as UTF-8.") from error
    said = {name: value for name, value in _parsed(path, text).items() if value != ""}
    return SettingsFile(path, text, said)


def _parsed(path: Path, text: str) -> dict[str, object]:
    import tomllib  # noqa: PLC0415 - 8 ms that only those who have a file need spend

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(
            f"{path} is no TOML: {error}.",
            'Write each setting as `name = value`, texts in quotes: model = "qwen3".',
        ) from error
