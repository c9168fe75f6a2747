"""One run: a question at work, from its first event to its answer."""

from dataclasses import dataclass, field, replace

import anyio

from rlm_mcp.conduct import Conduct, Recount
from rlm_mcp.engine.loop import Node
from rlm_mcp.engine.nested import nest
from rlm_mcp.engine.ports import Outcome, Ports, Question
from rlm_mcp.engine.recount import recount
from rlm_mcp.engine.session import Session
from rlm_mcp.errors import EndpointError, RlmError
from rlm_mcp.events import Event, RunEnded, RunFailed, RunStarted
from rlm_mcp.types import Answer, StoppedBy

BEST_S = 10.0
RECOUNT_S = 20.0
BROKEN_HINT = "This is a fault of rlm-mcp. get_trace shows how far it came; ask again."


@dataclass(slots=True)
class Run:
    """A question with all it needs. A session's runs take turns: they share its REPL.

    `anew`: in a REPL without variables, because the run does again what it did before.
    """

    question: Question
    ports: Ports
    session: Session
    anew: bool = False
    _stopped_by: StoppedBy | None = None
    _notes: list[str] = field(default_factory=list)
    _had_variables: bool = False
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def __post_init__(self) -> None:
        calls = self.ports.calls
        calls.outage.has_answers = calls.past.has_answers
        calls.outage.give_up = self._lose_endpoint

    def cancel(self, by: StoppedBy = "cancelled") -> None:
        """End the run now, for that reason; `answer` still returns the best there is."""
        self._stop(by)

    def lose_journal(self, error: RlmError) -> None:
        """End the run now, because what it does can be kept no more; `answer` returns as above."""
        self._stop("journal", f"The run could not be recorded to its end: {error}")

    def _lose_endpoint(self, error: EndpointError) -> None:
        waited_s = self.ports.calls.outage.waited_s
        self._stop("endpoint", f"Waited {waited_s:.0f} s for the endpoint: {error.message}")

    def _stop(self, by: StoppedBy, note: str | None = None) -> None:
        """The first reason counts."""
        self._stopped_by = self._stopped_by or by
        if note is not None:
            self._notes.append(note)
        self._scope.cancel()

    async def answer(self) -> Answer:
        """Work, and give the answer however the run ends.

        Raises:
            RlmError: the run failed before it had anything to say.
        """
        node = Node(self.question, self.ports, nest)
        self._emit(self._started())
        try:
            outcome = await self._outcome(node)
            recounted = await self._recount(node, outcome)
            with anyio.CancelScope(shield=True):
                conduct = await node.conduct(recounted)
                answer = await self._finish(node, outcome, conduct)
        except RlmError as error:
            self._emit(RunFailed("", error.message, error.hint, type(error).__name__))
            raise
        except Exception as error:
            kind = type(error).__name__
            self._emit(RunFailed("", f"{kind}: {error}", BROKEN_HINT, kind))
            raise
        return answer

    async def _outcome(self, node: Node) -> Outcome:
        ledger = self.ports.calls.ledger
        with self._scope as scope:
            async with self.session.lock:
                if self.anew:
                    await self.ports.backend.close(self.question.handle)
                    self.session.variables = ()
                node.find(self.session.variables)
                self._had_variables = bool(self.session.variables)
                ledger.start()
                if ledger.budget.seconds is not None:
                    scope.deadline = anyio.current_time() + ledger.budget.seconds
                try:
                    return await node.solve()
                finally:
                    self.session.variables = node.variables
        waited_s = self.ports.calls.outage.waited_s
        if self._stopped_by is None and waited_s:
            self._stop("endpoint", f"Waited {waited_s:.0f} s for the endpoint; the time is up.")
        stopped_by = self._stopped_by or "time"
        with anyio.CancelScope(shield=True), anyio.move_on_after(BEST_S):
            async with self.session.lock:
                return Outcome(await node.best(), stopped_by)
        return Outcome(node.drafts.text, stopped_by)

    async def _recount(self, node: Node, outcome: Outcome) -> Recount | None:
        """Whether the program's figures come out again; `cancel` ends the trial, not the answer."""
        if outcome.stopped_by != "answer" or node.acceptance.failures.any or self._had_variables:
            return None
        ledger = self.ports.calls.ledger
        budget = ledger.budget
        left = RECOUNT_S if budget.seconds is None else budget.seconds - ledger.seconds
        deadline = anyio.current_time() + min(RECOUNT_S, left)
        with anyio.CancelScope(shield=True, deadline=deadline) as self._scope:
            try:
                ports = replace(self.ports, limits=node.limits)
                return await recount(node.program, outcome.text, self.question, ports)
            except (RlmError, OSError) as error:
                node.note(f"The program could not be run again: {error}")
        return None

    def _started(self) -> RunStarted:
        return RunStarted(
            node="",
            query=self.question.query,
            session=self.session.handle,
            contexts=tuple((info.id, info.name) for info in self.question.contexts),
            model=self.ports.root.name,
            sub_model=self.ports.sub.name,
            budget=self.ports.calls.ledger.budget,
            schema=None if self.question.shape is None else self.question.shape.text,
            way=self.question.route.way,
            why=self.question.route.why,
        )

    async def _finish(self, node: Node, outcome: Outcome, conduct: Conduct) -> Answer:
        ledger = self.ports.calls.ledger
        citations = await node.acceptance.citations(outcome.text)
        for note in self._notes:
            node.note(note)
        if ledger.budget.cost is not None and ledger.unpriced:
            names = ", ".join(sorted(ledger.unpriced))
            node.note(f"No price is set for {names}: the cost limit did not count its calls.")
        answer = Answer(
            run_id=self.question.run_id,
            text=outcome.text,
            stopped_by=outcome.stopped_by,
            citations=citations,
            root=ledger.used_by("", "root"),
            sub=ledger.used_by("", "sub"),
            turns=node.turn,
            seconds=ledger.seconds,
            notes=tuple(node.notes),
            conduct=conduct,
        )
        self._emit(
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
                conduct=answer.conduct,
                waited_s=self.ports.calls.outage.waited_s,
            )
        )
        return answer

    def _emit(self, event: Event) -> None:
        self.ports.calls.sink.emit(event)
