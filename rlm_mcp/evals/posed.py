"""A question with its gold, before it is an item of a family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlm_mcp.evals.items import Item

ALONE = "Add nothing to it: no further places, no quotes."
"""Said behind every form, since the engine asks for places and quotes in an answer."""


@dataclass(frozen=True, slots=True)
class Posed:
    """A question over a text that it does not hold.

    `form` says how to answer; `program` is what finds the answer, with what it binds in `names`.
    `others` are wrong answers as plausible as the gold, for the form with letters.
    """

    kind: str
    question: str
    form: str
    gold: str
    score: Callable[[str], float]
    program: str
    names: Mapping[str, object]
    evidence: tuple[tuple[str, int, int], ...]
    others: tuple[str, ...] = ()

    def item(self, id: str, context: str | Mapping[str, str], about: str, program: str) -> Item:
        """The item it makes; `about` is said before the question."""
        return Item(
            id=id,
            kind=self.kind,
            context=context,
            question=f"{about} {self.question} {self.form} {ALONE}",
            gold=self.gold,
            score=self.score,
            program=program,
            evidence=self.evidence,
        )
