"""How a scripted server behaves like a real one: one switch per quirk, each combinable with all.

What the switches stand for was recorded from real servers (tests/fixtures/endpoints) or read in
their documentation and issues. A script sees only what the model behind such a server would see.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rlm_mcp.llm import vendors
from rlm_mcp.llm.script import ScriptedReply, count_prompt, count_tokens
from rlm_mcp.llm.vendors import Vendor
from rlm_mcp.llm.wire import Switch
from rlm_mcp.types import Message

Thinking = Literal["none", "reasoning_content", "reasoning", "tags"]

THOUGHT = "The user wants something. Let me think about it for a while before I answer."
_KNOWN_FIELDS = {
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
}


@dataclass(frozen=True, slots=True)
class Quirks:
    """The switches. The window itself and the slots are arguments of `serve`.

    `vendor`: whose metadata pages it has and whose words it refuses with. `ollama_native` has
    Ollama's own chat API beside the OpenAI one, `ollama` the latter alone.
    `claims`: the window these pages tell, where they tell one: the true one, a number, nothing.
    `overflow`: a prompt beyond the window is refused, or its beginning dropped without a word.
    `shares_context`: the slots have the window together; requests in flight whose prompts are
    more than it all fail.
    `alternates`: user and assistant must take turns after an optional system message.
    `takes_system`: a system message is refused if False.
    `trailing_assistant`: a last message of the assistant is answered like any other, refused, or
    continued: the reply begins where the message ends, or repeats it first (`echo`).
    `thinking`: where the model's thinking stands; each reply has some unless `thinking_switch` is
    thrown (None: nothing turns it off).
    `usage`, `reports_cached`: whether tokens, and those found in the cache, are reported.
    `loading_requests`: how many chat requests are answered with 503 at first.
    `refuses_unknown_fields`: 422 for a request with fields outside the standard.
    """

    vendor: Vendor = "plain"
    claims: int | Literal["true", "nothing"] = "true"
    overflow: Literal["refuse", "truncate"] = "refuse"
    shares_context: bool = False
    alternates: bool = False
    takes_system: bool = True
    trailing_assistant: Literal["answer", "refuse", "continue", "echo"] = "answer"
    thinking: Thinking = "none"
    thinking_switch: Switch | None = None
    usage: Literal["true", "missing", "zero"] = "true"
    reports_cached: bool = False
    loading_requests: int = 0
    refuses_unknown_fields: bool = False

    def claimed(self, window_tokens: int | None) -> int | None:
        """The window its pages tell of a true one, None if they tell none."""
        if self.claims == "nothing" or self.vendor in vendors.WITHOUT_WINDOW:
            return None
        return window_tokens if self.claims == "true" else self.claims

    def pages(
        self, models: Sequence[str], window_tokens: int | None, slots: int
    ) -> dict[str, bytes]:
        """The bodies of its metadata pages by path."""
        return vendors.pages(self.vendor, models, self.claimed(window_tokens), slots)

    def refusal(
        self, messages: Sequence[Message], asked: Mapping[str, Any], window_tokens: int | None
    ) -> ScriptedReply | None:
        """Why a request is not taken, None if it is."""
        if self.refuses_unknown_fields and (unknown := asked.keys() - _KNOWN_FIELDS):
            words = f"Unexpected fields in the request: {sorted(unknown)}"
            return ScriptedReply(raw=vendors.detail(words), status=422)
        if misplaced := self._misplaced([message.role for message in messages]):
            # llama.cpp answers 500 where a template raises, the others 400.
            status = 500 if self.vendor == "llamacpp" else 400
            return ScriptedReply(raw=vendors.error(self.vendor, misplaced, status), status=status)
        prompt = count_prompt(messages)
        cuts = self.overflow == "truncate" and asked.get("truncate") is not False
        if window_tokens is None or prompt <= window_tokens or cuts:
            return None
        return vendors.overflow(self.vendor, prompt, window_tokens)

    def seen(self, messages: Sequence[Message], window_tokens: int | None) -> tuple[Message, ...]:
        """What the model sees of a prompt: its end, as far as the window goes."""
        room, kept = window_tokens, list[Message]()
        if room is None or count_prompt(messages) <= room:
            return tuple(messages)
        for message in reversed(messages):
            if room <= 0:
                break
            text = message.content[-4 * room :]
            room -= count_tokens(text)
            kept.append(replace(message, content=text))
        return tuple(reversed(kept))

    def dressed(
        self, reply: ScriptedReply, seen: Sequence[Message], asked: Mapping[str, Any]
    ) -> ScriptedReply:
        """The script's reply as this server sends it, before `max_tokens` cuts it."""
        if reply.status != 200 or reply.raw is not None:
            return reply
        text, reasoning = reply.text, reply.reasoning
        if seen and seen[-1].role == "assistant":
            begun = seen[-1].content
            starts = {"continue": "", "echo": begun}
            if (start := starts.get(self.trailing_assistant)) is not None:
                text = start + text[len(begun) :]
        if self.thinking != "none":
            reasoning = "" if self._is_off(seen, asked) else reasoning or THOUGHT
        if self.thinking == "tags" and reasoning:
            text, reasoning = f"<think>\n{reasoning}\n</think>\n\n{text}", ""
        counted = count_prompt(seen) if reply.prompt_tokens is None else reply.prompt_tokens
        return replace(
            reply,
            text=text,
            reasoning=reasoning,
            prompt_tokens=counted,
            reports_usage=reply.reports_usage and self.usage != "missing",
        )

    def _misplaced(self, roles: list[str]) -> str | None:
        if not self.takes_system and "system" in roles:
            return "System role not supported"
        turns = roles[1:] if roles[:1] == ["system"] else roles
        if self.alternates and any(
            role != ("assistant" if number % 2 else "user") for number, role in enumerate(turns)
        ):
            return "Conversation roles must alternate user/assistant/user/assistant/..."
        if self.trailing_assistant == "refuse" and roles[-1:] == ["assistant"]:
            return "The last message must be one of the user"
        return None

    def _is_off(self, seen: Sequence[Message], asked: Mapping[str, Any]) -> bool:
        match self.thinking_switch:
            case "enable_thinking":
                return (asked.get("chat_template_kwargs") or {}).get("enable_thinking") is False
            case "reasoning_effort":
                return bool(asked.get("reasoning_effort") == "none")
            case "no_think":
                return any("/no_think" in message.content for message in seen)
            case None:
                return False
