"""The rlm-mcp that runs now, as a client is to start it, and whether it works from there."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import urlsplit

from rlm_mcp.clients.formats import Machine, Server
from rlm_mcp.clients.handshake import Handshake, handshake
from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.settings import PREFIX, Settings

# What every client passes on of its own environment, whatever else it keeps back.
PASSED_ON = (
    "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG",
    "APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PROCESSOR_ARCHITECTURE", "SYSTEMDRIVE",
    "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE",
)  # fmt: skip
TAKEN_OVER = ("RLM_API_URL", "RLM_ROOTS")
SECRETS = ("RLM_API_KEY", "RLM_SUB_API_KEY")
WITHIN_S = 60.0


def machine_here() -> Machine:
    """This system and this process's environment."""
    return Machine(sys.platform, os.environ, Path.home())


def server_here(env: Mapping[str, str]) -> Server:
    """This installation with those variables: the script beside the interpreter, else its module.

    The path is absolute, since clients have another PATH than a shell. Links are kept: that of a
    virtual environment's interpreter is what makes it one.
    """
    if Path(sys.prefix).parent.name.startswith("archive-v") and (uvx := shutil.which("uvx")):
        # uv clears the folder that `uvx` runs from; uvx itself stays.
        return Server(str(Path(uvx).absolute()), (*_from(), "rlm-mcp"), env)
    folder = Path(sys.executable).absolute().parent
    script = folder / ("rlm-mcp.exe" if sys.platform == "win32" else "rlm-mcp")
    if script.is_file():
        return Server(str(script), (), env)
    return Server(str(Path(sys.executable).absolute()), ("-m", "rlm_mcp"), env)


def _from() -> tuple[str, ...]:
    """What has `uvx` fetch this rlm-mcp from where it came: a registry's may be another's.

    The record of an installation from elsewhere is PEP 610's.
    """
    told = distribution("rlm-mcp").read_text("direct_url.json")
    if told is None:
        return ()
    origin = json.loads(told)
    vcs = origin.get("vcs_info")
    url = f"{vcs['vcs']}+{origin['url']}@{vcs['commit_id']}" if vcs else origin["url"]
    return ("--from", f"rlm-mcp @ {url}")


def variables(
    environment: Mapping[str, str], given: Mapping[str, str], *, with_key: bool
) -> dict[str, str]:
    """What a client's entry is to set: where the model is, what may be loaded, and what is given.

    Folders become absolute, since a client starts servers somewhere else. Keys come along only
    `with_key`, or if given.

    Raises:
        ArgumentInvalid: the keys are to come along, and none is set; or they are not, and the
            address of the model has one in it.
        SettingsInvalid: there is no such setting, or its value cannot work.
    """
    has_own = "@" in urlsplit(environment.get("RLM_API_URL", "")).netloc
    if has_own and not with_key and "RLM_API_URL" not in given:
        raise ArgumentInvalid(
            "RLM_API_URL has a name or password in it, which would be written, readable.",
            "Say so with --with-key, or give another address with --env RLM_API_URL=...",
        )
    if with_key and not has_own and not any(environment.get(name) for name in SECRETS):
        raise ArgumentInvalid(
            f"--with-key writes {' and '.join(SECRETS)}, and neither is set.",
            "Set it in the environment of this command.",
        )
    names = TAKEN_OVER + (SECRETS if with_key else ())
    found = {name: environment[name] for name in names if environment.get(name)} | dict(given)
    if (roots := found.get("RLM_ROOTS")) and roots != "*":
        folders = [Path(each).expanduser().absolute() for each in roots.split(os.pathsep) if each]
        found["RLM_ROOTS"] = os.pathsep.join(map(str, folders))
    Settings.load({name: value for name, value in found.items() if name.startswith(PREFIX)})
    return found


def unwritten(environment: Mapping[str, str], written: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that are set here and are not written."""
    return tuple(name for name in SECRETS if environment.get(name) and name not in written)


async def tried(server: Server, environment: Mapping[str, str]) -> Handshake:
    """A handshake with the server as a client starts it: its variables over a client's few.

    Raises:
        ClientError: it does not work.
    """
    passed = {name: environment[name] for name in PASSED_ON if name in environment}
    return await handshake(server.argv, passed | dict(server.env), WITHIN_S)


def without_asked(server: Server) -> Server:
    """The server without the variables that its client asks the user for."""
    env = {name: value for name, value in server.env.items() if not value.startswith("${input:")}
    return Server(server.command, server.args, env)
