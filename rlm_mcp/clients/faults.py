"""What is wrong with an entry as it stands in its file; nothing is started to find it out."""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from rlm_mcp.clients.entries import entries
from rlm_mcp.clients.formats import ARGS, ARGV, COMMAND, ENV, Client, Server, slots
from rlm_mcp.errors import SettingsInvalid
from rlm_mcp.settings import Settings

# What clients fill in themselves: `${input:rlm-api-key}`, `$HOME`, `{env:HOME}`.
FILLED_IN = re.compile(r"\$\w|\$\{|\{(?:env|file):")
SHAPES = {COMMAND: "a text", ARGS: "a list of texts", ARGV: "a list of texts", ENV: "an object"}
PATHS = {"RLM_ROOTS": "FOLDER", "RLM_MODEL_PATH": "FILE"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, after the entry's name. `fix` None: setting it up again mends it.

    `is_broken`: the client cannot start the server by this entry.
    """

    what: str
    fix: str | None = None
    is_broken: bool = True


def in_shape(client: Client, entry: Mapping[str, Any]) -> Fault | None:
    """A field that is not of the kind that the client takes."""
    for field, slot in slots(client).items():
        value = entry.get(field)
        if value is None and slot in {ARGS, ENV}:
            continue
        if not _is_of_kind(slot, value):
            what = f"has in `{field}` what is not {SHAPES[slot]}: {json.dumps(value)}"
            return Fault(what, f"Write it as {SHAPES[slot]}.")
        taken = str | int | float | None if client.loose else str
        for name, each in value.items() if isinstance(value, Mapping) else ():
            if not isinstance(each, taken) or isinstance(each, bool):
                return Fault(f"has in `{field}` a value that is not a text: {name}", "Quote it.")
    return None


def switched_off(client: Client, name: str, entry: Mapping[str, Any], text: str) -> Fault | None:
    """That the client leaves the server out, because the user once said so."""
    for field, value in client.off.items():
        if entry.get(field) is value:
            what = f"is switched off: `{field}` is {json.dumps(value)}"
            fix = f"Switch it on in {client.name}, or remove `{field}` there."
            return Fault(what, fix, is_broken=False)
    listed = ".".join(client.excluded)
    if client.excluded and name in _names(client, client.excluded, text):
        what, fix = f"is switched off: `{listed}` has it", f"Remove it from `{listed}` there."
        return Fault(what, fix, is_broken=False)
    listed = ".".join(client.allowed)
    allowed = _names(client, client.allowed, text) if client.allowed else []
    if allowed and name not in allowed:
        what, fix = f"is switched off: `{listed}` has others", f"Add it to `{listed}` there."
        return Fault(what, fix, is_broken=False)
    return None


def in_command(server: Server, platform: str) -> Fault | None:
    """A command that the client does not find."""
    command = server.command
    if FILLED_IN.search(command):
        return None
    path = PureWindowsPath(command) if platform == "win32" else PurePosixPath(command)
    if not path.is_absolute():
        what = f"starts `{command}`, which the client may not find: its PATH is another"
        return Fault(what, is_broken=False)
    if shutil.which(command) is None:
        return Fault(f"starts {command}, which does not exist")
    return None


def in_settings(server: Server, again: str) -> Fault | None:
    """A variable that the server refuses, or that names what is not there."""
    given = {n: "1" if FILLED_IN.search(value) else value for n, value in server.env.items()}
    try:
        Settings.load(given)
    except SettingsInvalid as error:
        return Fault(f"sets what cannot work: {error.message}", error.hint)
    for variable, kind in PATHS.items():
        value = server.env.get(variable, "")
        paths = value.split(os.pathsep) if kind == "FOLDER" else [value]
        for path in map(Path, filter(None, paths)):
            # A relative one is the client's affair: it starts servers where it likes.
            if (real := path.expanduser()).is_absolute() and not real.exists():
                what = f"sets {variable} to what does not exist: {path}"
                return Fault(what, f"{again} --env {variable}={kind}", is_broken=False)
    return None


def _is_of_kind(slot: str, value: object) -> bool:
    if slot == COMMAND:
        return isinstance(value, str)
    if slot == ENV:
        return isinstance(value, Mapping)
    is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return is_list and bool(value or slot == ARGS)


def _names(client: Client, place: tuple[str, ...], text: str) -> list[Any]:
    above = entries(dataclasses.replace(client, key=place[:-1]), text)
    found = above.get(place[-1])
    return found if isinstance(found, list) else []
