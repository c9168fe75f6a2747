"""The conversation with the root model of one node: ask, and make room where it is too tight."""

from collections.abc import Callable
from dataclasses import dataclass

from rlm_mcp.engine.calls import Calls, CallSite
from rlm_mcp.engine.history import History
from rlm_mcp.engine.ledger import Admission
from rlm_mcp.engine.truncation import tokens_lost, words_on
from rlm_mcp.errors import PromptTooLong, ReplyEmpty
from rlm_mcp.protocols import Model
from rlm_mcp.types import Completion

LONGER = 4


@dataclass(slots=True)
class Dialogue:
    """Asks `model` with the history as it stands. `note` says what had to be given up for that.

    `reply_tokens` is the longest reply asked for; it grows once if a reply needed more.
    """

    node: str
    model: Model
    calls: Calls
    history: History
    reply_tokens: int
    note: Callable[[str], None]
    _asked: int = 0
    _has_grown: bool = False
    _was_cut: bool = False

    async def ask(self, turn: int) -> Completion | None:
        """The next reply; None if the ledger admits no call.

        Raises:
            EndpointError: the model failed, also with less history or more room.
        """
        while True:
            messages = self.history.messages
            chars = sum(len(message.content) for message in messages)
            admission = self.calls.ledger.admit(self.node, "root", chars)
            if not isinstance(admission, Admission):
                return None
            self._asked += 1
            call = f"{self.node}.r{self._asked}" if self.node else f"r{self._asked}"
            site = CallSite(call, turn, admission)
            try:
                completion = await self.calls.ask(self.model, messages, site, self.reply_tokens)
            except PromptTooLong:
                if not self.history.fold():
                    raise
                self.note("The history outgrew the model's window; old outputs were folded.")
            except ReplyEmpty:
                if not self._grow():
                    raise
            else:
                if (lost := tokens_lost(messages, completion)) is not None and self._fold(*lost):
                    continue
                if completion.finish_reason != "length" or not self._grow():
                    return completion

    def _fold(self, sent: int, counted: int) -> bool:
        """Make room after the server cut the prompt without a word; False if none is left."""
        if not self._was_cut:
            self._was_cut = True
            self.note(words_on(self.model.name, sent, counted))
        return self.history.fold()

    def _grow(self) -> bool:
        """Allow longer replies from now on; False if that was done before."""
        if self._has_grown:
            return False
        self._has_grown = True
        self.reply_tokens *= LONGER
        return True
