"""The conversation with the root model of one node: ask, and make room where it is too tight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlm_mcp.contexts.haystack import same_start
from rlm_mcp.engine.calls import Calls, CallSite, call_key
from rlm_mcp.engine.history import History
from rlm_mcp.engine.ledger import Admission
from rlm_mcp.engine.replies import strip_thinking
from rlm_mcp.engine.truncation import tokens_lost, words_on
from rlm_mcp.errors import PromptTooLong, ReplyEmpty
from rlm_mcp.protocols import Model
from rlm_mcp.types import Completion, Message

LONGER = 4
# Of the window: what a reply may take at most, and what a history that outgrew it is folded to.
REPLY_SHARE = 4
FOLDED_SHARE = 0.6
# Until the endpoint has counted a prompt.
TOKENS_PER_CHAR = 0.4


def reply_room(reply_tokens: int, window_tokens: int | None) -> int:
    """The longest reply to ask for, in tokens: a quarter of the window at most."""
    return (
        reply_tokens if window_tokens is None else min(reply_tokens, window_tokens // REPLY_SHARE)
    )


@dataclass(slots=True)
class Requests:
    """Of one node to its root model: their number, and the characters each next one began with."""

    count: int = 0
    kept: int = 0
    sent: int = 0
    _before: tuple[Message, ...] = ()

    def add(self, messages: tuple[Message, ...]) -> None:
        """Take one request that was answered."""
        if self._before:
            self.kept += _shared_chars(self._before, messages)
            self.sent += _chars(self._before)
        self._before = messages

    @property
    def reuse(self) -> float | None:
        """Between 0 and 1; None for a single request."""
        return self.kept / self.sent if self.sent else None


@dataclass(slots=True)
class Dialogue:
    """Asks `model` with the history as it stands. `note` says what had to be given up for that.

    `reply_tokens` is the longest reply asked for; it grows once if a reply needed more. `was_cut`:
    the server has cut a prompt without a word.
    """

    node: str
    model: Model
    calls: Calls
    history: History
    reply_tokens: int
    note: Callable[[str], None]
    requests: Requests
    _has_grown: bool = False
    was_cut: bool = False
    _is_folded: bool = False
    _tokens_per_char: float | None = None

    async def ask(self, turn: int) -> Completion | None:
        """The next reply; None if the ledger admits no call.

        Raises:
            EndpointError: the model failed, also with less history or more room.
        """
        may_resample = True
        self._make_room()
        while True:
            messages = self.history.messages
            try:
                completion = await self._complete(messages, turn)
            except PromptTooLong:
                if not self._fold():
                    raise
                continue
            except ReplyEmpty:
                if not self._grow():
                    raise
                continue
            if completion is None:
                return None
            self.requests.add(messages)
            lost = tokens_lost(messages, completion, self._tokens_per_char)
            if lost is not None and self._fold_cut(*lost):
                continue
            if lost is None:
                self._measure(messages, completion)
            if completion.finish_reason == "length" and self._grow():
                continue
            if strip_thinking(completion.text) or not may_resample:
                return completion
            may_resample = False

    async def _complete(self, messages: Sequence[Message], turn: int) -> Completion | None:
        """The reply to one request, that of before in a resumed run; None if none may be made."""
        call = ".".join(filter(None, (self.node, f"r{self.requests.count + 1}")))
        known = self.calls.past.root(call, call_key(self.model, messages))
        if known is None:
            admission = await self.calls.admit(
                self.node, "root", self.model, messages, self.reply_tokens
            )
            if not isinstance(admission, Admission):
                return None
            self.requests.count += 1
            site = CallSite(call, turn, admission)
            return await self.calls.ask(self.model, messages, site, self.reply_tokens)
        self.requests.count += 1
        return known

    def _make_room(self) -> None:
        """Fold well before the window is full, and enough at once that it is seldom."""
        window = self.model.window_tokens
        if window is None:
            return
        room = (window - self.reply_tokens) / (self._tokens_per_char or TOKENS_PER_CHAR)
        if _chars(self.history.messages) <= room:
            return
        while _chars(self.history.messages) > FOLDED_SHARE * room and self._fold():
            pass

    def _fold(self) -> bool:
        """Make the history shorter; False if it cannot be."""
        if not self.history.fold():
            return False
        if not self._is_folded:
            self._is_folded = True
            self.note("The history outgrew the model's window; old outputs were folded.")
        return True

    def _fold_cut(self, sent: int, counted: int) -> bool:
        """Make room after the server cut the prompt without a word; False if none is left."""
        if not self.was_cut:
            self.was_cut = True
            self.note(words_on(self.model.name, sent, counted))
        if self._tokens_per_char is not None:  # by the server's own count, and not a guess of ours
            self.model.learn_window(counted)
        return self.history.fold()

    def _measure(self, messages: Sequence[Message], completion: Completion) -> None:
        """Learn from the endpoint's own count how long a token is here."""
        usage, chars = completion.usage, _chars(messages)
        if usage.input_tokens and not usage.estimated_calls and chars:
            self._tokens_per_char = usage.input_tokens / max(1, usage.calls) / chars

    def _grow(self) -> bool:
        """Allow longer replies from now on; False if that was done before."""
        if self._has_grown:
            return False
        self._has_grown = True
        longer, window = self.reply_tokens * LONGER, self.model.window_tokens
        self.reply_tokens = longer if window is None else min(longer, window // 2)
        return True


def _chars(messages: Sequence[Message]) -> int:
    return sum(len(message.content) for message in messages)


def _shared_chars(before: Sequence[Message], after: Sequence[Message]) -> int:
    """How many characters two requests have in common from their beginning on."""
    shared = 0
    for old, new in zip(before, after, strict=False):
        if old == new:
            shared += len(old.content)
            continue
        if old.role == new.role:
            shared += same_start(old.content, new.content)
        break
    return shared
