"""The Linux box: seccomp, Landlock, no capabilities, no files. The guest locks itself in."""

import platform
import sys

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl.boxes import HINT
from rlm_mcp.repl.launch import Started, on_socket
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation

ISOLATION: Isolation = "kernel"
NOTICE: str | None = None
DIALECT: str | None = None
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


async def start(program: Program) -> Started:
    """This Python, in a process of its own."""
    return await on_socket(program)


def proved(hello: Hello) -> tuple[str, ...]:
    """The layers, once every forbidden deed was tried and refused.

    Raises:
        SandboxUnavailable: something went through, or nothing was tried.
    """
    passed = [name for name, refused in hello.probes.items() if not refused]
    if passed or not hello.probes:
        raise SandboxUnavailable(
            f"The kernel did not refuse the sandboxed process: {', '.join(passed) or 'no probe'}.",
            HINT,
        )
    return hello.layers
