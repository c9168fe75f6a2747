"""What a policy is: a scripted root model with one bad habit, stubborn or ready to be taught."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rlm_mcp.evals.trials import Trial, total
from rlm_mcp.llm.quirks import Quirks
from rlm_mcp.llm.script import Said, Script
from rlm_mcp.types import Budget, Message

Mode = Literal["stubborn", "teachable"]
Expects = Literal["answer", "flagged", "never"]
Act = Callable[["Scene"], Said]
NO_CODE = r"no code block"
BUDGET = Budget(turns=10, calls=150, seconds=40.0, errors=5)


@dataclass(frozen=True, slots=True)
class Scene:
    """What a policy knows when it is asked. `turn` counts its replies, from 1."""

    trial: Trial
    turn: int
    messages: Sequence[Message]

    @property
    def said(self) -> str:
        """What it was told last."""
        return self.messages[-1].content

    @property
    def reports(self) -> list[str]:
        """What it was told after the task."""
        return [each.content for each in self.messages if each.role == "user"][1:]

    @property
    def shown(self) -> bool:
        """Whether a report showed the gold, or that the long answer is ready."""
        gold = self.trial.item.gold
        sign = gold if "\n" not in gold else f"{len(gold.splitlines())} parts"
        return any(re.search(rf"\b{sign}\b", each) is not None for each in self.reports)


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to misbehave, or a well-behaved one with `turns` as what it needs.

    `row` is its pathology in the list of 36 known ones; None for transport and the well-behaved.
    `lesson` is a regex for what a report must say so that the teachable one behaves from then on.
    `expects` "flagged": the stubborn one can by its nature never give the answer, and a run is good
    that says so by how it ended or in a note; "never": nor can the teachable one. `leaf` makes its
    sub-model. `quirks`: the models are asked over HTTP, at a server that has these. `window_tokens`
    is the window of the root model, and of all of a server.
    """

    name: str
    row: int | None
    act: Act
    lesson: str = NO_CODE
    expects: Expects = "answer"
    trial: Callable[[], Trial] = total
    turns: int = 2
    leaf: Callable[[Trial], Script] = field(default=lambda trial: trial.leaf)
    budget: Budget = BUDGET
    quirks: Quirks | None = None
    window_tokens: int | None = None


class Actor:
    """Plays a policy in one mode. `told` is whether its lesson was said to it.

    A run in which it was not goes the same way in either mode.
    """

    def __init__(self, policy: Policy, mode: Mode) -> None:
        self.told = False
        self._policy = policy
        self._trial = policy.trial()
        self._learns = mode == "teachable"
        self._lesson = re.compile(policy.lesson, re.IGNORECASE)
        self._turn = 0

    def __call__(self, messages: Sequence[Message]) -> Said:
        """The reply to these messages."""
        self._turn += 1
        scene = Scene(self._trial, self._turn, messages)
        self.told = self.told or (bool(scene.reports) and bool(self._lesson.search(scene.said)))
        return good(scene) if self._learns and self.told else self._policy.act(scene)


def fence(code: str, tag: str = "repl") -> str:
    """A fenced block."""
    return f"```{tag}\n{code}\n```"


def good(scene: Scene) -> str:
    """A well-behaved reply: first the work, then, once its output was seen, the answer."""
    return fence("FINAL(total)") if scene.shown else fence(scene.trial.work)


def speaks(wrap: Callable[[str], Said]) -> Act:
    """Does the right thing in a form of its own."""
    return lambda scene: wrap("FINAL(total)" if scene.shown else scene.trial.work)


def begins(first: Act) -> Act:
    """Begins badly and, once it has seen the gold, ends well."""
    return lambda scene: fence("FINAL(total)") if scene.shown else first(scene)


def ends(last: Act) -> Act:
    """Works well and, once it has seen the gold, ends badly."""
    return lambda scene: last(scene) if scene.shown else fence(scene.trial.work)


def ends_with(text: str) -> Act:
    """`ends` with one reply in which `GOLD` and `GUESS` stand for the trial's."""
    return ends(
        lambda scene: text.replace("GOLD", scene.trial.item.gold).replace(
            "GUESS", scene.trial.guess
        )
    )
