"""Model calls of a run: recorded as events, settled on the ledger, however they end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import anyio

from rlm_mcp.engine.ledger import Admission, Ledger
from rlm_mcp.engine.memo import Memo, key_of
from rlm_mcp.engine.outage import Outage
from rlm_mcp.engine.past import Past
from rlm_mcp.errors import EndpointError
from rlm_mcp.events import CallEnded, CallOutcome, CallRetried, CallRole, CallStarted
from rlm_mcp.llm.retries import OnRetry
from rlm_mcp.protocols import Model, PricedModel, Sink
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import Completion, Message, Retry, StoppedBy, Usage
from rlm_mcp.words import clip

PROMPT_CHARS = 600
REPLY_CHARS = 64_000
# What a chat template puts around a message.
FRAME_TOKENS = 16


@dataclass(frozen=True, slots=True)
class CallSite:
    """Where in a run a call stands, and its place on the ledger.

    `batch` is how many requests were asked together.
    """

    call: str
    turn: int
    admission: Admission
    batch: int = 1


@dataclass(slots=True)
class _Course:
    """How a call goes: its attempts, and what they have used, None if nothing is known of that.

    The model is asked again after an outage: `before` is what it took until then.
    """

    attempts: int = 1
    before: Usage | None = None
    spent: Usage | None = None

    def goes_on(self, retry: Retry) -> None:
        """One more attempt."""
        self.attempts += 1
        self.spent = _sum(self.before, retry.spent)

    def ended(self, usage: Usage | None) -> Usage | None:
        """All that was used, once the model has answered or failed and told its part."""
        self.before = self.spent = _sum(self.before, usage)
        return self.spent


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    return one + other if one is not None and other is not None else one or other


def call_key(model: Model, messages: Sequence[Message]) -> str:
    """The same for the same messages to the same model."""
    return key_of(model.name, *(message.content for message in messages)).hex()


def most_of(model: Model, messages: Sequence[Message], max_tokens: int) -> Usage:
    """What one request may use at the most, as far as tokens can be told before they are counted.

    The cost is None for a model that does not tell its price. Twice as much is used where the model
    is asked again without its thinking.
    """
    given = sum(estimate_tokens(message.content) + FRAME_TOKENS for message in messages)
    cost = model.cost_of(given, max_tokens) if isinstance(model, PricedModel) else None
    return Usage(calls=1, input_tokens=given, output_tokens=max_tokens, cost=cost)


@dataclass(frozen=True, slots=True)
class Calls:
    """Asks models on behalf of a run: `admit` a call first, then `ask`.

    `memo` holds what sub-models have said in it, `past` what a resumed run was answered before;
    `outage` bears the loss of an endpoint.
    """

    ledger: Ledger
    sink: Sink
    memo: Memo = field(default_factory=Memo)
    past: Past = field(default_factory=Past)
    outage: Outage = field(default_factory=Outage)

    async def admit(
        self,
        node: str,
        role: CallRole,
        model: Model,
        messages: Sequence[Message],
        max_tokens: int,
    ) -> Admission | StoppedBy:
        """Leave to make a call, once what it may use is free; or the limit that forbids it."""
        if not self.ledger.limits_use:  # a guess of tokens takes time
            return await self.ledger.admit(node, role)
        return await self.ledger.admit(node, role, most_of(model, messages, max_tokens))

    async def ask(
        self,
        model: Model,
        messages: Sequence[Message],
        site: CallSite,
        max_tokens: int,
        on_wait: Callable[[], None] | None = None,
    ) -> Completion:
        """One completion. `on_wait` is called whenever it has to wait for another attempt.

        Raises:
            EndpointError: the call failed for good.
        """
        course = _Course()

        def on_retry(retry: Retry) -> None:
            told = CallRetried(
                node=site.admission.node,
                call=site.call,
                attempt=course.attempts,
                reason=retry.reason,
                wait_s=retry.wait_s,
                lost=retry.lost,
            )
            course.goes_on(retry)
            if on_wait is not None:
                on_wait()
            self.sink.emit(told)

        async def complete(heard: OnRetry) -> Completion:
            try:
                came = await model.complete(messages, max_tokens=max_tokens, on_retry=heard)
            except EndpointError as error:
                error.usage = course.ended(error.usage)
                raise
            return replace(came, usage=course.ended(came.usage) or came.usage)

        outcome: CallOutcome = "failed"
        result: Completion | EndpointError | None = None
        self._begin(model, messages, site)
        try:
            result = await self.outage.bear(id(model), complete, on_retry)
            outcome = "ok"
        except EndpointError as error:
            result = error
            raise
        except anyio.get_cancelled_exc_class():
            outcome = "cancelled"
            raise
        finally:
            self._end(model, messages, site, outcome, result, course)
        return result

    def _begin(self, model: Model, messages: Sequence[Message], site: CallSite) -> None:
        self.sink.emit(
            CallStarted(
                node=site.admission.node,
                call=site.call,
                turn=site.turn,
                role=site.admission.role,
                model=model.name,
                prompt=clip(messages[-1].content, PROMPT_CHARS),
                prompt_chars=sum(len(message.content) for message in messages),
                batch=site.batch,
                messages=tuple(messages),
            )
        )

    def _end(
        self,
        model: Model,
        messages: Sequence[Message],
        site: CallSite,
        outcome: CallOutcome,
        result: Completion | EndpointError | None,
        course: _Course,
    ) -> None:
        """Settle a call and say so. One of unknown usage is on the bill without tokens.

        A model may have another name at each endpoint: the bill says which one answered.
        """
        completion = result if isinstance(result, Completion) else None
        usage = course.spent
        name = completion.model if completion else model.name
        self.ledger.settle(site.admission, name, usage or Usage(calls=1))
        self.sink.emit(
            CallEnded(
                node=site.admission.node,
                call=site.call,
                turn=site.turn,
                role=site.admission.role,
                model=name,
                outcome=outcome,
                reply=clip(completion.text, REPLY_CHARS) if completion else "",
                reply_chars=len(completion.text) if completion else 0,
                reasoning_chars=len(completion.reasoning) if completion else 0,
                usage=usage,
                error=result.message if isinstance(result, EndpointError) else None,
                attempts=course.attempts,
                error_type=type(result).__name__ if isinstance(result, EndpointError) else None,
                key=call_key(model, messages),
                finish_reason=completion.finish_reason if completion else None,
                hint=result.hint if isinstance(result, EndpointError) else None,
                completion=completion,
            )
        )
