"""Finds a window by canaries: prompts with a code word at the head and one at the end.

A server that drops the beginning of a prompt without a word (Ollama does, at 4,096 tokens unless
told otherwise) shows it twice: it counts fewer tokens than were sent, and its model does not know
the word at the head. Counts are believed first; words only of a model that knew both words of a
short canary, and only if it loses the head twice.
"""

import math
import random
import re
from dataclasses import dataclass
from typing import Literal

from rlm_mcp.errors import PromptTooLong
from rlm_mcp.llm.interview import REPLY_TOKENS, Asked, Interview, rate
from rlm_mcp.llm.profiles import Overflow
from rlm_mcp.llm.refusals import WindowShared
from rlm_mcp.tokens import estimate_tokens
from rlm_mcp.types import Message

SHORT_TOKENS = 256
_FIRST_TOKENS = 2048
_MOST_TOKENS = 1 << 20
_SHARE_OF_CLAIM = 0.95
_SHARE_OF_ROOM = 0.9
_LEAST_COUNTED = 0.9
_NEAR = 0.75
_DOWN = 0.8
_STEP = 2
_BLIND_STEP = 4
_GUESSED_CHARS_PER_TOKEN = 4.0
_CHARS_PER_TOKEN = (1.0, 12.0)
_LONGER = "Now count from one to forty in words instead."
_CODE_WORDS = re.findall(
    r"\w+",
    "anchor basket candle dragon engine falcon garden hammer island jungle kettle lantern magnet"
    " needle orchid pepper quartz ribbon saddle tunnel violin walnut yellow zipper",
)
_WHO = re.findall(r"\w+", "farmer sailor teacher painter baker doctor driver singer")
_DOES = re.findall(r"\w+", "carries counts watches paints sells repairs follows forgets")
_WHAT = re.findall(r"\w+", "stones letters horses boats apples windows barrels maps")
_WHERE = ("by the river", "in the market", "near the bridge", "behind the mill")


@dataclass(frozen=True, slots=True)
class Canary:
    """A text with a code word at either end."""

    text: str
    head: str
    tail: str

    def is_whole(self, words: str) -> bool:
        """Whether a reply knows the word at the head."""
        return self.head in words

    def is_cut(self, words: str) -> bool:
        """Whether a reply knows the word at the end only."""
        return self.tail in words and self.head not in words


def canary(chars: int) -> Canary:
    """A canary of about so many characters; no two begin alike, so that no cache knows one."""
    head, tail = random.sample(_CODE_WORDS, 2)
    start = f"The opening word is {head}.\n"
    end = (
        f"The closing word is {tail}.\n\n"
        "Which is the opening word of this text, and which the closing word?"
        " Reply with these two words and nothing else."
    )
    lines, size, number = [], len(start) + len(end), 0
    while size < chars:
        number += 1
        pick = random.choice
        lines.append(f"{number}. The {pick(_WHO)} {pick(_DOES)} {pick(_WHAT)} {pick(_WHERE)}.\n")
        size += len(lines[-1])
    return Canary(start + "".join(lines) + end, head, tail)


@dataclass(frozen=True, slots=True)
class Window:
    """What was found: as the fields of the same names in `ModelProfile`."""

    tokens: int | None
    is_measured: bool
    whole_tokens: int | None = None
    failed_tokens: int | None = None
    overflow: Overflow | None = None


@dataclass(frozen=True, slots=True)
class _Tried:
    """What became of one canary; `tokens` is how many it had, or how many are the window."""

    outcome: Literal["whole"] | Overflow
    tokens: int | None


