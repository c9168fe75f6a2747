"""Asking models from code: `llm_query`, `rlm_query` and their batched forms, from any thread."""

import _thread
import itertools
import sys
from collections.abc import Callable, Iterable
from typing import Any

from .channel import Channel
from .wire import MODEL_CHARS, REQUEST_CHARS, REQUESTS, Message, pack

CALLS_AT_A_TIME = 256
MESSAGES_AT_A_TIME = 4
# What other harnesses and the APIs of models call them.
PROMPT_NAMES = (
    "prompt", "prompts", "query", "queries", "question", "questions", "items", "messages",
    "instruction", "input",
)  # fmt: skip
TEXT_NAMES = (
    "context", "contexts", "text", "texts", "chunk", "chunks", "content", "contents", "document",
    "documents", "passage", "passages",
)  # fmt: skip
PART_NAMES = frozenset((*PROMPT_NAMES, *TEXT_NAMES))
SAMPLING_NAMES = frozenset(
    {"temperature", "max_tokens", "max_new_tokens", "max_completion_tokens", "top_p", "top_k",
     "seed", "stop", "timeout"}
)  # fmt: skip


class LLMError(RuntimeError):
    """A model call failed; the text says why."""


class Failed:
    """Stands where a batched call has no answer. Falsy and no str, so it is never taken for one."""

    __slots__ = ("error",)

    def __init__(self, error: str) -> None:
        self.error = error

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"[failed: {self.error}]"

    def __repr__(self) -> str:
        return f"Failed({self.error!r})"


class Waiter:
    """A call on its way: a lock that opens when the answer is there, and the answer."""

    __slots__ = ("answer", "lock", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.answer: list[list[str | None]] | None = None
        self.lock = _thread.allocate_lock()
        self.lock.acquire()


class Calls:
    """The calls of one cell, each of at most `message_bytes`; the host ends a guest that lies."""

    def __init__(self, channel: Channel) -> None:
        self.message_bytes = 0
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Waiter] | None = None

    def begin(self, message_bytes: int) -> None:
        """A cell starts."""
        self.message_bytes = message_bytes
        self._waiting = {}

    def end(self) -> None:
        """The cell is over: whoever still waits is let go without an answer."""
        waiting, self._waiting = self._waiting, None
        while waiting:
            waiting.popitem()[1].lock.release()

    def deliver(self, message: Message) -> None:
        """Take the host's answer to a call; one that nobody waits for is dropped."""
        waiter = (self._waiting or {}).pop(message["id"], None)
        if waiter:
            waiter.answer = message["texts"]
            waiter.lock.release()

    def ask(self, kind: str, requests: list[list[str | None]], *, batched: bool) -> list[Any]:
        """Send the requests and wait; each answer is a text or a `Failed`.

        Raises:
            ValueError: the call is too large, or too much is asked at the same time.
        """
        waiting = self._waiting
        if waiting is None:
            raise RuntimeError("no cell is running; ask from a cell, not from a thread left behind")
        if len(requests) > REQUESTS:
            raise ValueError(
                f"this call carries {len(requests):,} prompts and at most {REQUESTS:,} fit;"
                " split them over several calls"
            )
        if len(requests[0][2] or "") > MODEL_CHARS:
            raise ValueError(f"`model` is the name of a model, at most {MODEL_CHARS} characters")
        self._check(sum(len(text) for request in requests for text in request if text))
        number = next(self._numbers)
        frame = pack(
            {"t": "call", "id": number, "kind": kind, "batched": batched, "requests": requests}
        )
        self._check(len(frame))
        under_way = list(waiting.values())
        size = len(frame) + REQUEST_CHARS * len(requests)
        total = sum(waiter.size for waiter in under_way) + size
        if len(under_way) >= CALLS_AT_A_TIME or total > MESSAGES_AT_A_TIME * self.message_bytes:
            raise ValueError(
                f"{len(under_way)} calls with {total:,} bytes are under way, which is all that may"
                " be at a time; use the batched form or fewer threads"
            )
        waiter = waiting[number] = Waiter(size)
        try:
            if self._waiting is waiting:
                self._channel.send_frame(frame)
                waiter.lock.acquire()
        finally:
            waiting.pop(number, None)
        if waiter.answer is None:
            raise SystemExit("the cell that asked is over")
        return [text if error is None else Failed(error) for text, error in waiter.answer]

    def _check(self, size: int) -> None:
        if size > self.message_bytes:
            raise ValueError(
                f"this call carries {size:,} bytes and at most {self.message_bytes:,} fit;"
                " slice the text into parts, or send fewer prompts at a time"
            )


def _named(function: Callable[..., Any], name: str, purpose: str) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = name
    function.__module__, function.__doc__ = "__main__", purpose
    return function


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "\n\n".join(_text(item) or "" for item in value)
    return str(value)


