"""The short way: all of a short text in one prompt, without a REPL."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import anyio.to_thread

from rlm_mcp.engine import prompts
from rlm_mcp.engine.acceptance import Acceptance
from rlm_mcp.engine.dialogue import Dialogue, Requests, reply_room
from rlm_mcp.engine.drafts import Drafts, Strength
from rlm_mcp.engine.finish import is_answer
from rlm_mcp.engine.history import History
from rlm_mcp.engine.ports import Ports, Question
from rlm_mcp.engine.replies import parse, strip_thinking
from rlm_mcp.errors import EndpointError, PromptTooLong
from rlm_mcp.events import TurnStarted
from rlm_mcp.types import Completion

MOST_ASKED = 2
# Code that works with a REPL, and is no example within an answer.
_OF_REPL = re.compile(
    r"```repl\b|\b(?:context|grep|FINAL|FINAL_VAR|SHOW_VARS|[lr]lm_query(?:_batched)?)\b"
)


@dataclass(slots=True)
class Direct:
    """Asks the root model about all of the text at once. `turn` counts how often.

    `is_last` tells that no turn may follow; what is not taken is kept in `drafts`.
    """

    question: Question
    ports: Ports
    acceptance: Acceptance
    requests: Requests
    drafts: Drafts
    note: Callable[[str], None]
    is_last: Callable[[], bool]
    turn: int = 0

    async def answer(self) -> str | None:
        """The answer; None if this way gives none: the text does not fit, or it asks for more.

        Raises:
            EndpointError: the model failed before it had answered.
        """
        dialogue = await self._dialogue()
        while self.turn < MOST_ASKED:
            self.turn += 1
            self.ports.calls.sink.emit(TurnStarted(self.question.node, self.turn))
            try:
                text = await self._asked(dialogue)
            except EndpointError as error:
                if not self.drafts.text and not isinstance(error, PromptTooLong):
                    raise
                text = None
            if text is None:
                break
            may_object = self.turn < MOST_ASKED and not self.is_last()
            answer = await self.acceptance.take(text, may_object=may_object)
            if answer is not None:
                return answer
            self.drafts.offer(text, Strength.DRAFT)
            dialogue.history.add_reply(text)
            dialogue.history.add_report(self.acceptance.objection() or "")
            if self.is_last():
                break
        if self.question.shape is not None:  # what was not taken does not have it
            return None
        return self.drafts.text or None

    async def _asked(self, dialogue: Dialogue) -> str | None:
        """The words of the next reply, None if there are none that could be an answer."""
        completion = await dialogue.ask(self.turn)
        if completion is None or dialogue.was_cut:
            return None
        return _words(completion)

    async def _dialogue(self) -> Dialogue:
        question, ports = self.question, self.ports
        text = await anyio.to_thread.run_sync(self._text)
        return Dialogue(
            node=question.node,
            model=ports.root,
            calls=ports.calls,
            history=History(prompts.DIRECT, prompts.direct_task(text, question.asked)),
            reply_tokens=reply_room(ports.reply_tokens, ports.root.window_tokens),
            note=self.note,
            requests=self.requests,
        )

    def _text(self) -> str:
        """Every document under its path, its lines numbered."""
        catalogues = [self.ports.store.catalogue(info.id) for info in self.question.contexts]
        return "\n\n".join(
            prompts.numbered(document.path, catalogue.text(document))
            for catalogue in catalogues
            for document in catalogue.documents
        )


def _words(completion: Completion) -> str | None:
    """The answer in a reply; None if there is none in it, or not all of it."""
    text = strip_thinking(completion.text)
    reply = parse(text)
    wants_repl = bool(reply.code) and _OF_REPL.search(text) is not None
    if completion.finish_reason == "length" or reply.hollow is not None or wants_repl:
        return None
    said = text if reply.final is None else reply.final.argument
    return said if is_answer(said) else None
