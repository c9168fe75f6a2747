"""One model at one endpoint: limiter, retries, usage and cost around the wire."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from rlm_mcp.errors import (
    EndpointBusy,
    EndpointUnreachable,
    ModelUnknown,
    NotTheProtocol,
    PromptTooLong,
    ReplyEmpty,
)
from rlm_mcp.llm.endpoint import Endpoint
from rlm_mcp.llm.prices import Price
from rlm_mcp.llm.refusals import WindowShared
from rlm_mcp.llm.retries import OnRetry, with_retries
from rlm_mcp.llm.wire import Switch, WireReply
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import Completion, Message, Usage


class Throttle:
    """How many requests an endpoint is given at a time: `slots`, less while it cannot take them.

    Halved when the endpoint says it is overloaded, once for all requests that were in flight
    together; one more again after as many successes as the limit then is.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._limiter = anyio.CapacityLimiter(slots)
        self._halvings = 0
        self._successes = 0

    def resize(self, slots: int) -> None:
        """Set the slots the endpoint has, as found out anew."""
        self.slots = slots
        self._set(slots)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one slot for one attempt.

        Raises:
            PromptTooLong: the endpoint's shared context overflowed with this request alone in it.
        """
        async with self._limiter:
            before, alone = self._halvings, self._limiter.total_tokens == 1
            try:
                yield
            except EndpointBusy as error:
                if alone and isinstance(error, WindowShared):
                    raise PromptTooLong(
                        f"The prompt does not fit the model's window at {error.url}.",
                        "Send less text at a time, or start the server with a larger context.",
                        url=error.url,
                    ) from error
                if before == self._halvings:
                    self._set(self._limiter.total_tokens // 2)
                    self._halvings += 1
                raise
            self._successes += 1
            if self._successes >= self._limiter.total_tokens < self.slots:
                self._set(self._limiter.total_tokens + 1)

    def _set(self, limit: float) -> None:
        self._limiter.total_tokens = max(1, int(limit))
        self._successes = 0


@dataclass(slots=True)
class Connection:
    """An endpoint with its throttle. `is_stale` asks for a new look at it: it was not as found."""

    endpoint: Endpoint
    throttle: Throttle
    is_stale: bool = False


class RemoteModel:
    """The `Model` of an OpenAI-compatible endpoint."""

    def __init__(
        self,
        connection: Connection,
        name: str,
        window_tokens: int | None,
        *,
        price: Price | None,
        patience_s: float,
        thinking_off: Switch | None = None,
    ) -> None:
        """`thinking_off` is what is known to turn the model's thinking off, None if nothing is."""
        self.name = name
        self.window_tokens = window_tokens
        self._connection = connection
        self._price = price
        self._patience_s = patience_s
        self._thinking_off = thinking_off

    @property
    def connection(self) -> Connection:
        """Where it is asked, and how many requests go there at a time."""
        return self._connection

    @property
    def url(self) -> str:
        """Where it is asked, without user name and password."""
        return self._connection.endpoint.url

    @property
    def slots(self) -> int:
        """How many requests the endpoint is given at a time."""
        return self._connection.throttle.slots

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_retry: OnRetry | None = None,
    ) -> Completion:
        """Ask once, retrying what may pass; no slot is held while waiting.

        Raises:
            EndpointError: the request failed for good; its leaf says how.
        """

        async def attempt(number: int) -> Completion:
            async with self._connection.throttle.turn():
                return await self._attempt(messages, max_tokens, number)

        try:
            return await with_retries(attempt, on_retry, self._patience_s)
        except (EndpointUnreachable, ModelUnknown, NotTheProtocol):
            self._connection.is_stale = True
            raise
        except PromptTooLong as error:
            if error.window_tokens is not None:
                self.learn_window(error.window_tokens)
            raise

    def learn_window(self, tokens: int) -> None:
        """Take note that the endpoint has shown to keep no more than `tokens` of a prompt."""
        self.window_tokens = min(tokens, self.window_tokens or tokens)

    async def _attempt(
        self, messages: Sequence[Message], max_tokens: int | None, number: int
    ) -> Completion:
        reply, usage = await self._ask(messages, max_tokens)
        is_spent = not reply.text.strip() and reply.finish_reason == "length"
        if is_spent and reply.reasoning and self._thinking_off is not None:
            first = usage
            reply, usage = await self._ask(messages, max_tokens, self._thinking_off)
            usage = first + usage
        if not reply.text.strip() and reply.finish_reason == "length":
            spent = "on thinking alone" if reply.reasoning else "without a word"
            raise ReplyEmpty(
                f"{self.name} spent {usage.output_tokens:,} tokens {spent}.",
                "Set RLM_MAX_OUTPUT_TOKENS higher, or switch the model's thinking off.",
                url=self._connection.endpoint.url,
                usage=usage,
            )
        return Completion(
            reply.text, reply.reasoning, reply.finish_reason, self.name, usage, attempts=number
        )

    async def _ask(
        self, messages: Sequence[Message], max_tokens: int | None, off: Switch | None = None
    ) -> tuple[WireReply, Usage]:
        start = anyio.current_time()
        reply = await self._connection.endpoint.chat(self.name, messages, max_tokens, off)
        return reply, self._usage(reply, messages, anyio.current_time() - start)

    def _usage(self, reply: WireReply, messages: Sequence[Message], seconds: float) -> Usage:
        if counted := reply.counted:
            given, made, cached = counted.input, counted.output, counted.cached
        else:
            given = sum(estimate_tokens(message.content) for message in messages)
            made, cached = estimate_tokens(reply.reasoning) + estimate_tokens(reply.text), None
        return Usage(
            calls=1,
            input_tokens=given,
            output_tokens=made,
            cached_tokens=cached,
            estimated_calls=0 if reply.counted else 1,
            cost=None if self._price is None else self._price.cost(given, made, cached),
            seconds=seconds,
        )
