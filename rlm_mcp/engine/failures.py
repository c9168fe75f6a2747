"""Sub-calls that failed and were not made good: their text reached no model in any other call."""

from collections.abc import Iterable
from dataclasses import dataclass, field

PROBE_CHARS = 64
MOST_KEPT = 200
MOST_CHARS = 8_000_000
# So much of a failed text may be missing from those that took its place: the words around it.
MADE_GOOD = 0.7


@dataclass(slots=True)
class Failures:
    """Takes each call's failed and answered prompts. `count` is how many are not made good.

    Of too many, or too long ones, only the number is kept.
    """

    any: bool = False
    _kept: dict[str, int] = field(default_factory=dict)
    _chars: int = 0
    _uncounted: int = 0

    @property
    def count(self) -> int:
        """How many prompts have no answer, in whole or in parts."""
        return len(self._kept) + self._uncounted

    def add(self, failed: Iterable[str], answered: Iterable[str]) -> None:
        """Take the prompts of one call."""
        for text in failed:
            self._add(text)
        for text in answered if self._kept else ():
            self._make_good(text)

    def _add(self, text: str) -> None:
        self.any = True
        if text in self._kept:
            return
        if len(self._kept) >= MOST_KEPT or self._chars + len(text) > MOST_CHARS:
            self._uncounted += 1
            return
        self._kept[text] = 0
        self._chars += len(text)

    def _make_good(self, answered: str) -> None:
        """Count what an answered prompt has in common with failed ones."""
        probe = _middle(answered)
        for failed in list(self._kept):
            if _middle(failed) in answered:
                self._kept[failed] = len(failed)
            elif len(answered) > PROBE_CHARS and probe in failed:
                self._kept[failed] += len(answered)
            if self._kept[failed] >= MADE_GOOD * len(failed):
                del self._kept[failed]
                self._chars -= len(failed)


def _middle(text: str) -> str:
    start = max(0, (len(text) - PROBE_CHARS) // 2)
    return text[start : start + PROBE_CHARS]
