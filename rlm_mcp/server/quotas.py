"""What one user of a shared server may have: sessions, runs at work, loaded bytes, money a day."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import anyio

from rlm_mcp.errors import QuotaReached
from rlm_mcp.settings import GB, Settings
from rlm_mcp.types import Budget, ContextInfo
from rlm_mcp.words import count, size

Lock = anyio.Lock


@dataclass(slots=True)
class Quotas:
    """The limits, and a lock for each user and kind of thing: counting and taking are one step."""

    settings: Settings
    _locks: defaultdict[tuple[str, str], Lock] = field(default_factory=lambda: defaultdict(Lock))

    def taking(self, principal: str, kind: str) -> Lock:
        """Held while a user takes one more of a kind."""
        return self._locks[principal, kind]

    def check_sessions(self, held: int) -> None:
        """Refuse one more than a user may have.

        Raises:
            QuotaReached: `held` sessions are as many.
        """
        most = self.settings.user_sessions
        if held >= most:
            idle = f"{self.settings.session_ttl_s / 60:.0f} min"
            raise QuotaReached(
                f"You have {count(held, 'session')} open; a user may have {most}.",
                f"Go on in one of them: pass its `session`. One that is idle for {idle} ends.",
            )

    def check_runs(self, held: int) -> None:
        """Refuse one more than a user may have at work.

        Raises:
            QuotaReached: `held` runs are as many.
        """
        most = self.settings.user_runs
        if held >= most:
            raise QuotaReached(
                f"{count(held, 'run')} of yours still work; a user may have {most} at a time.",
                "Wait for one with get_answer, or stop one with cancel_query.",
            )

    def bytes_left(self, loaded: Collection[ContextInfo]) -> int:
        """What may still be loaded beside those contexts, where that is limited."""
        most = round((self.settings.user_load_gb or 0) * GB)
        return max(0, most - sum({info.id: info.bytes for info in loaded}.values()))

    def too_much(self, why: str, left: int) -> QuotaReached:
        """The error of who would load more than the `left` bytes, and `why` it is more."""
        most, idle = self.settings.user_load_gb, f"{self.settings.session_ttl_s / 60:.0f} min"
        return QuotaReached(
            f"{why} {size(left)} are left of the {most:g} GB that a user may have loaded in all"
            " open sessions.",
            f"Load less, or wait: a session that is idle for {idle} ends, and its texts count"
            " no more.",
        )

    def capped(self, budget: Budget, spent: float | None) -> Budget:
        """The budget with no more cost than is left of the day's, of which `spent` is gone.

        Raises:
            QuotaReached: nothing is left, or what was spent is not known.
        """
        most = self.settings.user_cost_per_day
        if most is None:
            return budget
        if spent is None:
            raise QuotaReached(
                f"A user may spend {most:g} a day, and what you spent today is not known: a model"
                " has no price.",
                "Ask who runs this server to set RLM_PRICE_IN and RLM_PRICE_OUT.",
            )
        if spent >= most:
            raise QuotaReached(
                f"You spent {spent:.4g} today; a user may spend {most:g} a day.",
                "Go on after midnight UTC, or ask who runs this server for more.",
            )
        left = most - spent
        return replace(budget, cost=left if budget.cost is None else min(budget.cost, left))
