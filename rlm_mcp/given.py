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
    """The settings that are given by name, each by the strongest who gives it, and the file.

    `wrong` is what is given and cannot be: names that do not exist, a file that cannot be read.
    """

    settings: Mapping[str, Given]
    file: settings_file.SettingsFile | None
    wrong: tuple[SettingsInvalid, ...] = ()

    @property
    def values(self) -> dict[str, object]:
        """What is to be validated."""
        return {name: given.value for name, given in self.settings.items()}

    def without(self, error: ValidationError) -> "AllGiven":
        """All but the values that cannot work; those are wrong, told by where they were given."""
        messages: dict[str, str] = {}
        for each in error.errors():
            messages.setdefault(str(each["loc"][0]), each["msg"])
        kept = {name: each for name, each in self.settings.items() if name not in messages}
        refused = (_refused(name, self.settings[name], said) for name, said in messages.items())
        return AllGiven(kept, self.file, (*self.wrong, *refused))


def gather(
    names: Collection[str], environment: Mapping[str, str] | None, overrides: Mapping[str, object]
) -> AllGiven:
    """Overrides before the environment before the file. An empty variable, or None, gives nothing.

    It raises nothing: see `AllGiven.wrong`.
    """
    env = os.environ if environment is None else environment
    variables = {PREFIX + name.upper(): name for name in names}
    known = {*variables, settings_file.VARIABLE}
    wrong = [_unknown(each, known) for each in env if each.startswith(PREFIX) and each not in known]
    try:
        file = settings_file.read(environment)
    except SettingsInvalid as error:
        file = None
        wrong.append(error)
    found: dict[str, Given] = {}
    for name, value in (file.values if file else {}).items():
        assert file is not None
        found[name] = Given(value, "file", file.place(name))
    for variable, name in variables.items():
        if env.get(variable):
            found[name] = Given(env[variable], "environment", variable)
    for name, value in overrides.items():
        if value is not None:
            found[name] = Given(value, "flag", name)
    for name in [name for name in found if name not in names]:
        each = found.pop(name)
        wrong.append(_unknown(name, names, each.where if each.by == "file" else None))
    return AllGiven(found, file, tuple(wrong))


def _refused(name: str, given: Given, said: str) -> SettingsInvalid:
    where = f"{given.where}: {name}" if given.by == "file" else given.where
    named = given.where if given.by == "environment" else name
    return SettingsInvalid(f"{where}: {said}", f"Set {named} to a valid value or remove it.")


def _unknown(name: str, known: Collection[str], place: str | None = None) -> SettingsInvalid:
    """That there is no such name, with the one that was probably meant."""
    likely = {_bare(each): each for each in known}
    near = difflib.get_close_matches(_bare(name), likely, n=1, cutoff=0.5)
    return SettingsInvalid(
        f"{place}: there is no setting {name}." if place else f"There is no setting {name}.",
        f"Did you mean {likely[near[0]]}?" if near else "Remove it.",
    )


def _bare(name: str) -> str:
    """What tells a name from others: all variables begin alike."""
    return name.lower().removeprefix(PREFIX.lower())
