"""The loop of a Recursive Language Model (arXiv 2512.24601, algorithm 1), for one node of a run.

Ask the root model, run the code of its reply, show it the output, until code or text gives an
answer or a limit ends it. Nested runs are nodes of their own on the same ledger.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import anyio.to_thread

from rlm_mcp.conduct import Conduct, Recount
from rlm_mcp.engine import briefing, prompts
from rlm_mcp.engine.acceptance import Acceptance
from rlm_mcp.engine.cells import Repl
from rlm_mcp.engine.dialects import form_of
from rlm_mcp.engine.dialogue import Dialogue, Requests, reply_room
from rlm_mcp.engine.direct import Direct
from rlm_mcp.engine.drafts import BEST, Drafts, Strength, likely_answer
from rlm_mcp.engine.feedback import feedback
from rlm_mcp.engine.finish import evaluation, is_answer, words_of
from rlm_mcp.engine.history import History
from rlm_mcp.engine.looks import literal_of, variable_shown
from rlm_mcp.engine.outline import outline
from rlm_mcp.engine.ports import Nest, Outcome, Ports, Question
from rlm_mcp.engine.program import Program
from rlm_mcp.engine.replies import ParsedReply, parse, strip_thinking
from rlm_mcp.engine.route import Route
from rlm_mcp.engine.subcalls import SubCalls, nested_key
from rlm_mcp.errors import EndpointError, ReplError
from rlm_mcp.events import (
    CellEnded,
    CellStarted,
    Event,
    Note,
    ReplReady,
    TurnStarted,
)
from rlm_mcp.types import (
    Cell,
    CellResult,
    Completion,
    ReplLimits,
    ReplSpec,
    StoppedBy,
    SubReply,
    SubRequest,
    Variable,
)

# A tenth of the window for one output, at three characters a token.
OUTPUT_CHARS_PER_WINDOW_TOKEN = 0.3
LEAST_OUTPUT_CHARS = 800


@dataclass(slots=True)
class Node:
    """One node at work. `drafts` holds the best answer so far, also when it is cancelled.

    `program` is what it ran; `variables` are its REPL's, those from before included; `nest` answers
    `rlm_query` in a nested run.
    """

    question: Question
    ports: Ports
    nest: Nest
    drafts: Drafts = field(default_factory=Drafts)
    notes: list[str] = field(default_factory=list)
    turn: int = 0
    limits: ReplLimits = field(default_factory=ReplLimits)
    program: Program = field(default_factory=Program)
    acceptance: Acceptance = field(init=False)
    variables: tuple[Variable, ...] = ()
    _found: frozenset[Variable] = frozenset()
    _cells: int = 0
    _failed_turns: int = 0
    _may_answer: bool = False
    _form: str = prompts.BLOCK
    _requests: Requests = field(default_factory=Requests)
    _way: Route = field(init=False)
    _repl: Repl = field(init=False)
    _subcalls: SubCalls = field(init=False)
    _dialogue: Dialogue = field(init=False)

    def __post_init__(self) -> None:
        self._way = self.question.route
        self.acceptance = Acceptance(self.question, self.ports, self.program, self.note)

    def find(self, variables: tuple[Variable, ...]) -> None:
        """Take note of what the REPL holds from before: it answered other questions."""
        self.variables, self._found = variables, frozenset(variables)
        self.acceptance.knows_more = bool(variables)

    async def solve(self) -> Outcome:
        """Work until there is an answer or a limit is reached.

        Raises:
            EndpointError: the root model failed before it said anything.
            ReplError: no REPL could be had.
        """
        if self._way.way == "direct" and (text := await self._directly()) is not None:
            return Outcome(text, "answer")
        await self._open()
        while (limit := self._limit()) is None:
            self.turn += 1
            self._emit(TurnStarted(self.question.node, self.turn))
            try:
                text = await self._turn(last=False)
            except (EndpointError, ReplError) as error:
                if self.turn == 1:
                    raise
                self.note(f"The run broke off: {error.message}")
                return Outcome(
                    await self.best(), "endpoint" if isinstance(error, EndpointError) else "errors"
                )
            if text is not None:
                return Outcome(text, "answer")
        text = await self._forced_answer(limit)
        await self.acceptance.say_what_is_left()
        await self.acceptance.say_misfit(text)
        return Outcome(text, limit)

    async def _directly(self) -> str | None:
        """The answer of the short way; None, and the long way is gone, if that gives none."""
        direct = Direct(
            question=self.question,
            ports=self.ports,
            acceptance=self.acceptance,
            requests=self._requests,
            drafts=self.drafts,
            note=self.note,
            is_last=lambda: self._limit() is not None,
        )
        try:
            text = await direct.answer()
        finally:
            self.turn = direct.turn
        if text is None:
            self._way = Route("rlm", "asked about directly, the model gave no answer")
        return text

    def _limit(self) -> StoppedBy | None:
        calls, is_top = self.ports.calls, not self.question.node
        ledger, budget = calls.ledger, calls.ledger.budget
        if budget.turns is not None and self.turn >= budget.turns:
            return "turns"
        if budget.errors is not None and self._failed_turns >= budget.errors:
            return "errors"
        if calls.past.replied(self.question.node) > self._requests.count:
            return None  # what comes next was paid for before the run was stopped
        if is_top and self.turn and ledger.calls_left() == 1:
            return "calls"
        return ledger.exhausted(top_root=is_top)

    async def _open(self) -> None:
        question, ports = self.question, self.ports
        window = ports.root.window_tokens
        limits = ports.limits
        if window is not None:
            most = max(LEAST_OUTPUT_CHARS, int(window * OUTPUT_CHARS_PER_WINDOW_TOKEN))
            limits = replace(limits, output_chars=min(limits.output_chars, most))
        self.limits = limits
        state = await ports.backend.open(
            ReplSpec(question.handle, question.epoch, question.contexts, limits)
        )
        sandboxed = state.isolation != "none"
        self._emit(ReplReady(question.node, state.box, sandboxed, state.enforced))
        if state.notice is not None:
            self.note(state.notice)
        recursion = question.depth + 1 < ports.calls.ledger.budget.depth
        self._subcalls = SubCalls(
            node=question.node,
            root=ports.root,
            sub=ports.sub,
            calls=ports.calls,
            nested=self._nested if recursion else None,
            coverage=self.acceptance.coverage,
            failures=self.acceptance.failures,
            reply_tokens=reply_room(ports.reply_tokens, ports.sub.window_tokens),
            note=self.note,
        )
        self._repl = Repl(ports.backend, question.handle, question.epoch, self._subcalls.answer)
        means = briefing.Means(
            window_tokens=window,
            sub_window_tokens=ports.sub.window_tokens,
            slots=ports.sub.slots,
            output_chars=limits.output_chars,
            recursion=recursion,
            helpers=state.helpers,
            dialect=state.dialect,
        )
        task = self.acceptance.shown = prompts.task(
            question.asked, await self._loaded(), self.variables
        )
        self._dialogue = Dialogue(
            node=question.node,
            model=ports.root,
            calls=ports.calls,
            history=History(briefing.system(means), task),
            reply_tokens=reply_room(ports.reply_tokens, window),
            note=self.note,
            requests=self._requests,
        )

    async def _loaded(self) -> list[prompts.Loaded]:
        def look() -> list[prompts.Loaded]:
            store = self.ports.store
            return [(info, outline(store.catalogue(info.id).documents)) for info in contexts]

        contexts = self.question.contexts
        return await anyio.to_thread.run_sync(look)

    async def _turn(self, *, last: bool) -> str | None:
        """Ask once and run what comes; the answer, if that gives one."""
        completion = await self._dialogue.ask(self.turn)
        return None if completion is None else await self._take(completion, last=last)

    async def _take(self, completion: Completion, *, last: bool) -> str | None:
        """The answer that a reply gives once its code has run; None if the model must go on."""
        text = strip_thinking(completion.text)
        reply = parse(text)
        if reply.code:
            self._form = form_of(text) or self._form
        cut = completion.finish_reason == "length"
        if cut:
            reply = replace(reply, final=None)
        elif last and reply.final is not None:
            reply = replace(reply, code=())
        self._dialogue.history.add_reply(text or "(no reply)")
        self._subcalls.turn = self.turn
        results: list[CellResult] = []
        for code in reply.code:
            results.append(await self._run(code))
            if results[-1].status != "ok":
                break
        clean = all(result.status == "ok" for result in results)
        if not clean and len(reply.code) == 1 and (words := words_of(reply.code[0])):
            reply, results, clean = ParsedReply((), words, reply.prose), [], True
        for result in results:
            self.drafts.from_cell(result, final_holds=clean)
        if reply.prose and not reply.code and reply.final is None:
            self.drafts.offer(reply.prose, Strength.PROSE)
        if clean and (answer := await self._settle(reply, results, last=last)) is not None:
            return answer
        if not last:
            await self._report(reply, results, cut=cut)
        return None

    async def _settle(
        self, reply: ParsedReply, results: list[CellResult], *, last: bool
    ) -> str | None:
        """The answer that a clean turn gives, if any. What is refused is kept as a draft."""
        has_looked = self._may_answer
        given = next((result.final for result in reversed(results) if result.final), None)
        if given is None and reply.final is not None:
            code = evaluation(reply.final)
            if code is not None:
                results.append(await self._run(code.source))
                given = results[-1].final
                if given is None and not code.may_be_words:
                    return None
                if given is None:
                    results.pop()
        if given is not None:
            if given.cut:
                self.note("The answer was longer than a run may return; its end is cut.")
            if not is_answer(given.text):
                return None
            is_stated = bool(reply.code) and literal_of(reply.code[-1]) is not None
            return await self._accepted(given.text, last=last, is_stated=is_stated)
        if reply.final is None or not is_answer(reply.final.argument):
            return None
        self.drafts.offer(reply.final.argument, Strength.REFUSED)
        if not last and (reply.code or not has_looked):
            self._may_answer = True
            return None
        return await self._accepted(reply.final.argument, last=last, is_stated=True)

    async def _accepted(self, text: str, *, last: bool, is_stated: bool) -> str | None:
        """The answer if nothing speaks against it; else it is a draft."""
        may_object = not last and self._limit() is None
        answer = await self.acceptance.take(text, may_object=may_object, is_stated=is_stated)
        if answer is None:
            self.drafts.offer(text, Strength.DRAFT)
        return answer

    async def _report(
        self, reply: ParsedReply, results: Sequence[CellResult], *, cut: bool
    ) -> None:
        """Tell the model what became of its reply."""
        clean = all(result.status == "ok" for result in results)
        self._failed_turns = 0 if clean and results else self._failed_turns + 1
        parts = []
        if results:
            parts.append(prompts.report(results, unrun=len(results) < len(reply.code)))
            ran = list(zip(reply.code, results, strict=False))
            if (before := self.program.turn_like(ran, self.turn)) is not None:
                parts.append(prompts.repeated(before))
        objection = self.acceptance.objection()
        if objection is None:
            parts += await self.acceptance.remarks() if results else []
            cut_at = self._dialogue.reply_tokens if cut else None
            objection = feedback(reply, results, cut_at=cut_at, form=self._form)
        parts += [objection] if objection else []
        ledger = self.ports.calls.ledger
        parts.append(prompts.footer(self.turn, ledger.budget.turns, ledger.left()))
        self._dialogue.history.add_report("\n\n".join(parts))

    async def _run(self, code: str, kind: str = "c") -> CellResult:
        """Run a cell; its end is told and its variables are known also if this is cancelled."""
        self._cells += 1
        self._may_answer = True
        cell_id = f"{self.question.run_id}.{self._id(f'{kind}{self._cells}')}"
        self._emit(CellStarted(self.question.node, cell_id, self.turn, code))
        try:
            result = await self._repl.run(Cell(cell_id, code, fresh_answer=self._cells == 1))
        finally:
            self._ended(cell_id, code, self._repl.last)
        return result

    def _ended(self, cell_id: str, code: str, result: CellResult | None) -> None:
        if result is None or result.cell_id != cell_id:
            result = CellResult(cell_id, "died", "", 0, "The REPL is gone.", 0.0, lost=True)
        self.variables = result.variables
        self.program.add(code, result)
        self.drafts.from_cell(result, final_holds=False)
        self._emit(
            CellEnded(
                node=self.question.node,
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

    async def _forced_answer(self, limit: StoppedBy) -> str:
        """The answer at a limit: asked for once more if a call is left, else the best there is."""
        self._dialogue.history.add_report(prompts.forced(self.variables))
        try:
            text = await self._turn(last=True)
        except (EndpointError, ReplError) as error:
            self.note(f"The run broke off at its limit of {limit}: {error.message}")
            text = None
        return await self.best() if text is None else text

    async def best(self) -> str:
        """The best answer without asking any more.

        A variable goes before prose, because a last free-text reply often misses a value that sits
        in a variable (paper, appendix E.2).
        """
        mine = [each for each in self.variables if each not in self._found]
        shown = (variable_shown(mine, output) for output in reversed(self.program.outputs))
        name = likely_answer(mine) or next(filter(None, shown), None)
        if name is not None and self.drafts.strength < Strength.DRAFT:
            with contextlib.suppress(ReplError):
                result = await self._run(f"FINAL_VAR({name!r})", BEST)
                if result.final and is_answer(result.final.text):
                    self.note(f"The answer is the variable `{name}`: the model had not finished.")
                    return result.final.text
        return self.drafts.text

    async def conduct(self, recounted: Recount | None = None) -> Conduct:
        """How it went about the question, as far as it came."""
        return Conduct(
            way=self._way.way,
            why=self._way.why,
            prefix_reuse=self._requests.reuse,
            coverage=await self.acceptance.coverage.covered(),
            recount=recounted,
        )

    async def _nested(self, request: SubRequest) -> SubReply:
        below = replace(
            self.question,
            node=self.ports.calls.past.below(self.question.node, nested_key(request).hex()),
            depth=self.question.depth + 1,
            query=request.prompt,
            shape=None,
            route=Route(),
        )
        return await self.nest(below, self.ports, request)

    def _id(self, name: str) -> str:
        return f"{self.question.node}.{name}" if self.question.node else name

    def note(self, text: str) -> None:
        """Say something to the person, in the events and beside the answer."""
        self.notes.append(text)
        self._emit(Note(self.question.node, text))

    def _emit(self, event: Event) -> None:
        self.ports.calls.sink.emit(event)
