"""The plain box over pipes: contexts come by value, as where no open file can be passed."""

from rlm_mcp.repl.boxes.plain import DIALECT, GUEST, ISOLATION, NOTICE, PLATFORM, proved, require
from rlm_mcp.repl.launch import Started
from rlm_mcp.repl.pipes import on_pipes
from rlm_mcp.repl.program import Program
from rlm_mcp.types import ReplLimits

__all__ = [
    "DIALECT", "GUEST", "ISOLATION", "LACKS", "NOTICE", "PLATFORM", "proved", "require", "start",
]  # fmt: skip

LACKS = frozenset({"checkpoints"})


async def start(program: Program, _limits: ReplLimits) -> Started:
    """This Python, in a process of its own, over its standard input and output."""
    return await on_pipes(program)
