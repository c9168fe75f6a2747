"""What was looked at, row by row: a table for a terminal, labelled lines for a pipe."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlm_mcp.cli.report import LABEL_CHARS, labelled
from rlm_mcp.cli.screen import harmless
from rlm_mcp.words import count

PLAIN_WIDTH = 100
Verdict = Literal["good", "bad", "neutral"]
SIGNS: dict[Verdict, tuple[str, str]] = {
    "good": ("✓", "green"),
    "bad": ("✗", "bold red"),
    "neutral": ("·", "dim"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was looked at. `fix` is what to do about it, None where there is nothing."""

    label: str
    text: str
    verdict: Verdict
    fix: str | None = None

    @property
    def words(self) -> str:
        """Everything it says, with what to do on the next line."""
        return "\n".join(filter(None, [self.text.rstrip(), self.fix]))


def as_text(shown: Sequence[Row]) -> str:
    """Rows as labelled lines."""
    lines = []
    for row in shown:
        wrapped = [
            part
            for line in row.words.splitlines()
            for part in textwrap.wrap(line, PLAIN_WIDTH - LABEL_CHARS, break_on_hyphens=False)
        ]
        lines += [
            labelled("" if number else row.label, line) for number, line in enumerate(wrapped)
        ]
    return "\n".join(lines)


def show(shown: Sequence[Row]) -> None:
    """Rows as a table on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in shown:
        sign, style = SIGNS[row.verdict]
        table.add_row(Text(sign, style), Text(row.label, "bold"), Text(harmless(row.words)))
    Console(highlight=False).print(table)


def ago(seconds: float) -> str:
    """An age in the largest unit that fits."""
    for unit, length_s in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length_s:
            return f"{count(int(seconds // length_s), unit)} ago"
    return "just now"
