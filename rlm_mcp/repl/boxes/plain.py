"""No box: model-written code runs with the user's rights, and every answer says so."""

import sys
from pathlib import Path

import anyio.to_thread

from rlm_mcp.errors import ReplUnavailable
from rlm_mcp.repl import contained
from rlm_mcp.repl.launch import Started, on_socket
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation, ReplLimits

PLATFORM: str | None = None
ISOLATION: Isolation = "none"
GUEST = "plain"
NOTICE: str | None = (
    "UNSAFE: model-written code ran with your account's rights (RLM_SANDBOX=plain)."
)
DIALECT: str | None = None
LACKS: frozenset[str] = frozenset()


def require() -> None:
    """It can be anywhere."""


async def start(program: Program, limits: ReplLimits) -> Started:
    """This Python, in a process of its own; on Windows in a job too.

    Raises:
        ReplUnavailable: the system starts no process.
    """
    if sys.platform == "win32":
        return await anyio.to_thread.run_sync(_start_in_job, program, limits)
    return await on_socket(program)


def _start_in_job(program: Program, limits: ReplLimits) -> Started:
    python = Path(sys.base_prefix, "python.exe")
    try:
        return contained.start(python, program, limits.memory_bytes, contained=False)
    except OSError as error:
        raise ReplUnavailable(
            f"No REPL process could be started: {error}.", "Free memory, then try again."
        ) from error


def proved(hello: Hello) -> tuple[str, ...]:
    """What little is limited."""
    return hello.layers