def _parts(named: dict[str, object]) -> tuple[list[object], list[object]]:
    """Prompts and texts by any name they have elsewhere, taken out of `named`."""
    prompts = [named.pop(name) for name in PROMPT_NAMES if name in named]
    texts = [named.pop(name) for name in TEXT_NAMES if name in named]
    return [each for each in prompts if each is not None], [
        each for each in texts if each is not None
    ]


def _refuse(name: str, named: dict[str, object]) -> None:
    """Leave out what only tunes a model, and say so; refuse what is left.

    Raises:
        TypeError: something else is left.
    """
    for known in [each for each in named if each in SAMPLING_NAMES]:
        del named[known]
        sys.stdout.write(f"[{name}: `{known}` was left out; it cannot be set here]\n")
    if named:
        unknown = next(iter(named))
        raise TypeError(f"{name} takes prompt, context and model, and no {unknown!r}")


def _request(prompt: object, context: object) -> list[str | None]:
    """A prompt, also as chat messages, a dict or a pair with its text, and its text."""
    if isinstance(prompt, dict):
        prompts, texts = _parts(dict(prompt))
        if prompts or texts:
            first, *more = [*prompts, *texts]
            return [str(first), _text([*more, *([] if context is None else [context])] or None)]
    if isinstance(prompt, list | tuple) and prompt:
        if all(isinstance(each, dict) and "content" in each for each in prompt):
            return [_text([each["content"] for each in prompt]), _text(context)]
        if len(prompt) == 2 and context is None and all(isinstance(each, str) for each in prompt):
            return [prompt[0], prompt[1]]
    return [str(prompt), _text(context)]


class Queries:
    """The four functions as the code sees them, and what they have in common."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        functions = (
            self._single("llm", "Ask a model once; `context` is text it should read."),
            self._single("rlm", "Ask a model that works on `context` in a REPL of its own."),
            self._batched("llm", "Ask for every prompt at the same time; answers in order."),
            self._batched("rlm", "As rlm_query, for every prompt at the same time."),
        )
        self.functions = {function.__name__: function for function in functions}

    def _single(self, kind: str, purpose: str) -> Callable[..., str]:
        name = f"{kind}_query"

        def query(
            prompt: object = None, context: object = None, model: str | None = None, **named: object
        ) -> str:
            prompts, texts = _parts({"prompt": prompt, "context": context} | named)
            _refuse(name, {k: v for k, v in named.items() if k not in PART_NAMES})
            return self._one(kind, [*prompts, *texts], model)

        return _named(query, name, purpose)

    def _batched(self, kind: str, purpose: str) -> Callable[..., list[Any]]:
        name = f"{kind}_query_batched"

        def query(
            prompts: Iterable[object] | None = None,
            context: object = None,
            model: str | None = None,
            **named: object,
        ) -> list[Any]:
            given, texts = _parts({"prompts": prompts, "context": context} | named)
            _refuse(name, {k: v for k, v in named.items() if k not in PART_NAMES})
            return self._many(kind, next(iter(given), None), next(iter(texts), None), model)

        return _named(query, name, purpose)

    def _one(self, kind: str, given: list[object], model: str | None) -> str:
        if not given:
            raise TypeError(f"{kind}_query needs a prompt")
        prompt, *texts = given
        if isinstance(prompt, list | tuple) and all(isinstance(each, str) for each in prompt):
            raise TypeError(f"{kind}_query takes one prompt; {kind}_query_batched takes a list")
        request = [*_request(prompt, texts or None), _text(model)]
        answer = self._calls.ask(kind, [request], batched=False)[0]
        if isinstance(answer, Failed):
            raise LLMError(answer.error)
        return str(answer)

    def _many(self, kind: str, given: object, context: object, model: str | None) -> list[Any]:
        if isinstance(given, str) and isinstance(context, list | tuple):
            given = [given] * len(context)
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"{kind}_query_batched takes a list of prompts; {kind}_query takes one")
        prompts = list(given)
        each = isinstance(context, list | tuple) and len(context) == len(prompts)
        parts = list(context) if each else [context] * len(prompts)  # type: ignore[call-overload]  # each
        requests = [
            [*_request(prompt, part), _text(model)]
            for prompt, part in zip(prompts, parts, strict=True)
        ]
        if not requests:
            return []
        answers = self._calls.ask(kind, requests, batched=True)
        failed = [answer.error for answer in answers if isinstance(answer, Failed)]
        if failed:
            sys.stdout.write(
                f"[{kind}_query_batched: {len(failed)} of {len(answers)} failed;"
                f" the first: {failed[0]}]\n"
            )
        return answers
