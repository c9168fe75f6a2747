"""The Linux box: seccomp, Landlock, no capabilities, no files. The guest locks itself in."""

import platform
import sys

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl.boxes import HINT, proved_by_probes
from rlm_mcp.repl.launch import Started, on_socket
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation, ReplLimits

PLATFORM: str | None = "linux"
ISOLATION: Isolation = "kernel"
GUEST = "linux"
NOTICE: str | None = None
DIALECT: str | None = None
LACKS: frozenset[str] = frozenset()
MACHINES = ("x86_64", "aarch64")


def require() -> None:
    """Linux on a machine whose system calls we have a table of.

    Raises:
        SandboxUnavailable: this is something else.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable(f"the linux box needs Linux, this is {sys.platform}", HINT)
    if platform.machine() not in MACHINES:
        raise SandboxUnavailable(
            f"the linux box knows {' and '.join(MACHINES)}, this is {platform.machine()}", HINT
        )


async def start(program: Program, _limits: ReplLimits) -> Started:
    """This Python, in a process of its own."""
    return await on_socket(program)


def proved(hello: Hello) -> tuple[str, ...]:
    """The layers; raises SandboxUnavailable unless every forbidden deed was refused."""
    return proved_by_probes(hello)
