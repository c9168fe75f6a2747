"""The container box, by docker or podman: asked for by name. The guest locks itself in there too.

Nothing is mounted and nothing is pulled. Contexts come by value into the guest's own memory: the
container may use its REPL's limit once for code and once more for them.
"""

import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import Process

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl.boxes import proved_by_probes
from rlm_mcp.repl.guest import wire
from rlm_mcp.repl.launch import BARE_PYTHON, ENVIRONMENT, Started
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.pipes import Piped, PipeWire, open_on_pipes
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation, ReplLimits

PLATFORM: str | None = None
ISOLATION: Isolation = "container"
GUEST = "linux"
NOTICE: str | None = None
DIALECT: str | None = "The module `regex` is not there; `re` is."
LACKS: frozenset[str] = frozenset({"checkpoints", "one process", "regex"})
COMMANDS = ("docker", "podman")
IMAGE = f"docker.io/library/python:{sys.version_info.major}.{sys.version_info.minor}-slim"
ASK_S = 20.0
BESIDE_BYTES = 256 << 20
PROCESSES = 600
NOBODY = "65534:65534"
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
GUEST_FOLDER = Path(wire.__file__).parent


class Container(Piped):
    """A container by its name, behind the client that attaches us to it."""

    def __init__(self, client: Process, command: str, name: str) -> None:
        super().__init__(client)
        self._end = (command, "rm", "--force", name)
        self._ending: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """See `Running.kill`. Without its client a container would run on."""
        if self.status is None and self._ending is None:
            quiet = subprocess.DEVNULL
            self._ending = subprocess.Popen(self._end, stdin=quiet, stdout=quiet, stderr=quiet)
        super().kill()

    async def wait(self) -> None:
        """See `Running.wait`."""
        await super().wait()
        if self._ending:
            await anyio.to_thread.run_sync(self._ending.wait)


def require() -> None:
    """A command that runs containers.

    Raises:
        SandboxUnavailable: there is none.
    """
    if not any(map(shutil.which, COMMANDS)):
        raise SandboxUnavailable("the docker box needs docker or podman", "Install one of them.")


async def start(_program: Program, limits: ReplLimits) -> Started:
    """A container of its own, with the Python of the image.

    Raises:
        SandboxUnavailable: no command reaches its service, or the image is not there.
    """
    command = await available_command()
    name = f"rlm-{secrets.token_hex(8)}"
    client = await open_on_pipes(command_line(command, name, limits), None)
    assert client.stdin
    await client.stdin.send(_sources())
    return Started(Container(client, command, name), PipeWire(client), runs_cells=False)


def proved(hello: Hello) -> tuple[str, ...]:
    """The layers; raises SandboxUnavailable unless every forbidden deed was refused."""
    return ("container", *proved_by_probes(hello))


def command_line(command: str, name: str, limits: ReplLimits) -> list[str]:
    """What runs a guest in a container of that name."""
    memory = str(2 * limits.memory_bytes + BESIDE_BYTES)
    return [
        command, "run", "--rm", "-i", "--stop-timeout", "0", "--pull", "never", "--name", name,
        "--network", "none", "--ipc", "none", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--user", NOBODY, "--pids-limit", str(PROCESSES),
        "--memory", memory, "--memory-swap", memory,
        IMAGE, "env", "--ignore-environment", *map("=".join, (PATH | ENVIRONMENT).items()),
        "python3", *BARE_PYTHON, (GUEST_FOLDER / "container.py").read_text(encoding="utf-8"),
    ]  # fmt: skip


async def available_command() -> str:
    """The first command whose service runs and has the image.

    Raises:
        SandboxUnavailable: none has.
    """
    refusals = []
    for command in filter(shutil.which, COMMANDS):
        try:
            return await _checked(command)
        except SandboxUnavailable as refusal:
            refusals.append(refusal)
    if not refusals:
        require()
    raise refusals[-1]


async def _checked(command: str) -> str:
    start_it = f"Start {command}, then try again."
    with anyio.move_on_after(ASK_S):
        asked = await anyio.run_process([command, "image", "inspect", IMAGE], check=False)
        if asked.returncode == 0:
            return command
        said = asked.stderr.decode(errors="replace").strip()[-300:]
        if "image" in said.lower() and "connect" not in said.lower():
            raise SandboxUnavailable(
                f"{command} does not have the image {IMAGE}.", f"Run `{command} pull {IMAGE}`."
            )
        raise SandboxUnavailable(f"{command} does not work: {said}", start_it)
    raise SandboxUnavailable(f"{command} did not answer within {ASK_S:g} s.", start_it)


def _sources() -> bytes:
    """Our modules, as guest/container.py takes them."""
    modules = {
        "guest" if path.stem == "__init__" else f"guest.{path.stem}": path.read_text("utf-8")
        for path in sorted(GUEST_FOLDER.glob("*.py"))
    }
    text = json.dumps(modules).encode()
    return len(text).to_bytes(8, "little") + text
