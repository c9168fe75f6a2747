"""Items through the real engine: a scripted root and leaf that know the gold, or models asked."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from rlm_mcp.errors import RlmError
from rlm_mcp.evals.items import Item
from rlm_mcp.library import AsyncRLM
from rlm_mcp.llm.scripted import ScriptedModel
from rlm_mcp.settings import Settings
from rlm_mcp.types import Answer, Message

FORCED: dict[str, Any] = {"roots": "*", "strategy": "rlm"}
"""Settings of every evaluation, whatever the user's say: it is the loop that is measured."""
SCRIPTED: dict[str, object] = {"max_calls": 1_000_000}
"""Settings for scripted models: a long text takes more calls than a run usually may make."""
SLOTS = 8


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item.

    Scores are 0 to 1. `ceiling` is that of perfect work on what the leaf says, None where the leaf
    is not ours; `lenient` the milder official score, None where there is one score. `answer` is
    None if the run failed; `error` then says why, or why the answer could not be scored. `models`
    are the names of those asked.
    """

    item: Item
    answer: Answer | None
    score: float
    ceiling: float | None
    lenient: float | None
    seconds: float
    models: tuple[str, ...] = ()
    error: str | None = None


@dataclass(slots=True)
class Script:
    """The two models of a run without any: they play the program and the leaf of `item`."""

    accuracy: float
    item: Item | None = None

    def root(self, _: Sequence[Message]) -> str:
        """The program, as a reply."""
        assert self.item is not None
        return f"```repl\n{self.item.program}\n```"

    def leaf(self, messages: Sequence[Message]) -> str:
        """What the leaf says to a sub-call."""
        assert self.item is not None
        assert self.item.leaf is not None, f"{self.item.id} has no leaf, yet its program asks"
        return self.item.leaf(messages[-1].content, self.accuracy)


async def run(
    items: Iterable[Item],
    settings: Settings,
    *,
    accuracy: float | None,
    told: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """The results of the items, one after the other, each in a session of its own.

    With an `accuracy` (0 to 1) the items' programs play the root model and their leaves, of that
    accuracy, the sub-model. Without one the models of the settings are asked. `told` hears of
    every result at once.

    Raises:
        RlmError: the first run failed; so would all.
    """
    results: list[Result] = []
    script = None if accuracy is None else Script(accuracy)
    async with _rlm(settings, script) as rlm:
        for item in items:
            if script is not None:
                script.item = item
            results.append(await _result(rlm, item, accuracy, is_first=not results))
            told(results[-1])
            await rlm.reset()
    return results


def _rlm(settings: Settings, script: Script | None) -> AsyncRLM:
    own = settings.model_dump(exclude_unset=True) | FORCED
    own |= {} if script is None else SCRIPTED
    forced = Settings.load({}, **own)
    if script is None:
        return AsyncRLM(max_iterations=forced.max_turns, settings=forced)
    root = ScriptedModel(script.root, name="scripted-root")
    leaf = ScriptedModel(script.leaf, name="scripted-leaf", slots=SLOTS)
    return AsyncRLM(root, leaf, forced.max_turns, settings=forced)


async def _result(rlm: AsyncRLM, item: Item, accuracy: float | None, *, is_first: bool) -> Result:
    context = item.context if isinstance(item.context, str) else dict(item.context)
    ceiling = None if accuracy is None else item.ceiling(accuracy)
    began = anyio.current_time()
    try:
        answer = await rlm.answer(context, query=item.question)
    except RlmError as error:
        if is_first:
            raise
        lenient = None if item.lenient is None else 0.0
        seconds = anyio.current_time() - began
        words = f"{error.message} {error.hint}"
        return Result(item, None, 0.0, ceiling, lenient, seconds, error=words)
    seconds = anyio.current_time() - began
    score, lenient, why = _scores(item, answer.text)
    models = tuple(sorted((await rlm.cost_summary()).by_model))
    return Result(item, answer, score, ceiling, lenient, seconds, models, why)


def _scores(item: Item, text: str) -> tuple[float, float | None, str | None]:
    """The score, the lenient one, and what an answer did to the scorer that it does not expect."""
    try:
        lenient = None if item.lenient is None else item.lenient(text)
        return item.score(text), lenient, None
    except Exception as error:  # noqa: BLE001 - one strange answer must not cost all others
        words = f"The answer could not be scored: {type(error).__name__}: {error}"
        return 0.0, None if item.lenient is None else 0.0, words
