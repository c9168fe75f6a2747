"""No box: model-written code runs with the user's rights, and every answer says so."""

import sys

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl.launch import Started, on_socket
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation

ISOLATION: Isolation = "none"
NOTICE: str | None = (
    "UNSAFE: model-written code ran with your account's rights (RLM_SANDBOX=plain)."
)
DIALECT: str | None = None


def require() -> None:
    """Anywhere a socket's descriptor can be handed to a child.

    Raises:
        SandboxUnavailable: this is Windows.
    """
    if sys.platform == "win32":
        raise SandboxUnavailable(
            "The REPL does not run on Windows itself yet.",
            "Run rlm-mcp inside WSL2; there the Linux sandbox works.",
        )


async def start(program: Program) -> Started:
    """This Python, in a process of its own."""
    return await on_socket(program)


def proved(hello: Hello) -> tuple[str, ...]:
    """What little is limited."""
    return hello.layers
