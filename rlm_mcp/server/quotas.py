"""What one user of a shared server may have: sessions, runs at work, loaded bytes, money a day."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

import anyio

from rlm_mcp.errors import QuotaReached
from rlm_mcp.settings import GB, Settings
from rlm_mcp.types import ContextInfo
from rlm_mcp.words import count, size

Lock = anyio.Lock


@dataclass(frozen=True, slots=True)
class Outlay:
    """What a run may cost in all, and what it has cost; None if there is no limit, or unknown."""

    most: float | None
    spent: float | None

    @property
    def left(self) -> float:
        """What it may still cost, as far as that is known."""
        return max(0.0, (self.most or 0.0) - (self.spent or 0.0))


@dataclass(slots=True)
class Quotas:
    """The limits, and a lock for each user and kind of thing: counting and taking are one step.

    `caps` are the costs that runs were started with: what a run at work may still spend is set
    aside for it. Its last call can go beyond that, as in any run.
    """

    settings: Settings
    caps: dict[str, float | None] = field(default_factory=dict)
    _locks: defaultdict[tuple[str, str], Lock] = field(default_factory=lambda: defaultdict(Lock))

    def taking(self, principal: str, kind: str) -> Lock:
        """Held while a user takes one more of a kind."""
        return self._locks[principal, kind]

    def keep_caps(self, working: Collection[str]) -> None:
        """Forget the caps of all runs but those at work."""
        self.caps = {run: most for run, most in self.caps.items() if run in working}

    def check_sessions(self, held: int) -> None:
        """Refuse one more than a user may have.

        Raises:
            QuotaReached: `held` sessions are as many.
        """
        most = self.settings.user_sessions
        if held >= most:
            raise QuotaReached(
                f"You have {count(held, 'session')} open; a user may have {most}.",
                f"Go on in one of them: pass its `session`. One idle for {self._idle} ends.",
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
        """What may still be loaded beside those contexts."""
        most = round(self.settings.user_load_gb * GB)
        return max(0, most - sum({info.id: info.bytes for info in loaded}.values()))

    def check_bytes(self, info: ContextInfo, beside: Collection[ContextInfo]) -> None:
        """Refuse a context that is too much beside the others; the same one counts once.

        Raises:
            QuotaReached: it is.
        """
        left = self.bytes_left([each for each in beside if each.id != info.id])
        if info.bytes > left:
            raise self.too_much(f"{info.name} has {size(info.bytes)}.", left)

    def too_much(self, why: str, left: int) -> QuotaReached:
        """The error of who would load more than the `left` bytes, and `why` it is more."""
        most = self.settings.user_load_gb
        return QuotaReached(
            f"{why} {size(left)} are left of the {most:g} GB that a user may have loaded in all"
            " open sessions.",
            f"Load less, or wait: a session that is idle for {self._idle} ends, and its texts"
            " count no more.",
        )

    def may_spend(
        self, asked: float | None, today: float | None, working: Collection[Outlay]
    ) -> float:
        """What one more run may cost: no more than is left of the day's money.

        Of that `today` is spent, and what the runs at work may still spend is set aside. A run that
        asks for no limit gets an equal share of the rest for each run that may still be started.

        Raises:
            QuotaReached: nothing is left, or what was spent is not known.
        """
        most = self.settings.user_cost_per_day or 0.0
        if today is None:
            raise QuotaReached(
                f"A user may spend {most:g} a day, and what you spent today is not known: a model"
                " has no price.",
                "Ask who runs this server to set RLM_PRICE_IN and RLM_PRICE_OUT.",
            )
        aside = sum(outlay.left for outlay in working)
        left = most - today - aside
        if left <= 0:
            runs = f", and {aside:.4g} is set aside for your runs at work" if aside else ""
            raise QuotaReached(
                f"You spent {today:.4g} today{runs}; a user may spend {most:g} a day.",
                "Wait for a run at work to end: what it does not spend is free again."
                if aside
                else "Go on after midnight UTC, or ask who runs this server for more.",
            )
        if asked is None:
            return left / max(1, self.settings.user_runs - len(working))
        return min(asked, left)

    @property
    def _idle(self) -> str:
        return f"{self.settings.session_ttl_s / 60:.0f} min"
