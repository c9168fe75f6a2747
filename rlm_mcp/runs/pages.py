"""A run's trace for reading, in pages of a size that hosts pass on whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TypeVar

from rlm_mcp.errors import ArgumentInvalid
from rlm_mcp.runs.journal import RunRow
from rlm_mcp.types import Detail
from rlm_mcp.words import count, paged, pieces, weight

T = TypeVar("T")

# Of its JSON: Codex cuts the middle out of a result of more than 12,000 bytes, structure and all.
PAGE_BYTES = 10_000
STEP_BYTES = 80  # what a step takes beside its text


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `node` is "" for the run itself, "1" for its first nested run.

    `cut`: its text is head and tail of a longer one.
    """

    seq: int
    at: str
    node: str
    turn: int
    kind: str
    text: str
    cut: bool = False

    @property
    def weight(self) -> int:
        """About the bytes that it takes on a page."""
        return weight(self.text) + weight(self.node) + STEP_BYTES


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


def pages_of(steps: Sequence[Step]) -> list[list[Step]]:
    """All of them in pages, at least one; a step that is longer than a page goes on on the next."""
    parts = (part for step in steps for part in _parts(step))
    return paged(parts, PAGE_BYTES, attrgetter("weight"))


def page_of(
    pages: Sequence[list[T]], page: int, what: str, detail: Detail
) -> tuple[list[T], int | None]:
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


def _parts(step: Step) -> list[Step]:
    texts = pieces(step.text, PAGE_BYTES - STEP_BYTES - weight(step.node))
    return [replace(step, text=text) for text in texts] if len(texts) > 1 else [step]
