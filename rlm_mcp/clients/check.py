"""Whether what clients have of us can work: every entry that starts rlm-mcp, looked at."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from rlm_mcp.clients import NAME
from rlm_mcp.clients.entries import entries
from rlm_mcp.clients.formats import (
    Client,
    Machine,
    Server,
    clients,
    file_of,
    is_ours,
    server_of,
)
from rlm_mcp.clients.running import machine_here, server_here
from rlm_mcp.errors import ConfigUnreadable, SettingsInvalid
from rlm_mcp.settings import Settings


@dataclass(frozen=True, slots=True)
class Finding:
    """What is the matter in a client's file. `fix` is one line; None where all is fine."""

    client: str
    path: Path
    what: str
    fix: str | None = None


def findings(machine: Machine | None = None, here: Server | None = None) -> tuple[Finding, ...]:
    """One finding for each entry that starts rlm-mcp, and for each file that cannot tell.

    `here` is what entries ought to start; None: the installation that runs now.
    """
    machine = machine or machine_here()
    here = here or server_here({})
    return tuple(
        finding
        for client, path in _files(machine)
        for finding in _in_file(client, path, machine, here)
    )


def _files(machine: Machine) -> Iterator[tuple[Client, Path]]:
    for client in clients():
        path = file_of(client, machine)
        if path is not None and path.is_file():
            yield client, path


def _in_file(client: Client, path: Path, machine: Machine, here: Server) -> Iterator[Finding]:
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        yield Finding(client.name, path, "it cannot be read", "Make it readable, as UTF-8.")
        return
    try:
        found = entries(client, text)
    except ConfigUnreadable as error:
        if ("rlm-mcp" in text or "rlm_mcp" in text) and client.sign != "":
            what = f"{client.name} cannot read it: {error.message}"
            yield Finding(client.name, path, what, error.hint)
        return
    for name, entry in found.items():
        server = server_of(client, entry)
        if server is not None and is_ours(server):
            again = f"rlm-mcp install {client.id}" + ("" if name == NAME else f" --name {name}")
            problem = _problem(server, machine, here)
            what = f"starts {' '.join(server.argv)}" if problem is None else problem[0]
            fix = None if problem is None else problem[1] or again
            yield Finding(client.name, path, f"`{name}` {what}", fix)


def _problem(server: Server, machine: Machine, here: Server) -> tuple[str, str | None] | None:
    """What is the matter with an entry, and how to mend it; None: by setting it up again."""
    command = server.command
    if not _is_absolute(command, machine.platform):
        return f"starts `{command}`, which the client may not find: its PATH is another", None
    if shutil.which(command) is None:
        return f"starts {command}, which does not exist", None
    if wrong := _setting_problem(server.env):
        return f"sets what cannot work: {wrong[0]}", wrong[1]
    if not _is_same(server, here):
        mine, other = " ".join(here.argv), " ".join(server.argv)
        return f"starts another installation: {other}; this one is {mine}", None
    return None


def _is_same(server: Server, here: Server) -> bool:
    """Whether both are of one installation: of one folder, or one is a link to the other."""
    mine, other = Path(here.command), Path(server.command)
    linked = not here.args and not server.args and mine.resolve() == other.resolve()
    return linked or mine.parent == other.parent


def _is_absolute(command: str, platform: str) -> bool:
    path = PureWindowsPath(command) if platform == "win32" else PurePosixPath(command)
    return path.is_absolute()


def _setting_problem(env: Mapping[str, str]) -> tuple[str, str] | None:
    # What the client itself fills in, as `${input:rlm-api-key}`, is text of some kind.
    given = {name: "1" if "${" in value else value for name, value in env.items()}
    try:
        Settings.load(given)
    except SettingsInvalid as error:
        return error.message, error.hint
    return None
