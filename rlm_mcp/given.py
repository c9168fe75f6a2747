"""Which settings are given, and where: by a flag or argument, in the environment, in the file."""

import difflib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from rlm_mcp import settings_file
from rlm_mcp.errors import SettingsInvalid

PREFIX = "RLM_"
Origin = Literal["flag", "environment", "file"]


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, and where it stands: `max_turns`, `RLM_MAX_TURNS`, `path:line`."""

    value: object
    by: Origin
    where: str


@dataclass(frozen=True, slots=True)
class AllGiven:
    """The settings that are given by name, each by the strongest who gives it, and the file."""

    settings: Mapping[str, Given]
    file: settings_file.SettingsFile | None

    @property
    def values(self) -> dict[str, object]:
        """What is to be validated."""
        return {name: given.value for name, given in self.settings.items()}

    def refused(self, error: ValidationError) -> SettingsInvalid:
        """The first value that cannot work, told by where it was given."""
        first = error.errors()[0]
        name = str(first["loc"][0])
        given = self.settings[name]
        where = f"{given.where}: {name}" if given.by == "file" else given.where
        return SettingsInvalid(
            f"{where}: {first['msg']}", f"Set {_named(name, given)} to a valid value or remove it."
        )


def gather(
    names: Collection[str], environment: Mapping[str, str] | None, overrides: Mapping[str, object]
) -> AllGiven:
    """Overrides before the environment before the file. An empty variable, or None, gives nothing.

    Raises:
        SettingsInvalid: there is no setting of a given name, or the file cannot be read.
    """
    env = os.environ if environment is None else environment
    variables = {PREFIX + name.upper(): name for name in names}
    for variable in env:
        if variable.startswith(PREFIX) and variable != settings_file.VARIABLE:
            _require(variable, {*variables, settings_file.VARIABLE})
    file = settings_file.read(environment)
    found: dict[str, Given] = {}
    for name, value in (file.values if file else {}).items():
        assert file is not None
        _require(name, names, file.place(name))
        found[name] = Given(value, "file", file.place(name))
    for variable, name in variables.items():
        if env.get(variable):
            found[name] = Given(env[variable], "environment", variable)
    for name, value in overrides.items():
        if value is not None:
            _require(name, names)
            found[name] = Given(value, "flag", name)
    return AllGiven(found, file)


def _named(name: str, given: Given) -> str:
    return given.where if given.by == "environment" else name


def _require(name: str, known: Collection[str], place: str | None = None) -> None:
    """Refuse a name that is none, with the one that was probably meant."""
    if name in known:
        return
    likely = {_bare(each): each for each in known}
    near = difflib.get_close_matches(_bare(name), likely, n=1, cutoff=0.5)
    raise SettingsInvalid(
        f"{place}: there is no setting {name}." if place else f"There is no setting {name}.",
        f"Did you mean {likely[near[0]]}?" if near else "Remove it.",
    )


def _bare(name: str) -> str:
    """What tells a name from others: all variables begin alike."""
    return name.lower().removeprefix(PREFIX.lower())
