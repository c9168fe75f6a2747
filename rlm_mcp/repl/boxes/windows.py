"""The Windows box: an AppContainer without capabilities, in a job. The host puts the guest in it.

Written from the documentation and from what others found in the field; the guest's own probes
decide on each machine whether it holds. Where no AppContainer can be had there is no weaker try:
a low integrity level lets a process read the user's files and use the network, and the probes would
refuse it. A session whose window station admits no AppContainer (some services, some remote
shells) may end the guest at its start; then it does not start here.

Contexts come by value, through the pipe, and count against the memory that a guest may use.
"""

import subprocess
import sys

import anyio.to_thread

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import contained, runtime
from rlm_mcp.repl.boxes import HINT, proved_by_probes
from rlm_mcp.repl.launch import Started
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation, ReplLimits

PLATFORM: str | None = "win32"
ISOLATION: Isolation = "kernel"
GUEST = "windows"
NOTICE: str | None = None
DIALECT: str | None = "`asyncio` does not work: it needs a network socket. Threads do."
LACKS: frozenset[str] = frozenset({"checkpoints", "mapped contexts", "os"})
WINDOWS_10 = (10, 0)


def require() -> None:
    """64-bit Windows 10 or later.

    Raises:
        SandboxUnavailable: this is something else.
    """
    if sys.platform != "win32":
        raise SandboxUnavailable(f"the windows box needs Windows, this is {sys.platform}", HINT)
    version = sys.getwindowsversion()
    # With 64 bits there is one calling convention, so any function can be called back.
    if version[:2] < WINDOWS_10 or sys.maxsize < 1 << 32:
        raise SandboxUnavailable("the windows box needs 64-bit Windows 10 or later", HINT)


async def start(program: Program, limits: ReplLimits) -> Started:
    """A copy of this Python, in an AppContainer.

    Raises:
        SandboxUnavailable: Windows does not make one.
    """
    return await anyio.to_thread.run_sync(_start, program, limits)


def _start(program: Program, limits: ReplLimits) -> Started:
    try:
        python, copied = runtime.build(program)
        return contained.start(python, copied, limits.memory_bytes, contained=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SandboxUnavailable(
            f"Windows makes no AppContainer for a REPL: {error}.", HINT
        ) from error


def proved(hello: Hello) -> tuple[str, ...]:
    """The layers; raises SandboxUnavailable unless every forbidden deed was refused."""
    return proved_by_probes(hello)
