"""Asks one model of an endpoint within bounds of time and tokens, and counts what that took."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio

from rlm_mcp.errors import EndpointError, PromptTooLong
from rlm_mcp.llm.endpoint import Endpoint
from rlm_mcp.llm.retries import with_retries
from rlm_mcp.llm.wire import Dialect, Switch, WireReply
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import Message

REPLY_TOKENS = 64
# Longer prompts take more than their share of time, and rates are known from short ones only.
_SLACK = 1.5
_LEAST_TIMED_S = 0.01


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much measuring a model may take: seconds after its first reply, tokens of its prompts.

    `first_s` is how long the first reply may take, with which many servers load the model.
    """

    seconds: float = 120.0
    tokens: int = 150_000
    first_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a question; neither reply nor error: the time was up."""

    reply: WireReply | None
    error: EndpointError | None
    seconds: float

    @property
    def words(self) -> str:
        """All that the model said, thinking included, in small letters."""
        return "" if self.reply is None else f"{self.reply.text} {self.reply.reasoning}".lower()

    @property
    def made_tokens(self) -> int:
        """Tokens of the reply, as counted or as estimated."""
        if self.reply is None:
            return 0
        counted = self.reply.counted
        return counted.output if counted else estimate_tokens(self.words)


class Interview:
    """One model under question.

    `prompt_per_s` and `reply_per_s` are its rates as far as known; `thinking_off` the switch that
    goes with every question. `role_rules` is how the last question had to be put.
    """

    def __init__(self, endpoint: Endpoint, model: str, bounds: Bounds) -> None:
        self.requests = 0
        self.tokens = 0
        self.prompt_per_s: float | None = None
        self.reply_per_s: float | None = None
        self.thinking_off: Switch | None = None
        self._endpoint = endpoint
        self._model = model
        self._bounds = bounds
        self._start = anyio.current_time()
        self._deadline = self._start + bounds.first_s

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return anyio.current_time() - self._start

    @property
    def room_tokens(self) -> int:
        """The longest prompt that time and tokens are left for."""
        tokens = self._bounds.tokens - self.tokens
        if self.prompt_per_s is not None:
            left_s = self._deadline - anyio.current_time()
            tokens = min(tokens, int(left_s * self.prompt_per_s / _SLACK))
        return max(0, tokens)

    @property
    def role_rules(self) -> Dialect:
        """How the last question that was answered had to be put."""
        return self._endpoint.dialects.get(self._model, Dialect())

    def begin(self) -> None:
        """The model is loaded: the time for the rest runs from now."""
        self._deadline = anyio.current_time() + self._bounds.seconds

    async def ask(
        self,
        messages: Sequence[Message],
        max_tokens: int = REPLY_TOKENS,
        *,
        patience_s: float = 0.0,
    ) -> Asked:
        """One question, put without regard to roles known before; an error is a finding.

        Not sent once the time is up. A prompt refused for its length costs no tokens.
        """
        if anyio.current_time() >= self._deadline:
            return Asked(None, None, 0.0)
        self.requests += 1
        estimated = sum(estimate_tokens(message.content) for message in messages)
        self.tokens += estimated
        rules = replace(self.role_rules, merges=False, folds=False)
        self._endpoint.dialects[self._model] = rules
        reply, error = None, None
        start = anyio.current_time()

        async def attempt(_: int) -> WireReply:
            nonlocal start
            start = anyio.current_time()
            return await self._endpoint.chat(self._model, messages, max_tokens, self.thinking_off)

        with anyio.move_on_at(self._deadline):
            try:
                reply = await with_retries(attempt, None, patience_s)
            except EndpointError as failure:
                error = failure
        if isinstance(error, PromptTooLong):
            self.tokens -= estimated
        if reply is not None and reply.counted is not None:
            self.tokens += reply.counted.input - estimated
        return Asked(reply, error, anyio.current_time() - start)

    async def ask_together(self, prompts: Sequence[str]) -> list[Asked]:
        """Several questions at the same time."""
        answers: list[Asked] = []

        async def ask(prompt: str) -> None:
            answers.append(await self.ask([Message("user", prompt)]))

        async with anyio.create_task_group() as group:
            for prompt in prompts:
                group.start_soon(ask, prompt)
        return answers


def rate(tokens: float, seconds: float) -> float | None:
    """Tokens a second; None of less than 10 ms, which tell more of the clock than of the model."""
    return tokens / seconds if tokens and seconds >= _LEAST_TIMED_S else None
