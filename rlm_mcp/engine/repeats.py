"""Notices code that was run before and did the same again."""

from dataclasses import dataclass, field

from rlm_mcp.types import CellResult


@dataclass(slots=True)
class Repeats:
    """What each piece of code showed when it was last run, and in which turn."""

    _shown: dict[str, tuple[str, int]] = field(default_factory=dict)

    def turn_of(self, code: str, result: CellResult, turn: int) -> int | None:
        """The earlier turn in which this code gave just this; None if it gives it first now."""
        key, shown = code.strip(), f"{result.status}\n{result.output}\n{result.error}"
        before, first = self._shown.get(key, (None, turn))
        if before == shown and first < turn:
            return first
        self._shown[key] = shown, turn
        return None
