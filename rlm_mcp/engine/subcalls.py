"""Answer what code in the REPL asks of models: leaf calls, batches, nested runs."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from rlm_mcp.engine.calls import Calls, CallSite, call_key
from rlm_mcp.engine.coverage import Coverage
from rlm_mcp.engine.failures import Failures
from rlm_mcp.engine.ledger import Admission
from rlm_mcp.engine.memo import key_of
from rlm_mcp.engine.replies import strip_thinking
from rlm_mcp.engine.truncation import tokens_lost, words_on
from rlm_mcp.engine.worklist import Worklist
from rlm_mcp.errors import EndpointError
from rlm_mcp.events import CallRole
from rlm_mcp.protocols import Model
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import CallAsked, Completion, Message, Reply, StoppedBy, SubReply, SubRequest

LIMIT_WORDS: dict[StoppedBy, str] = {
    "calls": "the run's model calls are used up",
    "tokens": "the run's tokens are used up",
    "cost": "the run's cost limit is reached",
    "time": "the run's time is used up",
}

# A model that says nothing says something more often than not when it is asked again.
ASKED_FOR_WORDS = 2
SAME_CUT = 0.02
LEFT_OF_A_TURN = 0.25
LEAST_SHARED = 20

Nested = Callable[[SubRequest], Awaitable[SubReply]]


def refused(limit: StoppedBy) -> SubReply:
    """What code is told of a request that a limit forbids."""
    return SubReply(None, f"not asked: {LIMIT_WORDS[limit]}; finish with what you have, call FINAL")


def named(name: str | None, root: Model, sub: Model) -> Model | None:
    """The model of a run that code means by a name, None if it has no such model."""
    role = role_of(name, root.name, sub.name)
    return None if role is None else root if role == "root" else sub


def role_of(name: str | None, root: str, sub: str) -> CallRole | None:
    """Which of a run's two models code means by a name, None if neither."""
    if name is None or name in {sub, "sub", "auto"}:
        return "sub"
    return "root" if name in {root, "root"} else None


def nested_key(request: SubRequest) -> bytes:
    """The same for the same question to a nested run, about the same text."""
    return key_of("rlm", request.prompt, *(() if request.context is None else (request.context,)))


def said(completion: Completion, reply_tokens: int) -> SubReply | None:
    """What code is given of a model's reply; None if the model said nothing."""
    text = strip_thinking(completion.text)
    if not text:
        return None
    if completion.finish_reason == "length":
        text += f"\n[cut here: the reply reached its limit of {reply_tokens:,} tokens]"
    return SubReply(text)


def silent(model: str) -> SubReply:
    """What code is told of a model that has said nothing, also when asked again."""
    return SubReply(None, f"{model} gave an empty reply; ask in other words")


def cut_by_server(prompt: str, sent: int, counted: int) -> SubReply:
    """What code is told of a prompt that was not read whole; see `truncation`."""
    chars = int(len(prompt) * counted * 0.8 / sent)
    return SubReply(
        None,
        f"not answered: the server cut the prompt to {counted:,} of about {sent:,} tokens;"
        f" split the text into pieces of at most {chars:,} characters",
    )


@dataclass(slots=True)
class _Batch:
    """Requests asked together, each once, and their replies so far.

    There are `width` workers at it, as many as there are slots, so that each can follow its prompts
    at one slot.
    """

    asked: CallAsked
    width: int
    tasks: TaskGroup
    work: Callable[["_Worker"], Coroutine[Any, Any, None]]
    requests: list[SubRequest] = field(init=False)
    worklist: Worklist = field(init=False)
    replies: dict[SubRequest, SubReply] = field(default_factory=dict)
    workers: int = 0

    def __post_init__(self) -> None:
        self.requests = list(dict.fromkeys(self.asked.requests))
        self.worklist = Worklist([request.text for request in self.requests])
        for _ in range(min(len(self.requests), self.width)):
            self.hire()

    def hire(self) -> None:
        """Put one more worker to work."""
        self.workers += 1
        self.tasks.start_soon(self.work, _Worker(self))


