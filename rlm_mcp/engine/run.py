"""One run: a question at work, from its first event to its answer."""

import functools
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from rlm_mcp.engine.citations import locate
from rlm_mcp.engine.loop import Node, Outcome, Ports, Question
from rlm_mcp.engine.nested import nest
from rlm_mcp.engine.session import Session
from rlm_mcp.errors import RlmError
from rlm_mcp.events import Event, RunEnded, RunFailed, RunStarted
from rlm_mcp.types import Answer, StoppedBy

FINISH_S = 30.0  # longer than the journal waits for a locked file


@dataclass(slots=True)
class Run:
    """A question with all it needs. A session's runs take turns: they share its REPL."""

    question: Question
    ports: Ports
    session: Session
    _cancelled: bool = False
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def cancel(self) -> None:
        """End the run now; `answer` still returns the best there is."""
        self._cancelled = True
        self._scope.cancel()

    async def answer(self) -> Answer:
        """Work, and give the answer however the run ends.

        Raises:
            RlmError: the run failed before it had anything to say.
        """
        node = Node(self.question, self.ports, nest)
        ledger = self.ports.calls.ledger
        await self._emit(self._started())
        try:
            with self._scope as scope:
                async with self.session.lock:
                    node.variables = self.session.variables
                    ledger.start()
                    if ledger.budget.seconds is not None:
                        scope.deadline = anyio.current_time() + ledger.budget.seconds
                    try:
                        outcome = await _unwrapped(node)
                    finally:
                        self.session.variables = node.variables
        except RlmError as error:
            await self._emit(RunFailed("", error.message, error.hint))
            raise
        if scope.cancelled_caught:
            stopped_by: StoppedBy = "cancelled" if self._cancelled else "time"
            outcome = Outcome(node.drafts.text, stopped_by)
        with anyio.fail_after(FINISH_S, shield=True):
            return await self._finish(node, outcome)

    def _started(self) -> RunStarted:
        return RunStarted(
            node="",
            query=self.question.query,
            session=self.session.handle,
            contexts=tuple((info.id, info.name) for info in self.question.contexts),
            model=self.ports.root.name,
            sub_model=self.ports.sub.name,
            budget=self.ports.calls.ledger.budget,
        )

    async def _finish(self, node: Node, outcome: Outcome) -> Answer:
        ledger = self.ports.calls.ledger
        citations = await anyio.to_thread.run_sync(
            functools.partial(locate, outcome.text, self.question.contexts, self.ports.store)
        )
        answer = Answer(
            run_id=self.question.run_id,
            text=outcome.text,
            stopped_by=outcome.stopped_by,
            citations=citations,
            root=ledger.root,
            sub=ledger.sub,
            turns=node.turn,
            seconds=ledger.seconds,
            notes=tuple(node.notes),
        )
        await self._emit(
            RunEnded(
                node="",
                stopped_by=answer.stopped_by,
                answer=answer.text,
                citations=answer.citations,
                root=answer.root,
                sub=answer.sub,
                turns=answer.turns,
                seconds=answer.seconds,
                notes=answer.notes,
            )
        )
        return answer

    async def _emit(self, event: Event) -> None:
        await self.ports.calls.sink.emit(event)


async def _unwrapped(node: Node) -> Outcome:
    """Solve; an error of ours that a task group wrapped comes out as itself."""
    try:
        return await node.solve()
    except BaseExceptionGroup as group:
        ours, others = group.split(RlmError)
        if ours is None or others is not None:
            raise
        first: BaseException = ours
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
