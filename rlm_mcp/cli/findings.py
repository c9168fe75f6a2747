"""What `rlm-mcp doctor` found, as rows for a terminal, lines for a pipe, and JSON."""

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlm_mcp.cli.report import LABEL_CHARS, labelled
from rlm_mcp.repl.boxes import HINT
from rlm_mcp.repl.survey import Surveyed
from rlm_mcp.words import count

PLAIN_WIDTH = 100
Verdict = Literal["good", "bad", "neutral"]
SIGNS: dict[Verdict, tuple[str, str]] = {
    "good": ("✓", "green"),
    "bad": ("✗", "bold red"),
    "neutral": ("·", "dim"),
}


@dataclass(frozen=True, slots=True)
class FoundModel:
    """The root model a run would ask, or why there is none.

    `measured_s_ago` is the age of what is kept of `doctor --endpoint`, None if nothing is.
    """

    url: str | None = None
    model: str | None = None
    window_tokens: int | None = None
    slots: int | None = None
    reason: str | None = None
    hint: str | None = None
    measured_s_ago: float | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run would have to do with. `home_problem` None: the data folder can be written.

    `asked` is the box the settings name, `taken` the one a run would take, None if none works.
    """

    python: str
    system: str
    text_is_mapped: bool
    home: Path
    home_problem: str | None
    asked: str
    taken: str | None
    boxes: tuple[Surveyed, ...]
    model: FoundModel

    @property
    def is_sound(self) -> bool:
        """Whether model-written code can run as the settings say."""
        return self.taken is not None and self.home_problem is None


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was looked at."""

    label: str
    text: str
    verdict: Verdict


def rows(found: Findings) -> list[Row]:
    """Everything, the most important first."""
    return [
        _sandbox(found),
        *(_box(each) for each in found.boxes),
        Row("python", f"{found.python} · {found.system}", "neutral"),
        _text(found),
        _home(found),
        _model(found.model),
    ]


def as_text(shown: Sequence[Row]) -> str:
    """Rows as labelled lines."""
    lines = []
    for row in shown:
        wrapped = [
            part
            for line in row.text.splitlines()
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
        table.add_row(Text(sign, style), Text(row.label, "bold"), Text(row.text.rstrip()))
    Console(highlight=False).print(table)


def ago(seconds: float) -> str:
    """An age in the largest unit that fits."""
    for unit, length_s in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length_s:
            return f"{count(int(seconds // length_s), unit)} ago"
    return "just now"


def as_json(found: Findings) -> str:
    """One JSON object; what is not known is null."""
    record = {
        "sound": found.is_sound,
        "sandbox": {"asked": found.asked, "taken": found.taken},
        "boxes": [_record(each) for each in found.boxes],
        "python": {"version": found.python, "system": found.system},
        "text_is_mapped": found.text_is_mapped,
        "home": {"path": str(found.home), "problem": found.home_problem},
        "model": dataclasses.asdict(found.model),
    }
    return json.dumps(record, ensure_ascii=False, indent=2)


def _record(each: Surveyed) -> dict[str, object]:
    state = each.state
    return {
        "box": each.box,
        "isolation": each.isolation,
        "level": each.level,
        "works": bool(state),
        "layers": state.enforced if state else (),
        "refused": state.refused if state else (),
        "checkpoints": state.checkpoints if state else None,
        "notice": state.notice if state else None,
        "start_s": None if each.start_s is None else round(each.start_s, 3),
        "reason": each.reason,
        "hint": each.hint,
    }


def _sandbox(found: Findings) -> Row:
    if found.taken is None:
        what = "no sandbox works here" if found.asked == "auto" else f"{found.asked} does not work"
        return Row("sandbox", f"{what}: nothing runs\n{HINT}", "bad")
    chosen = next(each for each in found.boxes if each.box == found.taken)
    by = "`auto` takes it" if found.asked == "auto" else "RLM_SANDBOX or --sandbox asks for it"
    verdict: Verdict = "bad" if chosen.isolation == "none" else "good"
    return Row("sandbox", f"{found.taken}: {by}; isolation: {_isolation(chosen)}", verdict)


def _box(each: Surveyed) -> Row:
    state = each.state
    if state is None and each.reason is None:
        text = f"isolation: {_isolation(each)}; not started, because nobody asked for it"
        return Row(each.box, text, "neutral")
    if state is None:
        advice = "" if each.hint == HINT else each.hint
        return Row(each.box, f"not here: {each.reason}\n{advice}", "neutral")
    lines = [f"isolation: {_isolation(each)}; {', '.join(state.enforced)}"]
    if state.refused:
        lines.append(f"{count(len(state.refused), 'forbidden action')} tried, all refused")
    checkpoints = "yes" if state.checkpoints else "no, cells are run again after a crash"
    lines.append(f"checkpoints: {checkpoints} · ready in {(each.start_s or 0.0) * 1000:.0f} ms")
    return Row(each.box, "\n".join([*lines, *filter(None, [state.notice])]), "good")


def _isolation(each: Surveyed) -> str:
    words: str = each.isolation
    if each.level == "A-":
        words = f"kernel, {' '.join(each.walls) or 'one layer'} alone"
    return f"{words} (level {each.level})" if each.level else words


def _text(found: Findings) -> Row:
    if found.text_is_mapped:
        return Row("contexts", "mapped: one of any size costs no memory", "good")
    return Row("contexts", "copied: each costs its size in memory, in every REPL", "neutral")


def _home(found: Findings) -> Row:
    if found.home_problem is None:
        return Row("data", f"{found.home} can be written", "good")
    return Row(
        "data",
        f"{found.home} cannot be written: {found.home_problem}\n"
        "Make it writable, or set RLM_HOME to another folder.",
        "bad",
    )


def _model(found: FoundModel) -> Row:
    if found.model is None:
        return Row("model", f"none found: {found.reason}\n{found.hint}", "neutral")
    window = "unknown" if found.window_tokens is None else f"{found.window_tokens:,} tokens"
    slots = count(found.slots or 1, "request")
    text = f"{found.model} at {found.url} · window {window} · {slots} at a time"
    if found.measured_s_ago is not None:
        text += f"\nmeasured {ago(found.measured_s_ago)} by `rlm-mcp doctor --endpoint`"
    return Row("model", text, "good")
