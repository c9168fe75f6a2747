"""What a client's entry is to set: the settings in the environment, and what is given beside."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from rlm_mcp import settings_file
from rlm_mcp.clients.stars import FILLED_IN, SECRETS, secret_names
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.settings import PREFIX, Settings

ROOTS, MODEL = "RLM_ROOTS", "RLM_MODEL_PATH"
CONFIG = settings_file.VARIABLE
SETTINGS = tuple(PREFIX + name.upper() for name in Settings.model_fields)
PATHS = (
    CONFIG,
    *(
        PREFIX + name.upper()
        for name, field in Settings.model_fields.items()
        if Path in {field.annotation, *get_args(field.annotation)}
    ),
)


def variables(
    environment: Mapping[str, str], given: Mapping[str, str], *, with_key: bool
) -> dict[str, str]:
    """The variables of an entry: every setting that is set here, and over them those given.

    Keys come along only `with_key`, or if given. Paths become absolute, since a client starts
    servers somewhere else. A model that is no file here is left as it is: it may be one of the hub.

    Raises:
        ArgumentInvalid: the keys are to come along, and none is set; or they are not, and a setting
            has one in it; or a folder to load from does not exist.
        SettingsInvalid: there is no such setting, or its value cannot work.
    """
    ours = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    Settings.load(ours | {name: value for name, value in given.items() if name.startswith(PREFIX)})
    plain = {
        name: ours[name] for name in (*SETTINGS, CONFIG) if ours.get(name) and name not in SECRETS
    }
    keys = {name: ours[name] for name in SECRETS if ours.get(name)}
    telling = [name for name in secret_names(plain) if name not in given]
    if telling and not with_key:
        raise ArgumentInvalid(
            f"{telling[0]} has a name, password or key in it, which would be written, readable.",
            f"Say so with --with-key, or give another address with --env {telling[0]}=...",
        )
    if with_key and not telling and not keys:
        raise ArgumentInvalid(
            f"--with-key writes {' and '.join(SECRETS)}, and neither is set.",
            "Set it in the environment of this command.",
        )
    found = plain | (keys if with_key else {}) | dict(given)
    return {name: _placed(name, value) for name, value in found.items()}


def has_roots(written: Mapping[str, str]) -> bool:
    """Whether these variables, or the settings file, tell a server what it may load."""
    own = settings_file.own_path()
    named = {CONFIG: str(own)} if own.is_file() else {}
    settings = {name: value for name, value in written.items() if name.startswith(PREFIX)}
    return Settings.load(named | settings).roots is not None


def unwritten(environment: Mapping[str, str], written: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that are set here and are not written."""
    return tuple(name for name in SECRETS if environment.get(name) and name not in written)


def _placed(name: str, value: str) -> str:
    """The value as it means the same from any folder."""
    if not value or FILLED_IN in value:
        return value
    path = _absolute(value)
    if name in PATHS or (name == MODEL and os.path.isfile(path)):  # noqa: PTH113 - never raises
        return path
    if name == ROOTS and value != "*":
        return os.pathsep.join(_root(each) for each in value.split(os.pathsep) if each)
    return value


def _root(folder: str) -> str:
    path = _absolute(folder)
    if not os.path.exists(path):  # noqa: PTH110 - never raises
        raise ArgumentInvalid(
            f"{ROOTS} names {path}, which does not exist.",
            f"Name folders that are there: --env {ROOTS}=~/code",
        )
    return path


def _absolute(path: str) -> str:
    return str(Path(os.path.expanduser(path)).absolute())  # noqa: PTH111 - never raises
