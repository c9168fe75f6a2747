"""The program that a run's cells make up, in their order, and what each of them did."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rlm_mcp.types import CellResult


@dataclass(slots=True)
class Program:
    """Takes every cell that has ended. `still` counts the last cells that changed no variable."""

    still: int = 0
    _cells: list[tuple[str, CellResult]] = field(default_factory=list)
    _shown: dict[str, tuple[str, int]] = field(default_factory=dict)

    @property
    def cells(self) -> Sequence[tuple[str, CellResult]]:
        """Code and what it did."""
        return self._cells

    @property
    def codes(self) -> list[str]:
        """The code of every cell."""
        return [code for code, _ in self._cells]

    @property
    def outputs(self) -> list[str]:
        """What every cell showed."""
        return [result.output for _, result in self._cells]

    def add(self, code: str, result: CellResult) -> None:
        """Take the next cell."""
        before = self._cells[-1][1].variables if self._cells else ()
        self.still = self.still + 1 if result.variables == before else 0
        self._cells.append((code, result))

    def turn_like(self, ran: Sequence[tuple[str, CellResult]], turn: int) -> int | None:
        """The earlier turn whose code gave just what that of this one gave, None if there is none.

        `ran` is the code of turn `turn`, and what it did.
        """
        found = [self._turn_of(code, result, turn) for code, result in ran]
        return found[-1] if found and all(found) else None

    def _turn_of(self, code: str, result: CellResult, turn: int) -> int | None:
        key, shown = code.strip(), f"{result.status}\n{result.output}\n{result.error}"
        before, first = self._shown.get(key, (None, turn))
        if before == shown and first < turn:
            return first
        self._shown[key] = shown, turn
        return None
