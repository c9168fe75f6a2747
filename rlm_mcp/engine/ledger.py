"""The ledger: what a run may still spend and what it has spent, shared by everything below it."""

from collections import defaultdict
from dataclasses import dataclass, field

import anyio

from rlm_mcp.events import CallEnded, CallRole
from rlm_mcp.types import Budget, StoppedBy, Usage

NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that may be made: by which node, in which role, with what set aside for it."""

    node: str
    role: CallRole
    aside: Usage = NOTHING


@dataclass(slots=True)
class Ledger:
    """Admits calls and adds up their usage, by node and apart for root and sub.

    An admitted call counts at once. The most it can use is set aside until it is settled, and what
    does not fit beside the calls in flight waits for one of them to end. A call alone may always be
    made while something is left: so `tokens` and `cost` are overspent by one call at most, however
    many are asked in parallel. The last of `calls` is kept for the top node's root model: it turns
    what was found into an answer.

    `seconds_before` are those of the process that had the run before. `unpriced` names models whose
    calls have no known cost: a cost limit cannot count those.
    """

    budget: Budget
    spent: Usage = field(default_factory=Usage)
    admitted: int = 0
    seconds_before: float = 0.0
    unpriced: set[str] = field(default_factory=set)
    _by_place: dict[tuple[str, CallRole], Usage] = field(default_factory=lambda: defaultdict(Usage))
    _in_flight: int = 0
    _aside_tokens: int = 0
    _aside_cost: float = 0.0
    _known_cost: float = 0.0
    _began: float = field(default_factory=anyio.current_time)
    _turn: anyio.Lock = field(default_factory=anyio.Lock)
    _settled: anyio.Event = field(default_factory=anyio.Event)

    def start(self) -> None:
        """Begin to count seconds anew: the time before was spent waiting for a turn."""
        self._began = anyio.current_time() - self.seconds_before

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return anyio.current_time() - self._began

    def used_by(self, node: str, role: CallRole) -> Usage:
        """What a node and those nested in it used in one role."""
        below = f"{node}." if node else ""
        return sum(
            (
                usage
                for (place, its_role), usage in self._by_place.items()
                if its_role == role and (place == node or place.startswith(below))
            ),
            Usage(),
        )

    @property
    def limits_use(self) -> bool:
        """Whether it matters how much a call may use."""
        return self.budget.tokens is not None or self.budget.cost is not None

    def calls_left(self) -> int | None:
        """How many calls may still be made, None if there is no limit."""
        return None if self.budget.calls is None else self.budget.calls - self.admitted

    def exhausted(self, *, top_root: bool) -> StoppedBy | None:
        """The first limit that forbids a call; `top_root` says that it would be the last one's."""
        budget, left = self.budget, self.calls_left()
        if budget.seconds is not None and self.seconds >= budget.seconds:
            return "time"
        if left is not None and left <= (0 if top_root else 1):
            return "calls"
        if budget.tokens is not None and self.spent.tokens >= budget.tokens:
            return "tokens"
        if budget.cost is not None and self._known_cost >= budget.cost:
            return "cost"
        return None

    async def admit(
        self, node: str, role: CallRole, most: Usage = NOTHING
    ) -> Admission | StoppedBy:
        """Count one more call once it fits, or say which limit forbids it.

        `most` is what it may use; a `cost` of None is not known, and not set aside. Who waits is
        served in turn: a large call does not wait for ever behind small ones.
        """
        top_root = role == "root" and not node
        if self.limits_use and (self._turn.locked() or not self._fits(most)):
            async with self._turn:
                while not self._fits(most) and self.exhausted(top_root=top_root) is None:
                    self._settled = anyio.Event()
                    await self._settled.wait()
        refused = self.exhausted(top_root=top_root)
        if refused is not None:
            return refused
        self.admitted += 1
        self._in_flight += 1
        self._aside_tokens += most.tokens
        self._aside_cost += most.cost or 0.0
        return Admission(node, role, most)

    def _fits(self, most: Usage) -> bool:
        budget = self.budget
        if not self._in_flight:
            return True
        tokens = self.spent.tokens + self._aside_tokens + most.tokens
        cost = self._known_cost + self._aside_cost + (most.cost or 0.0)
        return (budget.tokens is None or tokens <= budget.tokens) and (
            budget.cost is None or cost <= budget.cost
        )

    def restore(self, call: CallEnded) -> None:
        """Count a call that was made before this process took the run over."""
        self.admitted += 1
        self._add(call.node, call.role, call.model, call.usage or Usage(calls=1))

    def settle(self, admission: Admission, model: str, usage: Usage) -> None:
        """Add what an admitted call used; what was set aside for it is free."""
        self._in_flight -= 1
        self._aside_tokens -= admission.aside.tokens
        self._aside_cost -= admission.aside.cost or 0.0
        self._add(admission.node, admission.role, model, usage)
        self._settled.set()

    def _add(self, node: str, role: CallRole, model: str, usage: Usage) -> None:
        self.spent += usage
        self._by_place[node, role] += usage
        if usage.cost is None:
            self.unpriced.add(model)
        else:
            self._known_cost += usage.cost

    def left(self) -> str:
        """What remains, in words for the model: only the limits that are set."""
        budget, parts = self.budget, []
        if budget.calls is not None:
            parts.append(f"{max(0, budget.calls - self.admitted)} model calls")
        if budget.tokens is not None:
            parts.append(f"{max(0, budget.tokens - self.spent.tokens):,} tokens")
        if budget.cost is not None:
            parts.append(f"{max(0.0, budget.cost - self._known_cost):.2f} of cost")
        if budget.seconds is not None:
            parts.append(f"{max(0.0, budget.seconds - self.seconds):.0f} s")
        return ", ".join(parts)
