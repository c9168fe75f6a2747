"""What is known of each MCP client: where it keeps its servers, in which shape, since when."""

import datetime as dt
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from rlm_mcp.errors import ClientUnknown

Entry = Mapping[str, Any]
COMMAND, ARGS, ARGV, ENV = "{command}", "{args}", "{argv}", "{env}"


@dataclass(frozen=True, slots=True)
class Client:
    """One client, as `formats.toml` describes it; that file says what each field means."""

    id: str
    name: str
    format: Literal["json", "jsonc", "toml"]
    key: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    entry: Entry
    after: str
    sources: tuple[str, ...]
    read: dt.date
    override: str | None = None
    sign: str | None = None
    asks: bool = False
    link: str | None = None
    older: str | None = None
    off: Mapping[str, bool] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """Where files are looked for: a system as `sys.platform` names it, and its environment."""

    platform: str
    environment: Mapping[str, str]
    home: Path

    @property
    def folders(self) -> Mapping[str, str]:
        """What the names in braces stand for; a variable that is not set has none."""
        env = self.environment
        roaming = env.get("APPDATA") or str(self.home / "AppData" / "Roaming")
        local = env.get("LOCALAPPDATA") or str(self.home / "AppData" / "Local")
        return {name: value for name, value in env.items() if value} | {
            "home": str(self.home),
            "config": env.get("XDG_CONFIG_HOME") or str(self.home / ".config"),
            "appdata": roaming,
            "localappdata": local,
        }


@dataclass(frozen=True, slots=True)
class Server:
    """How a client is to start a server: a command, its arguments, variables beside its own."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str]

    @property
    def argv(self) -> tuple[str, ...]:
        """Command and arguments."""
        return (self.command, *self.args)


@cache
def clients() -> tuple[Client, ...]:
    """All clients, in the order of the file."""
    text = resources.files(__package__).joinpath("formats.toml").read_text(encoding="utf-8")
    return tuple(_client(each) for each in tomllib.loads(text)["client"])


def client(name: str) -> Client:
    """The client of that id.

    Raises:
        ClientUnknown: there is none.
    """
    for each in clients():
        if each.id == name:
            return each
    raise ClientUnknown(
        f"There is no client {name!r}.",
        f"Known are {', '.join(each.id for each in clients())}.",
    )


def file_of(client: Client, machine: Machine) -> Path | None:
    """The file that the client reads there, or would; None if it has none that can be written."""
    if client.override and (path := _filled(client.override, machine)):
        return path
    candidates = _candidates(client, machine)
    for test in (Path.is_file, lambda path: path.parent.is_dir()):
        for path in candidates:
            if test(path):
                return path
    return candidates[0] if candidates else None


def is_there(client: Client, machine: Machine) -> bool:
    """Whether the client has been used there."""
    path = file_of(client, machine)
    if path is None or client.sign == "":
        return False
    if path.is_file() or client.sign is None:
        return path.parent.is_dir()
    sign = _filled(client.sign, machine)
    return sign is not None and sign.exists()


def shaped(client: Client, server: Server) -> dict[str, Any]:
    """The server as an entry of that client; without variables it has no place for them."""
    values = {
        COMMAND: server.command,
        ARGS: list(server.args),
        ARGV: list(server.argv),
        ENV: dict(server.env),
    }
    filled = {
        name: values.get(value, value) if isinstance(value, str) else value
        for name, value in client.entry.items()
    }
    return {name: value for name, value in filled.items() if value != {}}


def slots(client: Client) -> dict[str, str]:
    """The fields of an entry that say what is started, each with what stands there."""
    places = {COMMAND, ARGS, ARGV, ENV}
    return {
        name: value
        for name, value in client.entry.items()
        if isinstance(value, str) and value in places
    }


def server_of(client: Client, entry: object) -> Server | None:
    """What an entry of that client starts; None if nothing, as that of a remote server."""
    if not isinstance(entry, Mapping):
        return None
    found = {slot: entry.get(name) for name, slot in slots(client).items()}
    args, env = found.get(ARGS) or [], found.get(ENV)
    together = [found.get(COMMAND), *args] if isinstance(args, list) else None
    argv = found.get(ARGV, together)
    if not isinstance(argv, list) or not argv or not all(isinstance(each, str) for each in argv):
        return None
    variables = env.items() if isinstance(env, Mapping) else ()
    return Server(argv[0], tuple(argv[1:]), {name: str(value) for name, value in variables})


def is_ours(server: Server) -> bool:
    """Whether it starts rlm-mcp: its script, its module, or through a runner such as uvx."""
    name = server.command.replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
    return name == "rlm-mcp" or bool({"rlm-mcp", "rlm_mcp"} & set(server.args))


def _candidates(client: Client, machine: Machine) -> list[Path]:
    found = []
    for template in client.files.get(machine.platform, client.files.get("any", ())):
        path = _filled(template, machine)
        if path is not None:
            found += _matches(path)
    return found


def _matches(path: Path) -> list[Path]:
    """The path itself, or one for each folder that a part with a `*` in it names."""
    for place, part in enumerate(path.parts):
        if "*" in part:
            folders = sorted(Path(*path.parts[:place]).glob(part))
            return [folder.joinpath(*path.parts[place + 1 :]) for folder in folders]
    return [path]


def _filled(template: str, machine: Machine) -> Path | None:
    try:
        return Path(template.format_map(machine.folders))
    except KeyError:
        return None


def _client(described: Mapping[str, Any]) -> Client:
    lists = {
        name: tuple(described[name])
        for name in ("key", "sources", "excluded", "allowed")
        if name in described
    }
    files = {system: tuple(paths) for system, paths in described["files"].items()}
    return Client(**{**described, **lists, "files": files})
