"""Scripts: what a scripted model says, and how its tokens are counted."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import orjson

from rlm_mcp.types import Message

_PIECE_CHARS = 256


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One reply of a script, or one way of failing.

    A `status` other than 200 is an HTTP error with `text` as its message. `raw` is sent as the
    body whatever it is. `fault` drops the connection before the reply or in its middle, or keeps
    it open until the client goes: `hang` without a byte, `trickle` with comments but never a word.
    `reports_usage` False leaves the usage out; `prompt_tokens` is what it counts of the prompt in
    place of all, as a server that cut it does.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = "stop"
    reports_usage: bool = True
    prompt_tokens: int | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    fault: Literal["drop", "drop_mid", "hang", "trickle"] | None = None

    def input_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the prompt, as far as it counts them."""
        return count_prompt(messages) if self.prompt_tokens is None else self.prompt_tokens

    @property
    def output_tokens(self) -> int:
        """Tokens of text and thinking."""
        return count_tokens(self.text) + count_tokens(self.reasoning)

    @property
    def error_body(self) -> bytes:
        """The body of an error reply."""
        if self.raw is not None:
            return self.raw
        return orjson.dumps({"error": {"message": self.text, "code": self.status}})


Said = str | ScriptedReply
Script = Callable[[Sequence[Message]], Said | Awaitable[Said]] | Sequence[Said]


class Player:
    """Plays one script and enforces the limits a real model has.

    A function is asked for every reply; a list is said in order, and a request beyond its end is
    refused with an error that says so. A prompt longer than the window is refused, a reply longer
    than `max_tokens` is cut with finish reason `length`.
    """

    def __init__(self, script: Script, window_tokens: int | None) -> None:
        self._script = script
        self._window_tokens = window_tokens
        self._said = 0

    async def reply(self, messages: Sequence[Message], max_tokens: int | None) -> ScriptedReply:
        """The reply to these messages."""
        prompt, window = count_prompt(messages), self._window_tokens
        if window is not None and prompt > window:
            words = (
                f"request ({prompt} tokens) exceeds the available context size ({window} tokens)"
            )
            return ScriptedReply(words, status=400)
        said = self._next() if isinstance(self._script, Sequence) else self._script(messages)
        if inspect.isawaitable(said):
            said = await said
        reply = ScriptedReply(said) if isinstance(said, str) else said
        return cut(reply, max_tokens)

    def _next(self) -> Said:
        assert isinstance(self._script, Sequence)
        self._said += 1
        if self._said > len(self._script):
            words = f"The script has {len(self._script)} replies; reply {self._said} was asked for."
            return ScriptedReply(words, status=400)
        return self._script[self._said - 1]


@dataclass(slots=True)
class Bill:
    """Calls answered and their tokens, and calls that failed, as the scripted side counts them."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    failed: int = 0


class Ledger(Bill):
    """The bill of everything a scripted side answered, in all and by model name."""

    def __init__(self) -> None:
        super().__init__()
        self.by_model: dict[str, Bill] = {}

    def add(self, model: str, messages: Sequence[Message], reply: ScriptedReply) -> None:
        """Bill a reply; an injected failure costs nothing."""
        if reply.status != 200 or reply.fault is not None:
            self.fail(model)
            return
        for bill in self._bills(model):
            bill.calls += 1
            bill.input_tokens += reply.input_tokens(messages)
            bill.output_tokens += reply.output_tokens

    def fail(self, model: str) -> None:
        """Count a call that got no answer."""
        for bill in self._bills(model):
            bill.failed += 1

    def _bills(self, model: str) -> tuple[Bill, Bill]:
        return self, self.by_model.setdefault(model, Bill())


def count_tokens(text: str) -> int:
    """Scripted tokens: one for every four characters begun."""
    return -(-len(text) // 4)


def count_prompt(messages: Sequence[Message]) -> int:
    """Scripted tokens of a prompt: the sum over its messages."""
    return sum(count_tokens(message.content) for message in messages)


def pieces(text: str) -> Iterator[str]:
    """A text as it is streamed."""
    return (text[at : at + _PIECE_CHARS] for at in range(0, len(text), _PIECE_CHARS))


def cut(reply: ScriptedReply, max_tokens: int | None) -> ScriptedReply:
    """A reply cut to `max_tokens`, thinking first, as a model that ran out of them leaves it."""
    if reply.status != 200 or max_tokens is None or reply.output_tokens <= max_tokens:
        return reply
    reasoning = reply.reasoning[: 4 * max_tokens]
    text = reply.text[: 4 * (max_tokens - count_tokens(reasoning))]
    return replace(reply, text=text, reasoning=reasoning, finish_reason="length")
