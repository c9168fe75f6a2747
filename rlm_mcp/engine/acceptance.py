"""Whether an answer may end a node: what speaks against it is told to the model first."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio.to_thread

from rlm_mcp.conduct import Citation, Covered
from rlm_mcp.engine import prompts
from rlm_mcp.engine.citations import doubtful, locate
from rlm_mcp.engine.coverage import Coverage
from rlm_mcp.engine.failures import Failures
from rlm_mcp.engine.looks import part_taken, unshown
from rlm_mcp.engine.ports import Ports, Question
from rlm_mcp.engine.program import Program
from rlm_mcp.errors import RlmError

STILL_CELLS = 4


@dataclass(slots=True)
class Acceptance:
    """Of one node. A shape is held to; all else that speaks against an answer is said once.

    `shown` is what the model was told before its code ran. `knows_more`: variables of earlier
    questions are there. What still speaks against an answer that is taken, `note` tells the user.
    """

    question: Question
    ports: Ports
    program: Program
    note: Callable[[str], None]
    shown: str = ""
    knows_more: bool = False
    coverage: Coverage = field(init=False)
    failures: Failures = field(default_factory=Failures)
    _objection: str | None = None
    _has_objected: bool = False
    _told: set[str] = field(default_factory=set)
    _located: tuple[str, tuple[Citation, ...]] | None = None

    def __post_init__(self) -> None:
        self.coverage = Coverage(self.question.contexts, self.ports.store)

    async def take(self, text: str, *, may_object: bool, is_stated: bool = False) -> str | None:
        """The answer as it is given out, None if something must be said of it first.

        `is_stated`: it was written down by the model, and not computed by its code.
        """
        if self.question.shape is not None:
            text, misfit = await self.question.shape.checked(text)
            if misfit is not None:
                self._objection = prompts.misfit(misfit)
                return None
        unseen = self._unseen(text) if is_stated else None
        if may_object and not self._has_objected:
            self._objection = await self._objections(text, unseen)
            if self._objection is not None:
                self._has_objected = True
                return None
        await self.say_what_is_left(unseen)
        return text

    def objection(self) -> str | None:
        """What the model must be told of the answer that was not taken; said once."""
        objection, self._objection = self._objection, None
        return objection

    async def remarks(self) -> list[str]:
        """What the model should know after a turn; nothing twice."""
        unread = prompts.unread(await self._lacking(), self._first)
        found = [self._failed(), self._part(), self._still(), unread]
        new = [each for each in found if each and each not in self._told]
        self._told.update(new)
        return new

    async def say_what_is_left(self, unseen: str | None = None) -> None:
        """Tell the user what speaks against the answer that the run ends with."""
        if unseen is not None:
            self.note(f"No output of the run shows {unseen}: the model may have made it up.")
        if (part := self._part()) is not None:
            self.note(part)
        if self.failures.count:
            self.note(f"{prompts.failed(self.failures.count)}: the answer does without.")
        if unread := prompts.unread(await self._lacking(), self._first):
            self.note(unread)

    async def say_misfit(self, text: str) -> None:
        """Tell the user if the answer that the run ends with lacks the shape that was asked for."""
        if self.question.shape is not None:
            _, why = await self.question.shape.checked(text)
            if why is not None:
                self.note(f"The answer does not have the shape that was asked for: {why}")

    async def citations(self, text: str) -> tuple[Citation, ...]:
        """The places an answer names; it counts also where they cannot be looked up."""
        if self._located is not None and self._located[0] == text:
            return self._located[1]
        find = functools.partial(locate, text, self.question.contexts, self.ports.store)
        try:
            found = await anyio.to_thread.run_sync(find)
        except (RlmError, OSError) as error:
            self.note(f"Citations could not be looked up: {error}")
            found = ()
        self._located = text, found
        return found

    @property
    def _first(self) -> str | None:
        """The name of the context that code finds as `context`."""
        return self.question.contexts[0].name if self.question.contexts else None

    async def _objections(self, text: str, unseen: str | None) -> str | None:
        """All that speaks against an answer, None if nothing does."""
        parts = [] if unseen is None else [prompts.unseen(unseen)]
        unread = prompts.unread(await self._lacking(), self._first)
        if unread and unread not in self._told:
            self._told.add(unread)
            parts.append(f"{unread} {prompts.UNREAD}")
        if not self.question.node and (doubted := doubtful(await self.citations(text))):
            parts.append(prompts.doubts(doubted))
        return "\n\n".join([prompts.NOT_TAKEN, *parts]) if parts else None

    def _unseen(self, text: str) -> str | None:
        """A number of the answer that the model was never shown."""
        cells = [f"{result.output}\n{result.error or ''}" for _, result in self.program.cells]
        missing = unshown(text, [self.shown, *cells])
        return missing[0] if missing else None

    async def _lacking(self) -> tuple[Covered, ...]:
        return tuple(each for each in await self.coverage.covered() if each.read < each.pieces)

    def _failed(self) -> str | None:
        count = self.failures.count
        return f"{prompts.failed(count)}: ask again." if count else None

    def _part(self) -> str | None:
        """That code has worked on the first slice of a text only."""
        if len(self.question.contexts) != 1 or self.knows_more:
            return None
        chars = self.question.contexts[0].chars
        taken = part_taken(self.program.codes, chars)
        return None if taken is None else prompts.part(taken, chars)

    def _still(self) -> str | None:
        """That the program goes in circles."""
        if self.program.still < STILL_CELLS or self.knows_more:
            return None
        if not self.program.cells[-1][1].variables:
            return None
        self.program.still = 0
        self._told.discard(prompts.STILL)
        return prompts.STILL
