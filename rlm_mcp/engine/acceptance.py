"""Whether an answer may end a node: what speaks against it is told to the model first."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio.to_thread

from rlm_mcp.conduct import Citation, Covered
from rlm_mcp.engine import prompts
from rlm_mcp.engine.citations import doubtful, locate
from rlm_mcp.engine.coverage import Coverage
from rlm_mcp.engine.looks import part_taken, unshown
from rlm_mcp.engine.ports import Ports, Question
from rlm_mcp.engine.program import Program
from rlm_mcp.errors import RlmError

STILL_CELLS = 3


@dataclass(slots=True)
class Acceptance:
    """Of one node. A shape is held to; what was not read or seen and what is not there, once.

    `failed` are the prompts of sub-calls that failed and were not made good. `objection` is what
    the model must be told about the answer that was not taken; what still speaks against one that
    was, `note` tells the user.
    """

    question: Question
    ports: Ports
    program: Program
    note: Callable[[str], None]
    coverage: Coverage = field(init=False)
    failed: set[str] = field(default_factory=set)
    objection: str | None = None
    _unread: tuple[Covered, ...] = ()
    _told: set[str] = field(default_factory=set)
    _has_asked_whence: bool = False
    _has_doubted: bool = False

    def __post_init__(self) -> None:
        self.coverage = Coverage(self.question.contexts, self.ports.store)

    async def take(self, text: str, *, may_object: bool, is_stated: bool = False) -> str | None:
        """The answer as it is given out, None if there is an `objection`.

        `is_stated`: it was written down by the model, and not computed by its code.
        """
        if self.question.shape is not None:
            text, misfit = self.question.shape.read(text)
            if misfit is not None:
                self.objection = prompts.misfit(misfit)
                return None
        unseen = unshown(text, [self.question.query, *self.program.outputs]) if is_stated else []
        if may_object:
            self.objection = await self._objection(text, unseen)
            if self.objection is not None:
                return None
        await self._say_what_is_left(unseen)
        return text

    async def remarks(self) -> list[str]:
        """What the model should know after a turn; nothing twice."""
        found = [self._failed(), self._part(), self._still(), await self._newly_unread()]
        new = [each for each in found if each and each not in self._told]
        self._told.update(new)
        return new

    async def citations(self, text: str) -> tuple[Citation, ...]:
        """The places an answer names; it counts also where they cannot be looked up."""
        find = functools.partial(locate, text, self.question.contexts, self.ports.store)
        try:
            return await anyio.to_thread.run_sync(find)
        except (RlmError, OSError) as error:
            self.note(f"Citations could not be looked up: {error}")
            return ()

    async def _objection(self, text: str, unseen: list[str]) -> str | None:
        if unseen and not self._has_asked_whence:
            self._has_asked_whence = True
            return prompts.unseen(unseen[0])
        if (unread := await self._newly_unread()) is not None:
            return f"{unread} {prompts.UNREAD}"
        if not self.question.node and not self._has_doubted:
            doubted = doubtful(await self.citations(text))
            if doubted:
                self._has_doubted = True
                return prompts.doubts(doubted)
        return None

    async def _say_what_is_left(self, unseen: list[str]) -> None:
        if unseen:
            self.note(f"No output of the run shows {unseen[0]}: the model may have made it up.")
        if (part := self._part()) is not None:
            self.note(part)
        if self.failed:
            self.note(f"{prompts.failed(len(self.failed))}, and nothing made up for it.")
        if lacking := await self._lacking():
            self.note(prompts.unread(lacking))

    async def _newly_unread(self) -> str | None:
        """What a reading piece by piece has left out so far, in words; None if that is told."""
        lacking = await self._lacking()
        if not lacking or lacking == self._unread:
            return None
        self._unread = lacking
        return prompts.unread(lacking)

    async def _lacking(self) -> tuple[Covered, ...]:
        return tuple(each for each in await self.coverage.covered() if each.read < each.pieces)

    def _failed(self) -> str | None:
        return f"{prompts.failed(len(self.failed))}: ask again." if self.failed else None

    def _part(self) -> str | None:
        """That code has worked on the first slice of a text only."""
        if len(self.question.contexts) != 1:
            return None
        chars = self.question.contexts[0].chars
        taken = part_taken(self.program.codes, chars)
        return None if taken is None else prompts.part(taken, chars)

    def _still(self) -> str | None:
        """That the program goes in circles."""
        if self.program.still < STILL_CELLS or not self.program.cells[-1][1].variables:
            return None
        self.program.still = 0
        self._told.discard(prompts.STILL)
        return prompts.STILL
