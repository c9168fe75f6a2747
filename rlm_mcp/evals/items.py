"""What an evaluation asks: one question over one text, with its gold and what scores an answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


class Leaf(Protocol):
    """A scripted sub-model that knows the gold of the pieces it is shown.

    `accuracy` is the chance that a piece is read right. What it gets wrong is fixed by a hash of
    the piece and of the seed it was made with, so that asking again gives the same answer.
    """

    def __call__(self, prompt: str, accuracy: float) -> str:
        """The reply to a prompt."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a family. `kind` is the task within it.

    `context` is a text, or documents by path. `score` gives 0 to 1 for an answer; `ceiling` the
    score of perfect work on what a leaf of an accuracy says. `program` is what a perfect root
    model would run; `leaf` answers its sub-calls, None if it makes none. `evidence` are the gold
    places as (path, first line, last line), where the family has them. `floor` is the score of
    the answer that takes no work, where one earns something; `lenient` the milder of two official
    scores.
    """

    id: str
    kind: str
    context: str | Mapping[str, str]
    question: str
    gold: str
    score: Callable[[str], float]
    program: str
    leaf: Leaf | None = None
    ceiling: Callable[[float], float] = lambda _: 1.0
    evidence: tuple[tuple[str, int, int], ...] = ()
    floor: float = 0.0
    lenient: Callable[[str], float] | None = None