class Gauge:
    """Sends canaries to one model and reads what became of them.

    `chars_per_token` is its tokenizer's on plain English, `is_honest` whether its counts are of
    use, `obeys` whether its words are.
    """

    def __init__(self, interview: Interview) -> None:
        self.is_honest = False
        self.obeys = False
        self.chars_per_token: float | None = None
        self._interview = interview

    async def calibrate(self, sent: str, asked: Asked) -> None:
        """Compare a short canary with a question asked before: the difference is free of extras.

        Extras are the tokens that a chat template adds to every prompt.
        """
        short = canary(int(SHORT_TOKENS * _GUESSED_CHARS_PER_TOKEN))
        answer = await self._send(short)
        self.obeys = short.is_whole(answer.words) and short.tail in answer.words
        first = asked.reply.counted if asked.reply else None
        second = answer.reply.counted if answer.reply else None
        if first is not None and second is not None and second.input > first.input:
            measured = (len(short.text) - len(sent)) / (second.input - first.input)
            self.is_honest = _CHARS_PER_TOKEN[0] <= measured <= _CHARS_PER_TOKEN[1]
            self.chars_per_token = measured if self.is_honest else None

    async def find(self, claim: int | None) -> Window:
        """The window: tried just below `claim`, or by doubling where nothing is claimed."""
        goal = _MOST_TOKENS if claim is None else int(_SHARE_OF_CLAIM * claim) - REPLY_TOKENS
        size, whole = min(_FIRST_TOKENS, goal), 0
        while 0 < size <= self._interview.room_tokens:
            tried = await self._try(size)
            if tried is None:
                break
            if tried.outcome != "whole":
                if tried.tokens:
                    known = max(tried.tokens, whole)
                    return Window(known, True, whole or None, size, tried.outcome)
                return await self._narrow(whole, size, tried.outcome)
            whole = max(whole, tried.tokens or size)
            if size == goal:
                return Window(claim or whole, True, whole)
            size = min(goal, self._next(size, claim))
            if size < 1.2 * whole and size != goal:
                break
        return Window(claim, False, whole or None)

    async def shares_context(self, window: int) -> bool | None:
        """Whether two prompts that fit the window one by one do not at the same time."""
        size = int(0.7 * window) - REPLY_TOKENS
        if size <= 0 or 2 * size > self._interview.room_tokens:
            return None
        # The reply must be long enough for the other prompt to be read meanwhile.
        pair = [f"{canary(int(size * self._ratio)).text}\n\n{_LONGER}" for _ in range(2)]
        answers = await self._interview.ask_together(pair)
        if any(isinstance(each.error, WindowShared | PromptTooLong) for each in answers):
            return True
        return False if all(each.reply is not None for each in answers) else None

    @property
    def _ratio(self) -> float:
        """Characters a token, measured or as the estimate has it for such text."""
        if self.chars_per_token is not None:
            return self.chars_per_token
        text = canary(4000).text
        return len(text) / estimate_tokens(text)

    @property
    def _room(self) -> int:
        """The longest canary there is room for: twice, where words must show what became of it."""
        room = int(_SHARE_OF_ROOM * self._interview.room_tokens)
        return room if self.is_honest else room // 2

    def _next(self, size: int, claim: int | None) -> int:
        """What to try after a canary of `size` tokens was taken whole."""
        if claim is None:
            return _STEP * size
        # Without counts a cut costs two prompts and tells no number: it is climbed to.
        return self._room if self.is_honest else min(_BLIND_STEP * size, self._room)

    async def _narrow(self, whole: int, failed: int, overflow: Overflow) -> Window:
        """The window between a whole and a failed prompt.

        Refusals cost nothing, so where there are some it is gone down to, and the first prompt
        taken is near; where prompts are cut, the ratio of the two is halved. The window is not
        known if the two could not be brought near each other: the ends are told then.
        """
        while whole < _NEAR * failed:
            halved = math.isqrt(max(whole, SHORT_TOKENS) * failed)
            size = min(int(_DOWN * failed) if overflow == "refused" else halved, self._room)
            if not max(whole, REPLY_TOKENS) < size < failed:
                break
            tried = await self._try(size)
            if tried is None:
                break
            if tried.outcome == "whole":
                whole = size
            else:
                failed = size
        is_near = whole >= _NEAR * failed
        window = whole + REPLY_TOKENS if is_near else None
        return Window(window, is_near, whole or None, failed, overflow)

    async def _try(self, size: int) -> _Tried | None:
        """What becomes of a canary of `size` tokens, None if that cannot be told."""
        tried = await self._once(size)
        if tried is None or tried.outcome != "truncated" or tried.tokens is not None:
            return tried
        return await self._once(size) if size <= self._interview.room_tokens else None

    async def _once(self, size: int) -> _Tried | None:
        sent = canary(int(size * self._ratio))
        asked = await self._send(sent)
        match asked.error:
            case PromptTooLong(window_tokens=window):
                return _Tried("refused", window)
            case None if asked.reply is not None:
                pass
            case _:
                return None
        counted = asked.reply.counted
        if self.is_honest and counted is not None and counted.input < _LEAST_COUNTED * size:
            return _Tried("truncated", counted.input)
        is_said = asked.reply.finish_reason != "length"
        if self.obeys and is_said and sent.is_cut(asked.words):
            return _Tried("truncated", None)
        if self.is_honest and counted is not None:
            return _Tried("whole", counted.input)
        return _Tried("whole", size) if sent.is_whole(asked.words) else None

    async def _send(self, sent: Canary) -> Asked:
        asked = await self._interview.ask([_user(sent)])
        if asked.reply is not None:
            reply_s = asked.made_tokens / (self._interview.reply_per_s or float("inf"))
            prompt_s = asked.seconds - reply_s
            per_s = rate(len(sent.text) / self._ratio, prompt_s if prompt_s > 0 else asked.seconds)
            self._interview.prompt_per_s = per_s or self._interview.prompt_per_s
        return asked


def _user(sent: Canary) -> Message:
    return Message("user", sent.text)
