"""Boxes a guest runs in: one module a platform or means, found by its file name.

A box is a module here: what the host knows of it. The module has

- `PLATFORM`: the only one it can be on, as `sys.platform` says it, None for any;
- `ISOLATION`: what keeps model-written code from the user's files, network and processes;
- `GUEST`: the module of the guest by which it locks itself in;
- `NOTICE`: what the user is told beside every answer, None if nothing needs to be;
- `DIALECT`: what the model must know of this box's Python, None if it is CPython as it knows it;
- `LACKS`: what cells can do in the others and not here, in the words of the boxes' tests; where
  `helpers` is among it, models are told of none;
- `require()`: raises SandboxUnavailable where the box cannot be;
- `start(program, limits)`: a guest's process that will lock itself into the box, and the wire to
  it; limits that the guest cannot set itself are set here;
- `proved(hello)`: the layers in plain words; raises SandboxUnavailable if less is enforced.
"""

import importlib
import pkgutil
import sys
from typing import Protocol, cast

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl.launch import Started
from rlm_mcp.repl.messages import Hello
from rlm_mcp.repl.program import Program
from rlm_mcp.types import Isolation, ReplLimits

HINT = "RLM_SANDBOX=auto, or --sandbox auto, takes the strongest sandbox that works here."
PLAIN_HINT = "RLM_SANDBOX=plain, or --sandbox plain, runs model-written code with your own rights."
AUTOMATIC: tuple[Isolation, ...] = ("kernel", "language")


class Box(Protocol):
    """A module of this folder."""

    PLATFORM: str | None
    ISOLATION: Isolation
    GUEST: str
    NOTICE: str | None
    DIALECT: str | None
    LACKS: frozenset[str]

    def require(self) -> None:
        """Nothing, where the box can be."""

    async def start(self, program: Program, limits: ReplLimits) -> Started:
        """A guest that is about to lock itself in."""
        ...

    def proved(self, hello: Hello) -> tuple[str, ...]:
        """The layers that stand."""
        ...


def names() -> tuple[str, ...]:
    """Every box there is."""
    return tuple(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Box:
    """The box of that name."""
    return cast("Box", importlib.import_module(f"{__name__}.{name}"))


def candidates(wanted: str) -> tuple[str, ...]:
    """The boxes to try, in order; for `auto` those nobody needs to ask for, strongest first."""
    if wanted != "auto":
        return (wanted,)
    ranked = [
        (AUTOMATIC.index(box.ISOLATION), name)
        for name, box in ((name, load(name)) for name in names())
        if box.ISOLATION in AUTOMATIC and box.PLATFORM in {None, sys.platform}
    ]
    return tuple(name for _, name in sorted(ranked))


def proved_by_probes(hello: Hello) -> tuple[str, ...]:
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


def none_works(asked: str, refusals: list[SandboxUnavailable]) -> SandboxUnavailable:
    """The error where every candidate for `asked` refused.

    A box that was asked for by name is told with its own remedy and with the way to do without it.
    """
    if asked != "auto":
        refusal = refusals[0]
        hint = refusal.hint if refusal.hint == HINT else f"{refusal.hint} {HINT}"
        return SandboxUnavailable(refusal.message, hint)
    reasons = "; ".join(refusal.message.rstrip(".") for refusal in refusals)
    return SandboxUnavailable(f"No sandbox works on this machine: {reasons}.", PLAIN_HINT)
