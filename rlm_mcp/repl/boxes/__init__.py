"""Boxes a guest runs in: one module a platform or means, found by its file name.

A box is a module here (what the host knows of it) and one of the same name in the guest (how it
locks itself in). The module here has

- `SANDBOXED`: whether the kernel keeps model-written code from the user's files and network;
- `require()`: raises SandboxUnavailable where the box cannot be;
- `start(program)`: a guest's process that will lock itself into the box, and the wire to it;
- `proved(hello)`: the layers in plain words; raises SandboxUnavailable if less is enforced.
"""

import importlib
import pkgutil
from typing import Protocol, cast

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl.launch import Started
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.program import Program

HINT = "RLM_SANDBOX=plain, or --sandbox plain, runs model-written code with your own rights."


class Box(Protocol):
    """A module of this folder."""

    SANDBOXED: bool

    def require(self) -> None:
        """Nothing, where the box can be."""

    async def start(self, program: Program) -> Started:
        """A guest that is about to lock itself in."""
        ...

    def proved(self, hello: Hello) -> tuple[str, ...]:
        """The layers that stand."""
        ...


def names() -> tuple[str, ...]:
    """Every box there is."""
    return tuple(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> tuple[str, Box]:
    """The box of that name; `auto` is the first one that keeps code from the user's files.

    Raises:
        SandboxUnavailable: it cannot be on this machine.
    """
    if name != "auto":
        box = _load(name)
        box.require()
        return name, box
    reasons = []
    for candidate in names():
        box = _load(candidate)
        if box.SANDBOXED:
            try:
                box.require()
            except SandboxUnavailable as refusal:
                reasons.append(refusal.message)
            else:
                return candidate, box
    raise SandboxUnavailable(
        f"No sandbox works on this machine: {'; '.join(reasons)}",
        HINT,
    )


def _load(name: str) -> Box:
    return cast("Box", importlib.import_module(f"{__name__}.{name}"))
