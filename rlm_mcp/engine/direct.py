"""The short way: all of a short text in one prompt, without a REPL."""

from collections.abc import Callable
from dataclasses import dataclass

import anyio.to_thread

from rlm_mcp.engine import prompts
from rlm_mcp.engine.acceptance import Acceptance
from rlm_mcp.engine.dialogue import Dialogue, Requests, reply_room
from rlm_mcp.engine.history import History
from rlm_mcp.engine.ports import Ports, Question
from rlm_mcp.engine.replies import parse, strip_thinking
from rlm_mcp.errors import PromptTooLong
from rlm_mcp.events import TurnStarted
from rlm_mcp.types import Completion

MOST_ASKED = 2


@dataclass(slots=True)
class Direct:
    """Asks the root model about all of the text at once. `turn` counts how often."""

    question: Question
    ports: Ports
    acceptance: Acceptance
    note: Callable[[str], None]
    requests: Requests
    turn: int = 0

    async def answer(self) -> str | None:
        """The answer; None if this way gives none: the text does not fit, or it asks for more.

        Raises:
            EndpointError: the model failed.
        """
        dialogue = await self._dialogue()
        while self.turn < MOST_ASKED:
            self.turn += 1
            self.ports.calls.sink.emit(TurnStarted(self.question.node, self.turn))
            try:
                completion = await dialogue.ask(self.turn)
            except PromptTooLong:
                return None
            if completion is None or dialogue.was_cut:
                return None
            text = _words(completion)
            if text is None:
                return None
            answer = await self.acceptance.take(text, may_object=self.turn < MOST_ASKED)
            if answer is not None:
                return answer
            dialogue.history.add_reply(text)
            dialogue.history.add_report(self.acceptance.objection or "")
        return None

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
        parts = []
        for info in self.question.contexts:
            catalogue = self.ports.store.catalogue(info.id)
            for document in catalogue.documents:
                text = catalogue.read(document.start, document.start + document.chars)
                parts.append(prompts.numbered(document.path, text))
        return "\n\n".join(parts)


def _words(completion: Completion) -> str | None:
    """The answer in a reply; None if there is none in it, or not all of it."""
    reply = parse(strip_thinking(completion.text))
    if completion.finish_reason == "length":
        return None
    if reply.final is not None:
        return reply.final.argument
    return None if reply.code and not reply.prose else strip_thinking(completion.text) or None
