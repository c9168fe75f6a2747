"""The root model's conversation: append-only, strictly alternating, ending with the user."""

from dataclasses import dataclass, field

from rlm_mcp.engine import prompts
from rlm_mcp.types import Message
from rlm_mcp.words import clip

FOLD_OVER_CHARS = 400
CLIPPED_CHARS = 1_500
KEPT_MESSAGES = 2


@dataclass(slots=True)
class History:
    """Grows at its end only, so that a server's prefix cache serves each turn; but for `fold`."""

    system: str
    task: str
    _turns: list[Message] = field(default_factory=list)
    _gone: list[str] = field(default_factory=list)

    @property
    def messages(self) -> tuple[Message, ...]:
        """What is sent: system, task, then reply and report by turns. The last is a user's."""
        task = f"{self.task}\n\n{prompts.summary(self._gone)}" if self._gone else self.task
        return (Message("system", self.system), Message("user", task), *self._turns)

    def add_reply(self, text: str) -> None:
        """The model's words, without its thinking."""
        self._turns.append(Message("assistant", text))

    def add_report(self, text: str) -> None:
        """What the model is told next; joined to the last message if that is a user's already."""
        if self._turns and self._turns[-1].role == "user":
            text = f"{self._turns.pop().content}\n\n{text}"
        if self._turns:
            self._turns.append(Message("user", text))
        else:
            self.task = f"{self.task}\n\n{text}"

    def fold(self) -> bool:
        """Make room; False if nothing is left to fold.

        All reports but two become one line each, then all but one, then all turns but the last
        become a line each of a summary, then the last report is cut. What code found is still in
        its variables.
        """
        reports = [i for i, message in enumerate(self._turns) if message.role == "user"]
        for kept in (2, 1):
            long = [i for i in reports[:-kept] if len(self._turns[i].content) > FOLD_OVER_CHARS]
            for index in long:
                self._turns[index] = Message(
                    "user", prompts.folded(len(self._turns[index].content))
                )
            if long:
                return True
        if len(self._turns) > KEPT_MESSAGES:
            self._summarise()
            return True
        if not reports or len(self._turns[reports[-1]].content) <= 2 * CLIPPED_CHARS:
            return False
        last = self._turns[reports[-1]].content
        self._turns[reports[-1]] = Message("user", clip(last, CLIPPED_CHARS))
        return True

    def _summarise(self) -> None:
        """Put the gist of every turn but the last in front of them."""
        old, self._turns = self._turns[:-KEPT_MESSAGES], self._turns[-KEPT_MESSAGES:]
        self._gone += [prompts.gist(each.content) for each in old if each.role == "assistant"]
