"""The macOS box: Seatbelt. The guest locks itself in; the host watches its memory.

Written from the documentation and from what others measured; the guest's own probes decide on each
machine whether it holds. Seatbelt cannot nest: where the host is in a sandbox of an editor or an
agent already, the guest refuses, and the next box is tried.
"""

import sys

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl.boxes import HINT, proved_by_probes
from rlm_mcp.repl.launch import Started, on_socket
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation, ReplLimits

PLATFORM: str | None = "darwin"
ISOLATION: Isolation = "kernel"
GUEST = "macos"
NOTICE: str | None = None
DIALECT: str | None = None
LACKS: frozenset[str] = frozenset({"checkpoints"})


def require() -> None:
    """It needs macOS.

    Raises:
        SandboxUnavailable: this is something else.
    """
    if sys.platform != "darwin":
        raise SandboxUnavailable(f"the macos box needs macOS, this is {sys.platform}", HINT)


async def start(program: Program, _limits: ReplLimits) -> Started:
    """This Python, in a process of its own."""
    return await on_socket(program)


def proved(hello: Hello) -> tuple[str, ...]:
    """The layers; raises SandboxUnavailable unless every forbidden deed was refused."""
    return proved_by_probes(hello)
