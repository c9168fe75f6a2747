"""A model as a run asks it: at one endpoint or several, in turn, with retries, usage and cost."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import anyio

from rlm_mcp.errors import (
    EndpointBusy,
    EndpointError,
    EndpointUnreachable,
    ModelUnknown,
    NotTheProtocol,
    PromptTooLong,
    ReplyEmpty,
)
from rlm_mcp.llm.endpoint import Endpoint
from rlm_mcp.llm.prices import Price
from rlm_mcp.llm.retries import OnRetry, with_retries
from rlm_mcp.llm.scheduler import Asker, Gate, slot
from rlm_mcp.llm.wire import Switch, WireReply
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import Completion, Message, Retry, Usage

# How long a busy endpoint is left alone if it does not say, where others can be asked meanwhile.
_REST_S = 2.0
# In times of the patience with one that does not answer: as long as a busy one is tried again.
_LONGEST_REST = 10
_LOOK_S = 3.0
# What two prompts must begin with alike to be better asked at the same endpoint.
_PREFIX_CHARS = 1024


@dataclass(slots=True)
class Connection:
    """An endpoint with its gate. `is_stale` asks for a new look at it: it was not as found."""

    endpoint: Endpoint
    gate: Gate
    is_stale: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """A model as one endpoint has it.

    `thinking_off` is what is known to turn its thinking off, None if nothing is.
    """

    connection: Connection
    name: str
    thinking_off: Switch | None = None

    @property
    def gate(self) -> Gate:
        """Whose slots its requests take."""
        return self.connection.gate


@dataclass(slots=True)
class _Call:
    """One call under way: what replies have used so far that were no answer, where it was tried."""

    messages: Sequence[Message]
    max_tokens: int | None
    asker: Asker
    on_retry: OnRetry | None = None
    spent: Usage | None = None
    tried: Counter[Server] = field(default_factory=Counter)
    is_without_thinking: bool = False

    def tell(self, retry: Retry) -> None:
        """Say that it is tried again, and what it has used: it may be cancelled then."""
        if self.on_retry is not None:
            self.on_retry(replace(retry, spent=self.spent))


class RemoteModel:
    """The `Model` of an OpenAI-compatible endpoint, or of several that share its calls.

    Of several, each call goes to the one with the most free slots; where these are equally many,
    prompts that begin alike go to the same one, which may have them in its cache. One that fails
    three times in a row is put aside and looked at again after `patience_s`; others take its calls.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        window_tokens: int | None,
        *,
        price: Price | None,
        patience_s: float,
        missing: Sequence[str] = (),
    ) -> None:
        """`missing` says in words which endpoints are left out, and why."""
        self.name = servers[0].name
        self.window_tokens = window_tokens
        self.servers = tuple(servers)
        self._price = price
        self._patience_s = patience_s
        self._missing = tuple(missing)
        self._lost: dict[Server, str] = {}

    @property
    def url(self) -> str:
        """Where it is asked, of several the first, without user name and password."""
        return self.servers[0].connection.endpoint.url

    @property
    def slots(self) -> int:
        """How many requests its endpoints are given at a time."""
        return sum(gate.slots for gate in {server.gate for server in self.servers})

    def cost_of(self, input_tokens: int, output_tokens: int) -> float | None:
        """See `PricedModel.cost_of`."""
        return None if self._price is None else self._price.cost(input_tokens, output_tokens, None)

    def for_run(self, session: str, run: str) -> "RunsModel":
        """The same model, asked on behalf of a run: its calls take turns with other runs'."""
        return RunsModel(self, Asker(session, run))

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
        return await self.complete_for(Asker(), messages, max_tokens, on_retry)

    async def complete_for(
        self,
        asker: Asker,
        messages: Sequence[Message],
        max_tokens: int | None,
        on_retry: OnRetry | None,
    ) -> Completion:
        """Ask once on somebody's behalf. See `complete`."""
        call = _Call(messages, max_tokens, asker, on_retry)

        async def attempt(number: int) -> Completion:
            return await self._attempt(call, number)

        try:
            return await with_retries(attempt, call.tell, self._patience_s)
        except EndpointError as error:
            error.usage = call.spent
            if isinstance(error, EndpointUnreachable | ModelUnknown | NotTheProtocol):
                for server in call.tried:
                    server.connection.is_stale = True
            if isinstance(error, PromptTooLong) and error.window_tokens is not None:
                self.learn_window(error.window_tokens)
            raise

    def learn_window(self, tokens: int) -> None:
        """Take note that the endpoint has shown to keep no more than `tokens` of a prompt."""
        self.window_tokens = min(tokens, self.window_tokens or tokens)

    async def _attempt(self, call: _Call, number: int) -> Completion:
        """One attempt, in turn, at the endpoint that can take it first.

        Raises:
            EndpointError: it failed, there; of a kind that is tried again if there are others.
        """
        for each in self.servers:
            if len(self.servers) > 1 and each.gate.is_lost and each.gate.is_open:
                await self._look_again(each)
        servers = self._choice(call)
        server = servers[0]
        try:
            async with slot([each.gate for each in servers], call.asker) as gate:
                server = next(each for each in servers if each.gate is gate)
                reply = await self._answer(server, call, number)
        except EndpointError as error:
            call.tried[server] += 1
            if len(self.servers) > 1 and self._goes_elsewhere(error, server, call):
                error.retry_after_s = 0.0
                if not error.retryable:
                    raise EndpointUnreachable(
                        error.message, error.hint, url=error.url, retry_after_s=0.0
                    ) from error
            raise
        assert call.spent is not None
        return Completion(
            text=reply.text,
            reasoning=reply.reasoning,
            finish_reason=reply.finish_reason,
            model=server.name,
            usage=call.spent,
            attempts=number,
            notes=self._notes(),
        )

    def _choice(self, call: _Call) -> Sequence[Server]:
        """Where a call may go now, where it should go first: where it was tried least."""
        if len(self.servers) == 1:
            return self.servers
        start = hash(call.messages[0].content[:_PREFIX_CHARS]) % len(self.servers)
        turned = self.servers[start:] + self.servers[:start]
        possible = [server for server in turned if server.gate.is_open] or turned
        least = min(call.tried[server] for server in possible)
        return [server for server in possible if call.tried[server] == least]

    async def _look_again(self, server: Server) -> None:
        """Ask a lost endpoint for its models: with that no call is lost if it is still gone."""
        server.gate.put_aside(self._patience_s)
        try:
            page = await server.connection.endpoint.fetch("/v1/models", _LOOK_S)
        except EndpointError:
            return
        if page.status not in {401, 403}:
            server.gate.reopen()

    def _goes_elsewhere(self, error: EndpointError, server: Server, call: _Call) -> bool:
        """Put an endpoint aside that cannot be asked now; whether another may take its call."""
        if isinstance(error, PromptTooLong | ReplyEmpty):
            return False
        if isinstance(error, EndpointBusy):
            longest = _LONGEST_REST * self._patience_s
            server.gate.put_aside(min(error.retry_after_s or _REST_S, longest))
        elif server.gate.is_lost:
            self._lost[server] = error.message
            server.connection.is_stale = True
            server.gate.put_aside(self._patience_s)
        return any(each.gate.is_open and not call.tried[each] for each in self.servers)

    def _notes(self) -> tuple[str, ...]:
        """What the person should know of endpoints that are not asked."""
        lost = [words for server, words in self._lost.items() if server.gate.is_lost]
        return tuple(_left_out(words) for words in (*self._missing, *lost))

    async def _answer(self, server: Server, call: _Call, number: int) -> WireReply:
        """The reply, of a second request without thinking if the first was spent on that."""
        reply = await self._ask(server, call)
        if (
            _is_spent(reply)
            and reply.reasoning
            and server.thinking_off is not None
            and not call.is_without_thinking
        ):
            call.is_without_thinking = True
            call.tell(Retry(number, f"{server.name} spent its tokens on thinking alone", 0.0))
            reply = await self._ask(server, call)
        if _is_spent(reply):
            assert call.spent is not None
            spent = "on thinking alone" if reply.reasoning else "without a word"
            raise ReplyEmpty(
                f"{server.name} spent {call.spent.output_tokens:,} tokens {spent}.",
                "Set RLM_MAX_OUTPUT_TOKENS higher, or switch the model's thinking off.",
                url=server.connection.endpoint.url,
            )
        return reply

    async def _ask(self, server: Server, call: _Call) -> WireReply:
        """One request. What its reply used is on the call's bill, whatever becomes of it."""
        off = server.thinking_off if call.is_without_thinking else None
        start = anyio.current_time()
        chat = server.connection.endpoint.chat
        reply = await chat(server.name, call.messages, call.max_tokens, off)
        usage = self._usage(reply, call.messages, anyio.current_time() - start)
        call.spent = usage if call.spent is None else call.spent + usage
        return reply

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


@dataclass(frozen=True, slots=True)
class RunsModel:
    """A `Model` that is asked on behalf of one run, and otherwise the one of all."""

    model: RemoteModel
    asker: Asker

    @property
    def name(self) -> str:
        """See `Model.name`."""
        return self.model.name

    @property
    def window_tokens(self) -> int | None:
        """See `Model.window_tokens`."""
        return self.model.window_tokens

    @property
    def slots(self) -> int:
        """See `Model.slots`."""
        return self.model.slots

    def cost_of(self, input_tokens: int, output_tokens: int) -> float | None:
        """See `PricedModel.cost_of`."""
        return self.model.cost_of(input_tokens, output_tokens)

    def learn_window(self, tokens: int) -> None:
        """See `Model.learn_window`; what one run finds out holds for all."""
        self.model.learn_window(tokens)

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_retry: OnRetry | None = None,
    ) -> Completion:
        """See `Model.complete`."""
        return await self.model.complete_for(self.asker, messages, max_tokens, on_retry)


def _left_out(words: str) -> str:
    """What the person is told of an endpoint that others stand in for."""
    return f"{words} The other servers take its calls until it answers again."


def _is_spent(reply: WireReply) -> bool:
    return not reply.text.strip() and reply.finish_reason == "length"
