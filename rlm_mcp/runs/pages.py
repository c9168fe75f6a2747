"""A run's trace for reading, in pages of a size that hosts pass on whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.runs.journal import RunRow
from rlm_mcp.types import Detail
from rlm_mcp.words import count

# Codex cuts the middle out of results above 12,000 characters, structure and all.
PAGE_CHARS = 9_000
STEP_CHARS = 60


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `node` is "" for the run itself, "1" for its first nested run."""

    seq: int
    at: str
    node: str
    turn: int
    kind: str
    text: str

    @property
    def chars(self) -> int:
        """How long its text is."""
        return len(self.text)


class Sized(Protocol):
    """What has a length before it has a text."""

    @property
    def chars(self) -> int:
        """How long its text is."""
        ...


S = TypeVar("S", bound=Sized)


@dataclass(frozen=True, slots=True)
class Trace:
    """One page of a run, counted from 1. `following` is the page to ask for next, if there is one.

    Of events, `page` is the number of the first one on it and `pages` that of the run's last.
    """

    run: RunRow
    page: int
    pages: int
    steps: tuple[Step, ...]
    following: int | None = None

    def text(self) -> str:
        """The page as a person or a model reads it."""
        head = f"run {self.run.id} · {self.run.phase} · page {self.page} of {self.pages}"
        return "\n\n".join([head, *(_titled(step) for step in self.steps)])


def paged(steps: Sequence[S]) -> list[list[S]]:
    """At least one page, each of at most `PAGE_CHARS` characters or of a single step."""
    pages: list[list[S]] = [[]]
    room = PAGE_CHARS
    for step in steps:
        size = step.chars + STEP_CHARS
        if pages[-1] and size > room:
            pages.append([])
            room = PAGE_CHARS
        pages[-1].append(step)
        room -= size
    return pages


def page_of(
    pages: Sequence[list[S]], page: int, what: str, detail: Detail
) -> tuple[list[S], int | None]:
    """What is on a page of `what`, and the page after it.

    Raises:
        ArgumentInvalid: there is no such page.
    """
    if not 1 <= page <= len(pages):
        raise ArgumentInvalid(
            f"{what} has {count(len(pages), 'page')} at detail={detail!r};"
            f" there is no page {page}.",
            f"Ask for a page from 1 to {len(pages)}.",
        )
    return pages[page - 1], page + 1 if page < len(pages) else None


def _titled(step: Step) -> str:
    place = f"turn {step.turn}" if not step.node else f"nested {step.node}, turn {step.turn}"
    return f"[{place} · {step.kind}]\n{step.text}"
