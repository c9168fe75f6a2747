"""The best answer so far, kept for the moment a limit or a cancel ends the run."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from rlm_mcp.types import CellResult, Variable

ANSWER_WORDS = ("answer", "final", "result", "summary", "report", "findings")
# Begins the name of the cell that prints a variable as the best answer.
BEST = "best"
NOT_ANSWERS = {"function", "type", "module", "builtin_function_or_method", "generator"}


class Strength(IntEnum):
    """How much a text deserves to be the answer."""

    NOTHING = 0
    PROSE = 1
    REFUSED = 2
    DRAFT = 3
    FINAL = 4


@dataclass(slots=True)
class Drafts:
    """The strongest text offered; of equal ones the latest."""

    text: str = ""
    strength: Strength = Strength.NOTHING

    def offer(self, text: str, strength: Strength) -> None:
        """Keep `text` if nothing stronger is there."""
        if text.strip() and strength >= self.strength:
            self.text, self.strength = text.strip(), strength

    def from_cell(self, result: CellResult, *, final_holds: bool) -> None:
        """Keep what a cell gave: its final, or the content of an `answer` not yet ready."""
        if result.final is not None:
            self.offer(result.final.text, Strength.FINAL if final_holds else Strength.DRAFT)
        elif result.draft is not None:
            self.offer(result.draft, Strength.DRAFT)


def likely_answer(variables: Iterable[Variable]) -> str | None:
    """The variable whose name says most clearly that it holds an answer, None if none does.

    The caller leaves out what the run found there when it began: that answered another question.
    """
    fitting = [v for v in variables if v.size != 0 and v.type not in NOT_ANSWERS]
    for word in ANSWER_WORDS:
        for variable in fitting:
            if word in variable.name.lower().split("_"):
                return variable.name
    return None
