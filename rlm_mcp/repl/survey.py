"""What every box can do on this machine, found out by starting a guest in it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio

from rlm_mcp.errors import ReplError
from rlm_mcp.repl import boxes
from rlm_mcp.repl.local import LocalBackend
from rlm_mcp.types import Isolation, ReplLimits, ReplSpec, ReplState

START_S = 20.0
# Layers of a kernel each of which keeps a guest in by itself; two of them make level A.
WALLS = ("seccomp", "landlock", "seatbelt", "appcontainer")
PROVE_TEXT = "from rlm_mcp.repl.guest.text import works\nraise SystemExit(not works())"


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A box and the guest that was started in it.

    `state` None: there is none, for the `reason`; `hint` is what to do about it. Both None too: it
    was not tried, because it isolates nothing and nobody asked for it.
    """

    box: str
    isolation: Isolation
    state: ReplState | None = None
    start_s: float | None = None
    reason: str | None = None
    hint: str | None = None

    @property
    def walls(self) -> tuple[str, ...]:
        """The layers each of which would do alone."""
        layers = self.state.enforced if self.state else ()
        return tuple(layer for layer in layers if layer.lower().startswith(WALLS))

    @property
    def level(self) -> str | None:
        """A: kernel. A-: kernel, one layer. B: language. C: none. None: not known, or outside."""
        if self.isolation == "kernel" and self.state:
            return "A" if len(self.walls) > 1 else "A-"
        return {"language": "B", "none": "C"}.get(self.isolation)


async def survey(cache: Path, asked: str, limits: ReplLimits) -> tuple[Surveyed, ...]:
    """Every box, each with a guest started and proved in it and ended again.

    A box that isolates nothing is started only if it is the one `asked` for.
    """
    found = []
    for name in boxes.names():
        isolation = boxes.load(name).ISOLATION
        if isolation == "none" and asked != name:
            found.append(Surveyed(name, isolation))
        else:
            found.append(await _started(cache, name, limits))
    return tuple(found)


def taken(found: tuple[Surveyed, ...], asked: str) -> str | None:
    """The box that a run would take if `asked` is what the settings say; None if none works."""
    working = {each.box for each in found if each.state}
    return next((name for name in boxes.candidates(asked) if name in working), None)


async def text_is_mapped() -> bool:
    """Whether this interpreter takes a mapped file for a str, so that contexts cost no memory.

    It is proved in a process of its own: an interpreter of another layout may crash.
    """
    with anyio.move_on_after(START_S):
        ended = await anyio.run_process(
            [sys.executable, "-c", PROVE_TEXT], check=False, stderr=subprocess.DEVNULL
        )
        return ended.returncode == 0
    return False


async def _started(cache: Path, name: str, limits: ReplLimits) -> Surveyed:
    isolation = boxes.load(name).ISOLATION
    began = anyio.current_time()
    try:
        with anyio.fail_after(START_S):
            async with LocalBackend(cache, name) as backend:
                state = await backend.open(ReplSpec("survey", 1, (), limits))
                start_s = anyio.current_time() - began
    except ReplError as error:
        return Surveyed(name, isolation, reason=error.message, hint=error.hint)
    except TimeoutError:
        return Surveyed(
            name,
            isolation,
            reason=f"its guest was not ready within {START_S:.0f} s",
            hint="See what keeps this machine busy, then try again.",
        )
    return Surveyed(name, isolation, state, start_s)
