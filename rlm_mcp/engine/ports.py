"""What a node of a run is handed, what it is asked, and how it ends."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio

from rlm_mcp.contexts.store import ContextStore
from rlm_mcp.engine import prompts
from rlm_mcp.engine.calls import Calls
from rlm_mcp.engine.route import Route
from rlm_mcp.engine.shape import Shape
from rlm_mcp.protocols import Model, ReplBackend
from rlm_mcp.types import ContextInfo, ReplLimits, StoppedBy, SubReply, SubRequest

NESTED_AT_ONCE = 4


def _few_at_a_time() -> defaultdict[int, anyio.CapacityLimiter]:
    return defaultdict(lambda: anyio.CapacityLimiter(NESTED_AT_ONCE))


@dataclass(frozen=True, slots=True)
class Ports:
    """What every node of a run is handed. `nesting` bounds the nested runs of each depth."""

    root: Model
    sub: Model
    calls: Calls
    backend: ReplBackend
    store: ContextStore
    limits: ReplLimits
    reply_tokens: int
    nesting: defaultdict[int, anyio.CapacityLimiter] = field(default_factory=_few_at_a_time)


@dataclass(frozen=True, slots=True)
class Question:
    """What one node is asked, of which contexts, in which REPL. The top node's `node` is "".

    The answer must fit the `shape`, if there is one; `route` is the way to it.
    """

    run_id: str
    node: str
    depth: int
    query: str
    contexts: tuple[ContextInfo, ...]
    session: str
    handle: str
    epoch: int
    shape: Shape | None = None
    route: Route = field(default_factory=Route)

    @property
    def asked(self) -> str:
        """The question as the model reads it: with the shape of its answer."""
        if self.shape is None:
            return self.query
        return f"{self.query}\n\n{prompts.shaped(self.shape.text)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a node ended."""

    text: str
    stopped_by: StoppedBy


Nest = Callable[[Question, Ports, SubRequest], Awaitable[SubReply]]
