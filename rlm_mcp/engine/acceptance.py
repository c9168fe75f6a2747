"""Whether an answer may end a node: what speaks against it is told to the model first."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio.to_thread

from rlm_mcp.conduct import Citation, Covered
from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine import prompts
from rlm_mcp.engine.citations import doubtful, locate
from rlm_mcp.engine.coverage import Coverage
from rlm_mcp.engine.shape import Shape
from rlm_mcp.errors import RlmError
from rlm_mcp.types import ContextInfo


@dataclass(slots=True)
class Acceptance:
    """Of one node. A shape is held to; what was not read and what is not there are said once.

    `objection` is what the model must be told about the answer that was not taken. `cites`:
    its places are looked up.
    """

    contexts: Sequence[ContextInfo]
    store: ContextStore
    coverage: Coverage
    shape: Shape | None
    cites: bool
    note: Callable[[str], None]
    objection: str | None = None
    _has_doubted: bool = False
    _told: tuple[Covered, ...] = ()

    async def take(self, text: str, *, may_object: bool) -> str | None:
        """The answer as it is given out, None if there is an `objection`."""
        if self.shape is not None:
            text, misfit = self.shape.read(text)
            if misfit is not None:
                self.objection = prompts.misfit(misfit)
                return None
        if not may_object:
            return text
        if (unread := await self.unread()) is not None:
            self.objection = f"{unread} {prompts.UNREAD}"
            return None
        if self.cites and not self._has_doubted:
            doubted = doubtful(await self.citations(text))
            if doubted:
                self._has_doubted = True
                self.objection = prompts.doubts(doubted)
                return None
        return text

    async def unread(self) -> str | None:
        """What a reading piece by piece has left out so far, in words; None if that is told."""
        lacking = tuple(each for each in await self.coverage.covered() if each.read < each.pieces)
        if not lacking or lacking == self._told:
            return None
        self._told = lacking
        return prompts.unread(lacking)

    async def citations(self, text: str) -> tuple[Citation, ...]:
        """The places an answer names; it counts also where they cannot be looked up."""
        find = functools.partial(locate, text, self.contexts, self.store)
        try:
            return await anyio.to_thread.run_sync(find)
        except (RlmError, OSError) as error:
            self.note(f"Citations could not be looked up: {error}")
            return ()
