"""Guests on demand, in the first box that works, some of them ready before anyone asks."""

import sys
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from rlm_mcp.errors import ReplError, ReplUnavailable, SandboxUnavailable
from rlm_mcp.repl import boxes, program
from rlm_mcp.repl.host import HostedGuest
from rlm_mcp.repl.keeper import Keeper
from rlm_mcp.types import ReplLimits

SPARES = 2
HINT = "Free memory or raise the limit of processes, then try again."


class Pool:
    """Starts guests that live in `tasks`.

    From the second one on, which tells that there are sessions or nested runs side by side, it
    keeps spares: they have locked themselves in and wait for their contexts.
    """

    def __init__(self, cache: Path, box: str, tasks: TaskGroup) -> None:
        """`cache` is a folder for the guests' compiled program, `box` a box's name or `auto`."""
        self._cache = cache
        self._box = box
        self._tasks = tasks
        self._keeper = Keeper()
        self._program: program.Program | None = None
        self._refusals: list[SandboxUnavailable] = []
        self._spares: list[HostedGuest] = []
        self._filling = anyio.Lock()
        self._taken = 0

    async def take(self, limits: ReplLimits) -> HostedGuest:
        """A guest for the caller alone.

        Raises:
            SandboxUnavailable: no box can enforce what it promises.
            ReplUnavailable: no guest could be started.
        """
        self._taken += 1
        guest = self._spare(limits) or await self._start(limits)
        if self._taken > 1:
            self._tasks.start_soon(self._fill, limits)
        return guest

    async def aclose(self) -> None:
        """Let go of what outlives the guests. They must have ended."""
        await self._keeper.aclose()

    def _spare(self, limits: ReplLimits) -> HostedGuest | None:
        while self._spares:
            guest = self._spares.pop(0)
            if not guest.gone.is_set() and guest.fits(limits):
                return guest
            guest.end("was not needed")
        return None

    async def _fill(self, limits: ReplLimits) -> None:
        """Have as many spares as there should be; where none starts, who asks next is told."""
        async with self._filling:
            while len(self._spares) < SPARES:
                try:
                    self._spares.append(await self._start(limits))
                except ReplError:
                    return

    async def _start(self, limits: ReplLimits) -> HostedGuest:
        built = await self._built()
        try:
            if sys.platform == "linux":
                await self._keeper.start()
        except OSError as error:
            raise ReplUnavailable(f"No process could be started: {error}.", HINT) from error
        for box in boxes.candidates(self._box):
            try:
                guest = await HostedGuest.start(box, built, limits, self._tasks, self._keeper)
            except SandboxUnavailable as refusal:
                self._refusals.append(refusal)
            else:
                self._box = box
                if guest.notice is not None:
                    guest.notice = " ".join([guest.notice, *(r.message for r in self._refusals)])
                return guest
        refusals, self._refusals = self._refusals, []
        raise boxes.none_works(self._box, refusals)

    async def _built(self) -> program.Program:
        if self._program is None:
            try:
                self._program = await anyio.to_thread.run_sync(program.build, self._cache)
            except OSError as error:
                raise ReplUnavailable(
                    f"The guest's program cannot be written: {error}.",
                    f"Make {self._cache} writable or move it with RLM_HOME.",
                ) from error
        return self._program
