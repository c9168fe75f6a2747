"""A model that says what a script tells it, for tests, examples and demos; never chosen silently.

A script is a function of the messages, sync or async, or a list of replies said in order:

    model = ScriptedModel(lambda messages: f"You said {messages[-1].content}")

    async with serve(["FINAL(42)"]) as server:
        ...  # server.url is an OpenAI-compatible endpoint on loopback

Scripted tokens are countable by hand: one for every four characters begun, message by message.
"""

from collections import deque
from collections.abc import Sequence

import anyio

from rlm_mcp.errors import EndpointFailed, EndpointUnreachable, ReplyEmpty
from rlm_mcp.llm.prices import Price
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.refusals import Target, error_of, read_refusal
from rlm_mcp.llm.retries import OnRetry, with_retries
from rlm_mcp.llm.script import (
    Ledger,
    Player,
    Script,
    ScriptedReply,
    count_tokens,
)
from rlm_mcp.llm.scripted_server import ScriptedServer, serve
from rlm_mcp.types import Completion, Message, Usage

__all__ = [
    "Ledger",
    "Quirks",
    "Script",
    "ScriptedModel",
    "ScriptedReply",
    "ScriptedServer",
    "count_tokens",
    "serve",
]


class ScriptedModel:
    """A `Model` in this process. What its replies inject fails as it would over HTTP.

    `requests` keeps the last 1,000 prompts; `ledger` bills what was answered.
    """

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        window_tokens: int | None = None,
        slots: int = 4,
        price: Price | None = None,
        patience_s: float = 30.0,
    ) -> None:
        self.name = name
        self.window_tokens = window_tokens
        self.slots = slots
        self.ledger = Ledger()
        self.requests: deque[tuple[Message, ...]] = deque(maxlen=1000)
        self._player = Player(script, window_tokens)
        self._limiter = anyio.CapacityLimiter(slots)
        self._price = price
        self._patience_s = patience_s

    def cost_of(self, input_tokens: int, output_tokens: int) -> float | None:
        """See `PricedModel.cost_of`."""
        return None if self._price is None else self._price.cost(input_tokens, output_tokens, None)

    def learn_window(self, tokens: int) -> None:
        """Take note that no more than `tokens` of a prompt are kept."""
        self.window_tokens = min(tokens, self.window_tokens or tokens)

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_retry: OnRetry | None = None,
    ) -> Completion:
        """The script's reply to these messages.

        Raises:
            EndpointError: the script injects a failure, or has no reply left.
        """

        async def attempt(number: int) -> Completion:
            async with self._limiter:
                return await self._attempt(messages, max_tokens, number)

        return await with_retries(attempt, on_retry, self._patience_s)

    async def _attempt(
        self, messages: Sequence[Message], max_tokens: int | None, number: int
    ) -> Completion:
        self.requests.append(tuple(messages))
        start = anyio.current_time()
        reply = await self._player.reply(messages, max_tokens)
        self.ledger.add(self.name, messages, reply)
        if reply.fault in {"hang", "trickle"}:
            await anyio.sleep_forever()
        if reply.fault == "drop":
            raise EndpointUnreachable("The script dropped the call.", "It was told to.")
        if reply.fault == "drop_mid":
            raise EndpointFailed("The script broke its reply off.", "It was told to.")
        if reply.status != 200:
            refusal = read_refusal(reply.status, _lowered(reply), reply.error_body)
            raise error_of(refusal, Target("scripted", self.name))
        tokens = (reply.input_tokens(messages), reply.output_tokens)
        usage = Usage(
            calls=1,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            estimated_calls=0 if reply.reports_usage else 1,
            cost=self.cost_of(*tokens),
            seconds=anyio.current_time() - start,
        )
        if not reply.text and reply.finish_reason == "length":
            raise ReplyEmpty("The script spent its tokens on thinking.", "Allow more.", usage=usage)
        return Completion(
            reply.text, reply.reasoning, reply.finish_reason, self.name, usage, attempts=number
        )


def _lowered(reply: ScriptedReply) -> dict[str, str]:
    return {name.lower(): value for name, value in reply.headers.items()}
