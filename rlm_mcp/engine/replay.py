"""Runs the cells of a recorded node again, in a fresh REPL and on the answers recorded then.

No model is asked. What code asks is answered by what was asked, of whom; what has no recorded
answer is told so, and counted.
"""

import re
import secrets
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import anyio

from rlm_mcp.engine.cells import Repl
from rlm_mcp.engine.memo import key_of
from rlm_mcp.engine.nested import stopped
from rlm_mcp.engine.subcalls import cut_by_server, nested_key, role_of, said, silent
from rlm_mcp.engine.truncation import tokens_lost
from rlm_mcp.events import CallEnded, CellEnded, CellStarted, Event, RunEnded, RunStarted
from rlm_mcp.protocols import ReplBackend
from rlm_mcp.types import (
    CallAsked,
    Cell,
    CellResult,
    Completion,
    ContextInfo,
    Message,
    ReplLimits,
    ReplSpec,
    Reply,
    SubReply,
    SubRequest,
)

CLOSE_S = 5.0
UNKNOWN = "no answer to this was recorded"
# How the guest names what it leaves out of an output.
_OMITTED = re.compile(r"\n\.\.\. \[([\d,]+) characters omitted\] \.\.\.\n")


@dataclass(frozen=True, slots=True)
class Ran:
    """A recorded cell; `after` is what it did when it ran again, None if it was not run.

    `unknown` counts what it asked and nobody had answered.
    """

    start: CellStarted
    before: CellEnded | None
    after: CellResult | None
    unknown: int = 0

    @property
    def agrees(self) -> bool:
        """Whether it ended and printed as it had."""
        before, after = self.before, self.after
        if before is None or after is None:
            return False
        was, now = (
            (each.status, each.output, each.output_chars, each.error) for each in (before, after)
        )
        return was == now


@dataclass(slots=True)
class Answers:
    """What was answered in a run, by what had been asked: what came first is given first."""

    root: str
    sub: str
    reply_tokens: int
    _said: defaultdict[str, deque[CallEnded]] = field(default_factory=lambda: defaultdict(deque))
    _nested: dict[str, SubReply] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Take the next event of the run."""
        match event:
            case CallEnded(outcome="ok" | "failed") if event.key:
                self._said[event.key].append(event)
            case RunEnded() if event.key and event.stopped_by == "answer":
                self._nested[event.key] = SubReply(event.answer)
            case RunEnded() if event.key:
                self._nested[event.key] = stopped(event.stopped_by, event.answer)
            case _:
                pass

    def reply(self, kind: str, request: SubRequest) -> SubReply | None:
        """The answer to a request, None if none was recorded."""
        if kind == "rlm" and (known := self._nested.get(nested_key(request).hex())) is not None:
            return known
        role = role_of(request.model, self.root, self.sub)
        name = self.root if role == "root" else self.sub
        ends = self._said.get(key_of(name, request.text).hex())
        if role is None or not ends:
            return None
        end = _next(ends)
        if end.outcome == "failed":
            return SubReply(None, " ".join(filter(None, (end.error, end.hint))))
        if len(end.reply) != end.reply_chars or end.usage is None:
            return None  # only its ends are known
        came = Completion(end.reply, "", end.finish_reason, end.model, end.usage)
        if (lost := tokens_lost((Message("user", request.text),), came)) is not None:
            return cut_by_server(request.text, *lost)
        reply = said(came, self.reply_tokens)
        return silent(name) if reply is None else reply


def _next(ends: deque[CallEnded]) -> CallEnded:
    """What came next; an empty reply was asked for once more, and the last one is remembered."""
    end = ends.popleft()
    if end.outcome == "ok" and not end.reply and ends:
        end = ends.popleft()
    if not ends:
        ends.append(end)
    return end


async def replay_node(
    cells: Sequence[tuple[CellStarted, CellEnded | None]],
    contexts: tuple[ContextInfo, ...],
    answers: Answers,
    backend: ReplBackend,
    limits: ReplLimits,
) -> list[Ran]:
    """Run the cells again in their order; one that was broken off then is not.

    Raises:
        ReplError: no REPL could be had, or it is gone.
    """
    unknown: list[SubRequest] = []

    async def answer(asked: CallAsked) -> Reply:
        replies = []
        for request in asked.requests:
            known = answers.reply(asked.kind, request)
            if known is None:
                unknown.append(request)
            replies.append(known or SubReply(None, UNKNOWN))
        return Reply(asked.call_id, tuple(replies))

    handle = f"replay_{secrets.token_urlsafe(9)}"
    repl = Repl(backend, handle, 1, answer)
    ran = []
    try:
        await backend.open(ReplSpec(handle, 1, contexts, limits))
        for number, (start, end) in enumerate(cells, 1):
            if end is None or end.status in {"interrupted", "died"}:
                ran.append(Ran(start, end, None))
                continue
            unknown.clear()
            result = await repl.run(Cell(f"{handle}.{number}", start.code, number == 1))
            ran.append(Ran(start, end, result, len(unknown)))
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
            await backend.close(handle)
    return ran


def answers_of(events: Iterable[Event], started: RunStarted, reply_tokens: int) -> Answers:
    """All that a run was answered."""
    answers = Answers(started.model, started.sub_model, reply_tokens)
    for event in events:
        answers.add(event)
    return answers


def shown_chars(ends: Iterable[CellEnded | None]) -> int | None:
    """At how many characters outputs were cut, as far as one of them tells."""
    for end in ends:
        omitted = None if end is None else _OMITTED.search(end.output)
        if end is not None and omitted is not None:
            return end.output_chars - int(omitted[1].replace(",", ""))
    return None
