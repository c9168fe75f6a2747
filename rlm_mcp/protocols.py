"""The seams: a model, a REPL back end, a sink for events."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from rlm_mcp.events import Event
from rlm_mcp.types import (
    Batch,
    Cell,
    Completion,
    Cursor,
    Message,
    ReplSpec,
    ReplState,
    Reply,
    Retry,
)


class Model(Protocol):
    """One model at one endpoint, behind that endpoint's limiter. Safe for concurrent use."""

    @property
    def name(self) -> str:
        """The model's name as the endpoint knows it."""
        ...

    @property
    def window_tokens(self) -> int | None:
        """Tokens of prompt and reply together, None if the endpoint does not tell."""
        ...

    @property
    def slots(self) -> int:
        """How many requests the endpoint is given at a time."""
        ...

    def learn_window(self, tokens: int) -> None:
        """Take it that no prompt may be longer than that: the server was seen to cut one there."""
        ...

    async def complete(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_retry: Callable[[Retry], None] | None = None,
    ) -> Completion:
        """Ask once, retrying what may pass.

        Raises:
            EndpointError: the request failed for good; its leaf says how.
        """
        ...


@runtime_checkable
class SharedModel(Protocol):
    """A `Model` whose endpoint many runs ask. One of a caller's own need not be one."""

    def for_run(self, session: str, run: str) -> Model:
        """The same model, whose calls take turns with those of other sessions and runs."""
        ...


@runtime_checkable
class PricedModel(Protocol):
    """A `Model` that tells beforehand what a call may cost. One of a caller's own need not be one.

    Only then does a limit of `cost` hold for calls in parallel; else it counts those that ended.
    """

    def cost_of(self, input_tokens: int, output_tokens: int) -> float | None:
        """The cost of one call of so many tokens, none of them cached; None if it has no price."""
        ...


class ReplBackend(Protocol):
    """Where REPLs live. The engine reaches one only through these five verbs.

    Every verb may be repeated: `open` by handle, `submit` by cell id, a reply by call id. An epoch
    older than the newest `open` of that handle is refused with StaleEpoch, but for `close`.
    """

    async def open(self, spec: ReplSpec) -> ReplState:
        """Start the REPL of `spec.handle`, or give the one that runs these contexts.

        Raises:
            SandboxUnavailable: the box cannot enforce what it promises.
            ReplUnavailable: no guest could be started.
        """
        ...

    async def submit(self, handle: str, epoch: int, cell: Cell) -> Cursor:
        """Start a cell; a cell id that was submitted before is not run again."""
        ...

    async def pump(
        self,
        handle: str,
        cell_id: str,
        cursor: Cursor,
        replies: Sequence[Reply] = (),
        wait_s: float = 0.0,
    ) -> Batch:
        """Deliver replies, then give the events behind `cursor`, waiting for one up to `wait_s`."""
        ...

    async def interrupt(self, handle: str, epoch: int, cell_id: str) -> None:
        """Stop the cell; its `CellDone` follows. Nothing happens if it has ended."""
        ...

    async def close(self, handle: str) -> None:
        """End the REPL and its process, whichever epoch owns it. Nothing happens if it is gone."""
        ...


class Sink(Protocol):
    """Where events go. Saying what happened never waits and cannot be cancelled."""

    def emit(self, event: Event) -> None:
        """Take one event. A sink that lost one raises that at the next."""
        ...
