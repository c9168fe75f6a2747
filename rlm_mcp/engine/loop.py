"""The loop of a Recursive Language Model (arXiv 2512.24601, algorithm 1), for one node of a run.

Ask the root model, run the code of its reply, show it the output, until code or text gives an
answer or a limit ends it. Nested runs are nodes of their own on the same ledger.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine import prompts
from rlm_mcp.engine.calls import Calls, CallSite
from rlm_mcp.engine.cells import Repl
from rlm_mcp.engine.drafts import Drafts, Strength, likely_answer
from rlm_mcp.engine.history import History
from rlm_mcp.engine.replies import ParsedReply, TextFinal, parse, strip_thinking
from rlm_mcp.engine.subcalls import SubCalls
from rlm_mcp.errors import EndpointError, PromptTooLong, ReplyEmpty
from rlm_mcp.events import (
    CellEnded,
    CellStarted,
    Event,
    Note,
    ReplReady,
    TurnStarted,
)
from rlm_mcp.protocols import Model, ReplBackend
from rlm_mcp.types import (
    Cell,
    CellResult,
    Completion,
    ContextInfo,
    ReplLimits,
    ReplSpec,
    StoppedBy,
    SubReply,
    SubRequest,
    Variable,
)

LONGER = 4


@dataclass(frozen=True, slots=True)
class Ports:
    """What every node of a run is handed."""

    root: Model
    sub: Model
    calls: Calls
    backend: ReplBackend
    store: ContextStore
    limits: ReplLimits
    reply_tokens: int


@dataclass(frozen=True, slots=True)
class Question:
    """What one node is asked, of which contexts, in which REPL. The top node's `node` is ""."""

    run_id: str
    node: str
    depth: int
    query: str
    contexts: tuple[ContextInfo, ...]
    handle: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a node ended."""

    text: str
    stopped_by: StoppedBy


Nest = Callable[[Question, Ports, SubRequest], Awaitable[SubReply]]


@dataclass(slots=True)
class Node:
    """One node at work. `drafts` holds the best answer so far, also when it is cancelled.

    `variables` are those its REPL holds from before; `nest` answers `rlm_query` in a nested run.
    """

    question: Question
    ports: Ports
    nest: Nest
    variables: tuple[Variable, ...] = ()
    drafts: Drafts = field(default_factory=Drafts)
    notes: list[str] = field(default_factory=list)
    turn: int = 0
    _asked: int = 0
    _cells: int = 0
    _failed_turns: int = 0
    _may_answer: bool = False
    _children: int = 0
    _repl: Repl = field(init=False)
    _subcalls: SubCalls = field(init=False)
    _history: History = field(init=False)

    async def solve(self) -> Outcome:
        """Work until there is an answer or a limit is reached.

        Raises:
            EndpointError: the root model failed before it said anything.
            ReplError: no REPL could be had.
        """
        await self._open()
        while (limit := self._limit()) is None:
            self.turn += 1
            await self._emit(TurnStarted(self.question.node, self.turn))
            try:
                completion = await self._ask_root()
            except EndpointError as error:
                if self.turn == 1:
                    raise
                await self.note(f"The model endpoint failed: {error.message}")
                limit = "endpoint"
                break
            if completion is None:
                continue
            if (text := await self._take(completion, last=False)) is not None:
                return Outcome(text, "answer")
        return Outcome(await self._forced_answer(limit), limit)

    def _limit(self) -> StoppedBy | None:
        budget = self.ports.calls.ledger.budget
        if budget.turns is not None and self.turn >= budget.turns:
            return "turns"
        if budget.errors is not None and self._failed_turns >= budget.errors:
            return "errors"
        return self.ports.calls.ledger.exhausted()

    async def _open(self) -> None:
        question, ports = self.question, self.ports
        state = await ports.backend.open(
            ReplSpec(question.handle, question.epoch, question.contexts, ports.limits)
        )
        await self._emit(ReplReady(question.node, state.box, state.sandboxed, state.enforced))
        if not state.sandboxed:
            await self.note(
                "No sandbox: model-written code ran with your rights (RLM_SANDBOX=plain)."
            )
        recursion = question.depth + 1 < ports.calls.ledger.budget.depth
        self._subcalls = SubCalls(
            node=question.node,
            root=ports.root,
            sub=ports.sub,
            calls=ports.calls,
            nested=self._nested if recursion else None,
            reply_tokens=ports.reply_tokens,
        )
        self._repl = Repl(ports.backend, question.handle, self._subcalls.answer)
        self._history = History(
            prompts.system(window_tokens=ports.sub.window_tokens, recursion=recursion),
            prompts.task(question.query, question.contexts, self.variables),
        )

    async def _ask_root(self) -> Completion | None:
        """The root model's next reply; None if the ledger admits no call."""
        tokens = self.ports.reply_tokens
        while self.ports.calls.ledger.admit() is None:
            self._asked += 1
            site = CallSite(self.question.node, self._id(f"r{self._asked}"), self.turn, "root")
            try:
                return await self.ports.calls.ask(
                    self.ports.root, self._history.messages, site, tokens
                )
            except PromptTooLong:
                if not self._history.fold():
                    raise
                await self.note("The history outgrew the model's window; old outputs were folded.")
            except ReplyEmpty:
                if tokens > self.ports.reply_tokens:
                    raise
                tokens *= LONGER
        return None

    async def _take(self, completion: Completion, *, last: bool) -> str | None:
        """The answer that a reply gives once its code has run; None if the model must go on."""
        text = strip_thinking(completion.text)
        reply = parse(text)
        self._history.add_reply(text or "(no reply)")
        self._subcalls.turn = self.turn
        results: list[CellResult] = []
        for code in reply.code:
            results.append(await self._run(code))
            if results[-1].status != "ok":
                break
        clean = all(result.status == "ok" for result in results)
        for result in results:
            self.drafts.from_cell(result, final_holds=clean)
        if clean and (answer := await self._settle(reply, results, last=last)) is not None:
            return answer
        if not last:
            await self._report(reply, results)
        return None

    async def _settle(
        self, reply: ParsedReply, results: list[CellResult], *, last: bool
    ) -> str | None:
        """The answer that a clean turn gives, if any. What is refused is kept as a draft."""
        finals = [result.final for result in results if result.final and result.final.text.strip()]
        if finals:
            if finals[-1].cut:
                await self.note("The answer was longer than a run may return; its end is cut.")
            return finals[-1].text
        if reply.final is None:
            if reply.prose and not reply.code:
                self.drafts.offer(reply.prose, Strength.PROSE)
            return None
        if self._names_variable(reply.final):
            results.append(await self._run(f"FINAL_VAR({reply.final.argument!r})"))
            final = results[-1].final
            return final.text if final and final.text.strip() else None
        self.drafts.offer(reply.final.argument, Strength.REFUSED)
        if not last and (reply.code or not self._may_answer):
            self._may_answer = True
            return None
        return reply.final.argument

    def _names_variable(self, final: TextFinal) -> bool:
        last = self._repl.last
        bound = {variable.name for variable in last.variables} if last else set()
        return final.via == "FINAL_VAR" or final.argument in bound

    async def _report(self, reply: ParsedReply, results: Sequence[CellResult]) -> None:
        """Tell the model what became of its reply."""
        clean = all(result.status == "ok" for result in results)
        self._failed_turns = 0 if clean and results else self._failed_turns + 1
        parts = []
        if results:
            parts.append(prompts.report(results, unrun=len(results) < len(reply.code)))
        if any(result.final and not result.final.text.strip() for result in results):
            parts.append(prompts.FINAL_EMPTY)
        elif reply.final is not None and clean:
            parts.append(prompts.FINAL_BESIDE_CODE if reply.code else prompts.LOOK_FIRST)
        elif not results:
            parts.append(prompts.NO_CODE)
        ledger = self.ports.calls.ledger
        parts.append(prompts.footer(self.turn, ledger.budget.turns, ledger.left()))
        self._history.add_report("\n\n".join(parts))

    async def _run(self, code: str) -> CellResult:
        self._cells += 1
        self._may_answer = True
        node, cell_id = self.question.node, f"{self.question.run_id}.{self._id(f'c{self._cells}')}"
        await self._emit(CellStarted(node, cell_id, self.turn, code))
        result = await self._repl.run(Cell(cell_id, code, fresh_answer=self._cells == 1))
        await self._emit(
            CellEnded(
                node=node,
                cell=cell_id,
                turn=self.turn,
                status=result.status,
                output=result.output,
                output_chars=result.output_chars,
                error=result.error,
                seconds=result.seconds,
                lost=result.lost,
            )
        )
        self.variables = result.variables
        return result

    async def _forced_answer(self, limit: StoppedBy) -> str:
        """The best answer at a limit: asked for once more where a call is left, else what there is.

        A variable goes before prose, because a last free-text reply often misses a value that sits
        in a variable (paper, appendix E.2).
        """
        if limit in {"turns", "errors"}:
            self._history.add_report(prompts.forced(self.variables))
            try:
                completion = await self._ask_root()
            except EndpointError as error:
                await self.note(f"The model endpoint failed: {error.message}")
                completion = None
            if completion is not None:
                answer = await self._take(completion, last=True)
                if answer is not None:
                    return answer
        name = likely_answer(self.variables)
        if name is not None and self.drafts.strength < Strength.DRAFT:
            result = await self._run(f"FINAL_VAR({name!r})")
            if result.final and result.final.text.strip():
                await self.note(f"The answer is the variable `{name}`: the model had not finished.")
                return result.final.text
        return self.drafts.text

    async def _nested(self, request: SubRequest) -> SubReply:
        self._children += 1
        below = replace(
            self.question,
            node=self._id(str(self._children)),
            depth=self.question.depth + 1,
            query=request.prompt,
        )
        return await self.nest(below, self.ports, request)

    def _id(self, name: str) -> str:
        return f"{self.question.node}.{name}" if self.question.node else name

    async def note(self, text: str) -> None:
        """Say something to the person, in the events and beside the answer."""
        self.notes.append(text)
        await self._emit(Note(self.question.node, text))

    async def _emit(self, event: Event) -> None:
        await self.ports.calls.sink.emit(event)
