"""The ledger: what a run may still spend and what it has spent, shared by everything below it."""

from dataclasses import dataclass, field

import anyio

from rlm_mcp.events import CallRole
from rlm_mcp.types import Budget, StoppedBy, Usage


@dataclass(slots=True)
class Ledger:
    """Admits calls and adds up their usage. Root and sub are kept apart.

    A call is counted when it is admitted, so that calls in parallel cannot overspend `calls`.
    Tokens and cost are known only afterwards: the call that crosses such a limit is the last.
    """

    budget: Budget
    root: Usage = field(default_factory=Usage)
    sub: Usage = field(default_factory=Usage)
    admitted: int = 0
    began: float = field(default_factory=anyio.current_time)

    def start(self) -> None:
        """Begin to count seconds anew: the time before was spent waiting for a turn."""
        self.began = anyio.current_time()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return anyio.current_time() - self.began

    @property
    def spent(self) -> Usage:
        """Root and sub together."""
        return self.root + self.sub

    def exhausted(self) -> StoppedBy | None:
        """The first limit that is reached, None while there is room for a call."""
        budget, spent = self.budget, self.spent
        if budget.seconds is not None and self.seconds >= budget.seconds:
            return "time"
        if budget.calls is not None and self.admitted >= budget.calls:
            return "calls"
        if budget.tokens is not None and spent.tokens >= budget.tokens:
            return "tokens"
        if budget.cost is not None and spent.cost is not None and spent.cost >= budget.cost:
            return "cost"
        return None

    def admit(self) -> StoppedBy | None:
        """Count one more call, or say which limit forbids it."""
        refused = self.exhausted()
        if refused is None:
            self.admitted += 1
        return refused

    def settle(self, role: CallRole, usage: Usage) -> None:
        """Add what an admitted call used."""
        if role == "root":
            self.root += usage
        else:
            self.sub += usage

    def left(self) -> str:
        """What remains, in words for the model: only the limits that are set."""
        budget, parts = self.budget, []
        if budget.calls is not None:
            parts.append(f"{max(0, budget.calls - self.admitted)} model calls")
        if budget.tokens is not None:
            parts.append(f"{max(0, budget.tokens - self.spent.tokens):,} tokens")
        if budget.cost is not None and self.spent.cost is not None:
            parts.append(f"{max(0.0, budget.cost - self.spent.cost):.2f} of cost")
        if budget.seconds is not None:
            parts.append(f"{max(0.0, budget.seconds - self.seconds):.0f} s")
        return ", ".join(parts)
