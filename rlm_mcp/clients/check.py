"""Whether what clients have of us can work: each entry that starts rlm-mcp, looked at and tried."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from rlm_mcp.clients import NAME
from rlm_mcp.clients.entries import entries
from rlm_mcp.clients.faults import (
    FILLED_IN,
    Fault,
    in_command,
    in_settings,
    in_shape,
    switched_off,
)
from rlm_mcp.clients.formats import (
    ENV,
    Client,
    Machine,
    Server,
    clients,
    file_of,
    is_ours,
    server_of,
    slots,
)
from rlm_mcp.clients.handshake import handshake
from rlm_mcp.clients.running import PASSED_ON, machine_here, server_here
from rlm_mcp.errors import ClientError, ConfigUnreadable, ServerSilent

WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What is the matter in a client's file. `fix` is one line; None where all is fine.

    `is_broken`: the client cannot start the server by what stands there.
    """

    client: str
    path: Path
    what: str
    fix: str | None = None
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class _Seen:
    """A finding; where all seems fine, what the entry starts and how it is set up again."""

    finding: Finding
    server: Server | None = None
    again: str = ""

    @property
    def start(self) -> tuple[object, ...]:
        """What tells one start from another."""
        return (self.server.argv, *sorted(self.server.env.items())) if self.server else ()


def findings(machine: Machine | None = None, here: Server | None = None) -> tuple[Finding, ...]:
    """One finding for each entry that starts rlm-mcp, and for each file that cannot tell.

    Files are read and nothing is started. `here` is what entries ought to start; None: the
    installation that runs now.
    """
    seen = _all(machine or machine_here(), here or server_here({}))
    return tuple(each.finding for each in seen)


async def tried(machine: Machine | None = None, here: Server | None = None) -> tuple[Finding, ...]:
    """As `findings`, and each entry that seems fine and starts `here` is started, too.

    As its client would, all at once and equal ones once: half a minute at most.
    """
    machine = machine or machine_here()
    ours = here or server_here({})
    seen = await anyio.to_thread.run_sync(lambda: tuple(_all(machine, ours)))
    refusals: dict[tuple[object, ...], ClientError] = {}

    async def start(each: _Seen, server: Server) -> None:
        if refusal := await _refusal(server, machine):
            refusals[each.start] = refusal

    async with anyio.create_task_group() as tasks:
        for each in {each.start: each for each in seen}.values():
            if each.server is not None:
                tasks.start_soon(start, each, each.server)
    return tuple(_told(each, refusals.get(each.start)) for each in seen)


async def _refusal(server: Server, machine: Machine) -> ClientError | None:
    """Why an entry does not start the server. Runs that it would resume are left alone."""
    passed = {name: machine.environment[name] for name in PASSED_ON if name in machine.environment}
    env = {name: value for name, value in server.env.items() if not FILLED_IN.search(value)}
    try:
        await handshake(server.argv, passed | env | {"RLM_RESUME": "0"}, WITHIN_S)
    except ClientError as error:
        return error
    return None


def _told(seen: _Seen, refusal: ClientError | None) -> Finding:
    if refusal is None:
        return seen.finding
    what = f"{seen.finding.what}, which does not work: {refusal.message}"
    fix = refusal.hint if isinstance(refusal, ServerSilent) else seen.again
    return dataclasses.replace(seen.finding, what=what, fix=fix, is_broken=True)


def _all(machine: Machine, here: Server) -> Iterator[_Seen]:
    for client in clients():
        path = file_of(client, machine)
        if path is not None and path.is_file():
            yield from _in_file(client, path, machine, here)


def _in_file(client: Client, path: Path, machine: Machine, here: Server) -> Iterator[_Seen]:
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        fix = "Make it readable, as UTF-8."
        yield _Seen(Finding(client.name, path, "it cannot be read", fix))
        return
    try:
        found = entries(client, text)
    except ConfigUnreadable as error:
        if _names_us(text) and client.sign != "":
            what = f"{client.name} cannot read it: {error.message}"
            yield _Seen(Finding(client.name, path, what, error.hint, is_broken=True))
        return
    ours = {name: entry for name, entry in found.items() if _is_ours(client, entry)}
    for name, entry in ours.items():
        again = _again(client, name)
        server = server_of(client, entry)
        fault = in_shape(client, entry) or switched_off(client, name, entry, text)
        if fault is None and server is not None:
            fault = _fault(server, again, machine, here)
        if fault is not None:
            what, fix = f"`{name}` {fault.what}", fault.fix or again
            yield _Seen(Finding(client.name, path, what, fix, fault.is_broken))
        elif server is not None:
            works = Finding(client.name, path, f"`{name}` starts {' '.join(server.argv)}")
            yield _Seen(works, server if _is_startable(server, here) else None, again)
    if not ours and _names_us(text) and client.sign != "":
        yield from _misplaced(client, path, text, machine)


def _fault(server: Server, again: str, machine: Machine, here: Server) -> Fault | None:
    if fault := in_command(server, machine.platform) or in_settings(server, again):
        return fault
    if not _is_same(server, here) and not FILLED_IN.search(server.command):
        mine, other = " ".join(here.argv), " ".join(server.argv)
        what = f"starts another installation: {other}; this one is {mine}"
        return Fault(what, is_broken=False)
    return None


def _misplaced(client: Client, path: Path, text: str, machine: Machine) -> Iterator[_Seen]:
    """Entries of ours that stand where other clients have theirs, which this one does not read."""
    known = clients()
    read = {each.key for each in known if file_of(each, machine) == path}
    for key in sorted(each for each in {each.key for each in known} - read if each[0] in text):
        for name, entry in entries(dataclasses.replace(client, key=key), text).items():
            if any(_is_ours(each, entry) for each in known if each.key == key):
                where = f"stands under `{'.'.join(key)}`"
                what = f"`{name}` {where}, and {client.name} reads `{'.'.join(client.key)}`"
                fix = _again(client, name)
                yield _Seen(Finding(client.name, path, what, fix, is_broken=True))


def _again(client: Client, name: str) -> str:
    """The command that sets the entry up anew."""
    return f"rlm-mcp install {client.id}" + ("" if name == NAME else f" --name {name}")


def _is_ours(client: Client, entry: object) -> bool:
    """Whether an entry starts rlm-mcp, or would if it were written as the client takes it."""
    server = server_of(client, entry)
    if server is not None and is_ours(server):
        return True
    if not isinstance(entry, Mapping) or in_shape(client, entry) is None:
        return False
    fields = {name: entry.get(name) for name, slot in slots(client).items() if slot != ENV}
    return _names_us(json.dumps(fields, default=str))


def _names_us(text: str) -> bool:
    return "rlm-mcp" in text or "rlm_mcp" in text


def _is_startable(server: Server, here: Server) -> bool:
    """Whether it starts this very installation, and not through a runner that may fetch another."""
    is_told = not any(map(FILLED_IN.search, server.argv))
    return is_told and "rlm-mcp" not in server.args and _is_same(server, here)


def _is_same(server: Server, here: Server) -> bool:
    """Whether both are of one installation: of one folder, or one is a link to the other."""
    mine, other = Path(here.command), Path(server.command)
    linked = not here.args and not server.args and mine.resolve() == other.resolve()
    return linked or mine.parent == other.parent
