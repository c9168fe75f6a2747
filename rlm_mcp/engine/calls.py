"""Model calls of a run: recorded as events, settled on the ledger, however they end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio

from rlm_mcp.engine.ledger import Admission, Ledger
from rlm_mcp.engine.memo import Memo, key_of
from rlm_mcp.engine.outage import Outage
from rlm_mcp.engine.past import Past
from rlm_mcp.errors import EndpointError
from rlm_mcp.events import CallEnded, CallOutcome, CallRetried, CallStarted
from rlm_mcp.protocols import Model, Sink
from rlm_mcp.types import Completion, Message, Retry, Usage
from rlm_mcp.words import clip

PROMPT_CHARS = 600
REPLY_CHARS = 64_000


@dataclass(frozen=True, slots=True)
class CallSite:
    """Where in a run a call stands, and its place on the ledger.

    `batch` is how many requests were asked together.
    """

    call: str
    turn: int
    admission: Admission
    batch: int = 1


def call_key(model: Model, messages: Sequence[Message]) -> str:
    """The same for the same messages to the same model."""
    return key_of(model.name, *(message.content for message in messages)).hex()


@dataclass(frozen=True, slots=True)
class Calls:
    """Asks models on behalf of a run. Who asks has had the call admitted by the ledger.

    `memo` holds what sub-models have said in it, `past` what a resumed run was answered before;
    `outage` bears the loss of an endpoint.
    """

    ledger: Ledger
    sink: Sink
    memo: Memo = field(default_factory=Memo)
    past: Past = field(default_factory=Past)
    outage: Outage = field(default_factory=Outage)

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
        attempts = 1

        def on_retry(retry: Retry) -> None:
            nonlocal attempts
            told = CallRetried(
                site.admission.node, site.call, attempts, retry.reason, retry.wait_s, retry.lost
            )
            attempts += 1
            if on_wait is not None:
                on_wait()
            self.sink.emit(told)

        outcome: CallOutcome = "failed"
        result: Completion | EndpointError | None = None
        self._begin(model, messages, site)
        try:
            result = await self.outage.bear(
                id(model),
                lambda heard: model.complete(messages, max_tokens=max_tokens, on_retry=heard),
                on_retry,
            )
            outcome = "ok"
        except EndpointError as error:
            result = error
            raise
        except anyio.get_cancelled_exc_class():
            outcome = "cancelled"
            raise
        finally:
            self._end(model, messages, site, outcome, result, attempts)
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
        attempts: int,
    ) -> None:
        """Settle a call and say so. One of unknown usage is on the bill without tokens.

        A model may have another name at each endpoint: the bill says which one answered.
        """
        completion = result if isinstance(result, Completion) else None
        usage = result.usage if result is not None else None
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
                attempts=attempts,
                error_type=type(result).__name__ if isinstance(result, EndpointError) else None,
                key=call_key(model, messages),
                finish_reason=completion.finish_reason if completion else None,
                hint=result.hint if isinstance(result, EndpointError) else None,
                completion=completion,
            )
        )