@dataclass(slots=True)
class _Worker:
    """Who asks one request of a batch after the other, until relieved."""

    batch: _Batch
    is_relieved: bool = False

    def relieve(self) -> None:
        """Let another go on in its place while its call waits to be tried again."""
        if not self.is_relieved and self.batch.workers < 2 * self.batch.width:
            self.is_relieved = True
            self.batch.hire()


@dataclass(slots=True)
class SubCalls:
    """Sub-calls of one node of a run. `nested` answers `rlm_query`; None at the depth limit.

    A prompt that a model has answered in this run is not asked again, and one that stands twice in
    a batch is asked once. Everything that goes wrong with one request is that request's error, in
    words the model can act on: a batch never fails as a whole. `failures` takes what has no answer;
    `note` is told what the user should know.
    """

    node: str
    root: Model
    sub: Model
    calls: Calls
    nested: Nested | None
    coverage: Coverage
    failures: Failures
    reply_tokens: int
    note: Callable[[str], None]
    turn: int = 0
    _turn_began: tuple[int, int] = (-1, 0)
    _count: int = field(default=0)
    _cuts: dict[str, list[int]] = field(default_factory=dict)
    _noted: set[str] = field(default_factory=set)

    async def answer(self, asked: CallAsked) -> Reply:
        """All replies to `asked`, in its order."""
        if (refusal := self._overdrawn(asked)) is not None:
            self._take_stock(asked, [refusal] * len(asked.requests))
            return Reply(asked.call_id, (refusal,) * len(asked.requests))
        async with anyio.create_task_group() as tasks:
            batch = _Batch(asked, self._slots(asked), tasks, self._work)
        in_order = tuple(batch.replies[request] for request in asked.requests)
        await self.coverage.add(self._take_stock(asked, in_order))
        return Reply(asked.call_id, in_order)

    def _is_known(self, kind: str, request: SubRequest) -> bool:
        """Whether it costs no call, also because a resumed run had its answer before."""
        memo, past = self.calls.memo, self.calls.past
        if kind == "rlm" and self.nested is not None:
            key = nested_key(request)
            return (memo.known(key) or past.nested(key.hex())) is not None
        model = named(request.model, self.root, self.sub)
        if model is None:
            return False
        key = key_of(model.name, request.text)
        return (memo.known(key) or past.sub(key.hex())) is not None

    def _take_stock(self, asked: CallAsked, replies: Sequence[SubReply]) -> list[str]:
        """Note which prompts have failed, and give those that have not."""
        texts = [request.text for request in asked.requests]
        answered = [text for text, reply in zip(texts, replies, strict=True) if reply.error is None]
        self.failures.add(set(texts).difference(answered), answered)
        return answered

    def _overdrawn(self, asked: CallAsked) -> SubReply | None:
        """Why a call is refused before it is begun: it would use up what the run has left.

        One turn's calls outside of batches may take three quarters of that, so that a loop over
        lines leaves enough to do it better.
        """
        left = self.calls.ledger.calls_left()
        if left is None:
            return None
        if self._turn_began[0] != self.turn:
            self._turn_began = self.turn, left
        at_first = self._turn_began[1]
        new = len({each.text for each in asked.requests if not self._is_known(asked.kind, each)})
        if asked.batched and new >= left > 1:
            return SubReply(
                None,
                f"not asked: {new:,} prompts are more than the {left - 1:,} calls left;"
                " group several pieces into each prompt",
            )
        if not asked.batched and at_first >= LEAST_SHARED and left <= at_first * LEFT_OF_A_TURN:
            return SubReply(
                None,
                f"not asked: this turn has used {at_first - left:,} of the {at_first:,} calls"
                " left; group several pieces into each prompt",
            )
        return None

    def _slots(self, asked: CallAsked) -> int:
        """How many of the requests can be under way at a time."""
        found = [named(name, self.root, self.sub) for name in {r.model for r in asked.requests}]
        if asked.kind == "rlm" and self.nested is not None:
            found.append(self.root)
        return max((model.slots for model in found if model is not None), default=1)

    async def _work(self, worker: _Worker) -> None:
        batch = worker.batch
        for number in batch.worklist:
            request = batch.requests[number]
            if batch.asked.kind == "rlm" and self.nested is not None:
                batch.replies[request] = await self._below(request)
            else:
                batch.replies[request] = await self._leaf(request, worker)
            if worker.is_relieved:
                break
        batch.workers -= 1

    async def _below(self, request: SubRequest) -> SubReply:
        """The answer of a nested run; what was answered once is not worked on again."""
        assert self.nested is not None
        if (misfit := self._misfit(request.prompt, self.root)) is not None:
            return misfit
        key = nested_key(request)
        known = self.calls.past.nested(key.hex())
        return known or await self.calls.memo.reply(key, partial(self.nested, request))

    async def _leaf(self, request: SubRequest, worker: _Worker) -> SubReply:
        model = named(request.model, self.root, self.sub)
        if model is None:
            return SubReply(
                None,
                f"there is no model {(request.model or '')[:80]!r} in this run; leave `model` out,"
                f" or use {self.sub.name!r} or {self.root.name!r}",
            )
        prompt = request.text
        if (misfit := self._misfit(prompt, model)) is not None:
            return misfit
        asking = partial(self._ask, model, prompt, worker)
        return await self.calls.memo.reply(key_of(model.name, prompt), asking)

    async def _ask(self, model: Model, prompt: str, worker: _Worker) -> SubReply:
        for _ in range(ASKED_FOR_WORDS):
            reply = await self._ask_once(model, prompt, worker)
            if reply is not None:
                return reply
        return silent(model.name)

    async def _ask_once(self, model: Model, prompt: str, worker: _Worker) -> SubReply | None:
        """The reply to a prompt; None if the model said nothing."""
        messages = (Message("user", prompt),)
        if (known := self.calls.past.sub(call_key(model, messages))) is not None:
            return said(known, self.reply_tokens)
        admission = await self.calls.admit(self.node, "sub", model, messages, self.reply_tokens)
        if not isinstance(admission, Admission):
            return refused(admission)
        self._count += 1
        number = self.calls.past.asked(self.node) + self._count
        call = ".".join(filter(None, (self.node, f"s{number}")))
        site = CallSite(call, self.turn, admission, len(worker.batch.asked.requests))
        try:
            completion = await self.calls.ask(
                model, messages, site, self.reply_tokens, worker.relieve
            )
        except EndpointError as error:
            return SubReply(None, f"{error.message} {error.hint}")
        for words in completion.notes:
            if words not in self._noted:
                self._noted.add(words)
                self.note(words)
        if (lost := tokens_lost(messages, completion)) is not None:
            self._learn(model, *lost)
            return cut_by_server(prompt, *lost)
        return said(completion, self.reply_tokens)

    def _learn(self, model: Model, sent: int, counted: int) -> None:
        """A server that cuts at the same place twice has its window there."""
        before = self._cuts.setdefault(model.name, [])
        if not before:
            self.note(words_on(model.name, sent, counted))
        if any(abs(each - counted) <= SAME_CUT * counted for each in before):
            model.learn_window(max(counted, *before))
        before.append(counted)

    def _misfit(self, prompt: str, model: Model) -> SubReply | None:
        """Why a prompt cannot be sent to a model of known window; None if it fits."""
        window = model.window_tokens
        if window is None:
            return None
        room = window - min(self.reply_tokens, window // 4)
        # No text has more tokens than characters worth counting: the estimate is for doubt only.
        if len(prompt) <= room or (size := estimate_tokens(prompt)) <= room:
            return None
        pieces = -(-size // room) + (1 if size % room > 0.8 * room else 0)
        return SubReply(
            None,
            f"not asked: the prompt is about {size:,} tokens and {model.name} takes {room:,};"
            f" split the text into {pieces} or more pieces of at most"
            f" {int(len(prompt) * room * 0.8 / size):,} characters",
        )
