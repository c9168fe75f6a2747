"""How a run went about its question: the way it took, and what can be said of its care."""

from dataclasses import dataclass
from typing import Literal

Way = Literal["direct", "rlm"]
Strategy = Literal["auto", "direct", "rlm"]
Check = Literal["verified", "near", "unverified"]
Recount = Literal["reproduced", "differs"]


@dataclass(frozen=True, slots=True)
class Citation:
    """A place the answer names. `found` says that the document and those lines exist.

    `quote` is what the answer says stands there, its first 400 characters. `check` is how well it
    was found there: None of a place that exists and has no quote, `unverified` of one that does
    not exist. `start` and `end` are where the quote stands, and `claimed` the answer's lines where
    they are others; 0 to 0 are unknown ones. `reason` says in words what differs or is missing.
    """

    context: str
    path: str
    start: int
    end: int
    found: bool
    excerpt: str
    quote: str | None = None
    check: Check | None = None
    reason: str | None = None
    claimed: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Covered:
    """A text that sub-models were given piece by piece: how many pieces, of how many it has.

    `missing` are the first stretches no sub-model has answered for, as characters of `context`.
    """

    context: str
    name: str
    read: int
    pieces: int
    missing: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Conduct:
    """`way` is how the question was asked, `why` the reason in words.

    `prefix_reuse` is the share of each request to the root model that the next one began with, and
    a server's prefix cache can serve; None if there was one request. `recount` tells whether the
    program, run again from the start, gave the same figures; None if that could not be tried.
    """

    way: Way = "rlm"
    why: str = ""
    prefix_reuse: float | None = None
    coverage: tuple[Covered, ...] = ()
    recount: Recount | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question would be asked, and about what that takes, as (least, most).

    The least is what searching with code takes, the most what it takes if sub-models read all.
    """

    way: Way
    why: str
    calls: tuple[int, int]
    tokens: tuple[int, int]
