"""`rlm-mcp doctor --settings`: every setting, its value, and where that was given."""

import json
from urllib.parse import urlsplit

from pydantic import SecretStr

from rlm_mcp import settings_file
from rlm_mcp.given import AllGiven
from rlm_mcp.settings import Settings

MASKED = "********"
UNSET = "-"


def as_text(settings: Settings, given: AllGiven) -> str:
    """A line for each setting in three columns, and the file that counts."""
    table = [
        (name, _written(value), _where(name, given)) for name, value in _values(settings).items()
    ]
    widths = [max(len(row[column]) for row in table) for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {value:<{widths[1]}}  {where}" for name, value, where in table]
    return "\n".join([*lines, "", _file(given)])


def as_json(settings: Settings, given: AllGiven) -> str:
    """One JSON object; a setting without a value is null, a key is masked.

    `origin` is flag, environment, file or default; `where` is the flag, the variable or path:line,
    null for a default.
    """
    record = {
        "file": str(given.file.path) if given.file else None,
        "settings": {
            name: {
                "value": value,
                "origin": given.settings[name].by if name in given.settings else "default",
                "where": _where(name, given) if name in given.settings else None,
            }
            for name, value in _values(settings).items()
        },
    }
    return json.dumps(record, ensure_ascii=False, indent=2)


def shown_url(url: str) -> str:
    """The address without a user name and password in it."""
    named, at, host = urlsplit(url).netloc.rpartition("@")
    return url.replace(f"{named}@", f"{MASKED}@", 1) if at and host else url


def _values(settings: Settings) -> dict[str, object]:
    return {name: _shown(getattr(settings, name)) for name in Settings.model_fields}


def _shown(value: object) -> object:
    if isinstance(value, SecretStr):
        return MASKED
    if isinstance(value, str):
        return shown_url(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _written(value: object) -> str:
    """As it is written in the file, without quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return UNSET if value is None else str(value)


def _where(name: str, given: AllGiven) -> str:
    if name not in given.settings:
        return "default"
    said = given.settings[name]
    return f"--{said.where.replace('_', '-')}" if said.by == "flag" else said.where


def _file(given: AllGiven) -> str:
    if given.file:
        return f"file: {given.file.path}"
    return f"no file: {settings_file.default_path()} would be read"
