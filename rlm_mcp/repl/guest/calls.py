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
        def query(
            prompt: object = None,
            context: object = None,
            model: str | None = None,
            *,
            query: object = None,
            question: object = None,
            text: object = None,
        ) -> str:
            return self._one(kind, [prompt, query, question], [context, text], model)

        return _named(query, f"{kind}_query", purpose)

    def _batched(self, kind: str, purpose: str) -> Callable[..., list[Any]]:
        def query(
            prompts: Iterable[object] | None = None,
            context: object = None,
            model: str | None = None,
            *,
            queries: Iterable[object] | None = None,
            questions: Iterable[object] | None = None,
            items: Iterable[object] | None = None,
        ) -> list[Any]:
            return self._many(kind, [prompts, queries, questions, items], context, model)

        return _named(query, f"{kind}_query_batched", purpose)

    def _one(
        self, kind: str, prompts: list[object], contexts: list[object], model: str | None
    ) -> str:
        given = [value for value in (*prompts, *contexts) if value is not None]
        if not given:
            raise TypeError(f"{kind}_query needs a prompt")
        request = [str(given[0]), _text(given[1:] or None), _text(model)]
        answer = self._calls.ask(kind, [request], batched=False)[0]
        if isinstance(answer, Failed):
            raise LLMError(answer.error)
        return str(answer)

    def _many(
        self,
        kind: str,
        prompts: list[Iterable[object] | None],
        context: object,
        model: str | None,
    ) -> list[Any]:
        given = next((value for value in prompts if value is not None), None)
        if given is None or isinstance(given, str):
            raise TypeError(f"{kind}_query_batched takes a list of prompts; {kind}_query takes one")
        texts = [str(prompt) for prompt in given]
        each = isinstance(context, list | tuple) and len(context) == len(texts)
        parts = list(context) if each else [context] * len(texts)  # type: ignore[call-overload]  # each
        requests = [
            [text, _text(part), _text(model)] for text, part in zip(texts, parts, strict=True)
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
