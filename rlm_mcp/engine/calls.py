"""Model calls of a run: recorded as events, settled on the ledger, however they end."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from rlm_mcp.engine.ledger import Ledger
from rlm_mcp.errors import EndpointError
from rlm_mcp.events import CallEnded, CallOutcome, CallRetried, CallRole, CallStarted
from rlm_mcp.protocols import Model, Sink
from rlm_mcp.types import Completion, Message, Retry, Usage
from rlm_mcp.words import clip

PROMPT_CHARS = 600
REPLY_CHARS = 64_000
SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class CallSite:
    """Where in a run a call stands. `batch` is how many requests were asked together."""

    node: str
    call: str
    turn: int
    role: CallRole
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Calls:
    """Asks models on behalf of a run. Who asks has had the call admitted by the ledger."""

    ledger: Ledger
    sink: Sink

    async def ask(
        self, model: Model, messages: Sequence[Message], site: CallSite, max_tokens: int
    ) -> Completion:
        """One completion.

        Raises:
            EndpointError: the call failed for good.
        """
        await self.sink.emit(
            CallStarted(
                node=site.node,
                call=site.call,
                turn=site.turn,
                role=site.role,
                model=model.name,
                prompt=clip(messages[-1].content, PROMPT_CHARS),
                prompt_chars=sum(len(message.content) for message in messages),
                batch=site.batch,
            )
        )

        async def on_retry(retry: Retry) -> None:
            await self.sink.emit(
                CallRetried(site.node, site.call, retry.attempt, retry.reason, retry.wait_s)
            )

        try:
            completion = await model.complete(messages, max_tokens=max_tokens, on_retry=on_retry)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), anyio.move_on_after(SETTLE_S):
                await self._end(model, site, "cancelled", None)
            raise
        except EndpointError as error:
            await self._end(model, site, "failed", error)
            raise
        await self._end(model, site, "ok", completion)
        return completion

    async def _end(
        self,
        model: Model,
        site: CallSite,
        outcome: CallOutcome,
        result: Completion | EndpointError | None,
    ) -> None:
        """Settle a call and say so. One of unknown usage is on the bill without tokens."""
        completion = result if isinstance(result, Completion) else None
        usage = result.usage if result is not None else None
        self.ledger.settle(site.role, usage or Usage(calls=1))
        await self.sink.emit(
            CallEnded(
                node=site.node,
                call=site.call,
                turn=site.turn,
                role=site.role,
                model=model.name,
                outcome=outcome,
                reply=clip(completion.text, REPLY_CHARS) if completion else "",
                reply_chars=len(completion.text) if completion else 0,
                reasoning_chars=len(completion.reasoning) if completion else 0,
                usage=usage,
                error=result.message if isinstance(result, EndpointError) else None,
                attempts=completion.attempts if completion else 1,
            )
        )
