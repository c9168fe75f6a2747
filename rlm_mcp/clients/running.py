"""The rlm-mcp that runs now, as a client is to start it, and whether it works from there."""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

from rlm_mcp.clients.formats import Machine, Server
from rlm_mcp.clients.handshake import Handshake, handshake
from rlm_mcp.clients.stars import FILLED_IN

# What every client passes on of its own environment, whatever else it keeps back.
PASSED_ON = (
    "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG",
    "APPDATA", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "PROCESSOR_ARCHITECTURE", "SYSTEMDRIVE",
    "SYSTEMROOT", "TEMP", "USERNAME", "USERPROFILE",
)  # fmt: skip
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


async def tried(server: Server, environment: Mapping[str, str]) -> Handshake:
    """A handshake with the server as a client starts it: its variables over a client's few.

    Raises:
        ClientError: it does not work.
    """
    passed = {name: environment[name] for name in PASSED_ON if name in environment}
    return await handshake(server.argv, passed | dict(server.env), WITHIN_S)


def without_asked(server: Server) -> Server:
    """The server without the variables that its client asks the user for, or fills in."""
    env = {name: value for name, value in server.env.items() if FILLED_IN not in value}
    return Server(server.command, server.args, env)
