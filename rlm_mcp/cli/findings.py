"""What `rlm-mcp doctor` found, as rows for a terminal, lines for a pipe, and JSON."""

import dataclasses
import json
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rlm_mcp.cli.report import LABEL_CHARS, labelled
from rlm_mcp.clients import check
from rlm_mcp.given import Origin
from rlm_mcp.repl.boxes import HINT
from rlm_mcp.repl.survey import Surveyed
from rlm_mcp.words import count, size

PLAIN_WIDTH = 100
# Half of what the least patient of clients (Codex) gives a server to start.
SLOW_S = 15.0
LEAST_FREE = 10**9
STRAY = (
    "Something prints as this Python starts, which stricter clients take for a broken server: often"
    " a .pth file or sitecustomize. Install rlm-mcp into an environment of its own."
)
SLOW = (
    "Clients give up after 30 s. The first start after an installation is slower than the next; if"
    " this was none, see what keeps the machine or its disk busy."
)
HELD_BACK = "Model-written code has your rights. RLM_SANDBOX=auto holds it back."
ASKING: dict[Origin, str] = {
    "flag": "--sandbox",
    "environment": "RLM_SANDBOX",
    "file": "the settings file",
}
ELSEWHERE = "Make it writable, or set RLM_HOME to another folder."
ROOM = "Make room, remove old runs and contexts with `rlm-mcp purge`, or set RLM_HOME elsewhere."
JOURNAL = "Update rlm-mcp if it is newer; else move it away, or set RLM_HOME to another folder."
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
class FoundServer:
    """What the server said when it was started as a client starts it, or why it said nothing.

    `start_s` is the time until it had listed its tools; `stray` are lines on its standard output
    that are no MCP.
    """

    version: str | None = None
    start_s: float | None = None
    tools: int | None = None
    stray: tuple[str, ...] = ()
    reason: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class FoundJournal:
    """The file of all runs. `problem` None: it can be used."""

    bytes: int
    schema: int | None = None
    runs: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FoundHome:
    """The data folder; `problem` None: it can be written. `journal` None: there is none yet."""

    path: Path
    problem: str | None = None
    free_bytes: int | None = None
    contexts: int | None = None
    contexts_bytes: int | None = None
    journal: FoundJournal | None = None


@dataclass(frozen=True, slots=True)
class FoundFile:
    """The settings file, and a key in it that other users can read."""

    path: Path
    exposed_key: str | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What a client, and a run, will meet.

    `asked` is the box the settings name, `taken` the one a run would take, None if none works.
    `git` is its version, None if there is none. `given` says of the settings that are given where.
    """

    server: FoundServer
    python: str
    sdk: str
    system: str
    text_is_mapped: bool
    home: FoundHome
    git: str | None
    file: FoundFile | None
    given: Mapping[str, Origin]
    asked: str
    taken: str | None
    boxes: tuple[Surveyed, ...]
    model: FoundModel
    clients: tuple[check.Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether a client can use the server, and model-written code can run as the settings say.

        That no model answers is no fault of this machine: one may be started later.
        """
        journal = self.home.journal
        return (
            self.server.reason is None
            and not self.server.stray
            and self.taken is not None
            and self.home.problem is None
            and (journal is None or journal.problem is None)
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was looked at."""

    label: str
    text: str
    verdict: Verdict


def rows(found: Findings) -> list[Row]:
    """Everything, the most important first."""
    return [
        _server(found.server),
        _sandbox(found),
        *(_box(each) for each in found.boxes),
        _model(found.model),
        _home(found.home),
        *_journal(found.home.journal),
        _text(found),
        _git(found.git),
        _settings(found),
        *_clients(found.clients),
        Row("python", f"{found.python} · MCP SDK {found.sdk} · {found.system}", "neutral"),
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
    """One JSON object; what is not known is null. Members are added, never renamed or removed.

    `sound` is what the exit code says. `server`, `home` (with `journal`), `settings.file` and
    `model` have the fields of the dataclasses here, `clients` those of `clients.check.Finding`;
    of `boxes` see `_record`.
    """
    record = {
        "sound": found.is_sound,
        "server": dataclasses.asdict(found.server),
        "sandbox": {"asked": found.asked, "taken": found.taken},
        "boxes": [_record(each) for each in found.boxes],
        "python": {"version": found.python, "sdk": found.sdk, "system": found.system},
        "text_is_mapped": found.text_is_mapped,
        "home": dataclasses.asdict(found.home),
        "git": found.git,
        "settings": {"file": found.file and dataclasses.asdict(found.file), "given": found.given},
        "model": dataclasses.asdict(found.model),
        "clients": [dataclasses.asdict(each) for each in found.clients],
    }
    return json.dumps(record, ensure_ascii=False, indent=2, default=str)


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
    is_auto = found.asked == "auto"
    by = "`auto` takes it" if is_auto else f"{ASKING[found.given['sandbox']]} asks for it"
    text = f"{found.taken}: {by}; isolation: {_isolation(chosen)}"
    if chosen.isolation == "none":
        return Row("sandbox", f"{text}\n{HELD_BACK}", "bad")
    return Row("sandbox", text, "good")


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


def _server(found: FoundServer) -> Row:
    if found.start_s is None:
        return Row("server", f"does not start: {found.reason}\n{found.hint}", "bad")
    start = f"rlm-mcp {found.version} answers in {found.start_s:.1f} s"
    if found.stray:
        return Row(
            "server", f"{start}, but writes what is not MCP: {found.stray[0]!r}\n{STRAY}", "bad"
        )
    text = f"{start} · {count(found.tools or 0, 'tool')} · nothing stray on standard output"
    if found.start_s > SLOW_S:
        return Row("server", f"{text}\n{SLOW}", "bad")
    return Row("server", text, "good")


def _text(found: Findings) -> Row:
    if found.text_is_mapped:
        return Row("contexts", "mapped: one of any size costs no memory", "good")
    copied = "copied: each costs its size in memory, in every REPL"
    return Row(
        "contexts", f"{copied}\nUse a CPython as your system or python.org ships it.", "neutral"
    )


def _home(found: FoundHome) -> Row:
    if found.problem is not None:
        return Row("data", f"{found.path} cannot be written: {found.problem}\n{ELSEWHERE}", "bad")
    contexts = f"{count(found.contexts or 0, 'context')}, {size(found.contexts_bytes or 0)}"
    text = f"{found.path} · {contexts} · {size(found.free_bytes or 0)} free"
    if (found.free_bytes or 0) < LEAST_FREE:
        return Row("data", f"{text}\n{ROOM}", "bad")
    return Row("data", text, "good")


def _journal(found: FoundJournal | None) -> list[Row]:
    if found is None:
        return []
    if found.problem is not None:
        return [Row("journal", f"cannot be used: {found.problem}\n{JOURNAL}", "bad")]
    text = f"{count(found.runs or 0, 'run')}, {size(found.bytes)}, schema {found.schema}"
    return [Row("journal", text, "good")]


def _git(version: str | None) -> Row:
    if version is None:
        return Row(
            "git",
            "not here: `folder@revision` needs it, and of ignore rules only .gitignore files count"
            "\nInstall git.",
            "neutral",
        )
    return Row("git", f"{version}, for .gitignore rules and `folder@revision`", "good")


def _settings(found: Findings) -> Row:
    places = Counter(found.given.values())
    named: dict[Origin, str] = {
        "flag": "by options",
        "environment": "in the environment",
        "file": f"in {found.file.path if found.file else None}",
    }
    parts = [f"{places[by]} {words}" for by, words in named.items() if places[by]]
    text = " · ".join(parts) or "all defaults"
    if found.file and found.file.exposed_key:
        exposed = f"others can read {found.file.exposed_key} there\nchmod 600 {found.file.path}"
        return Row("settings", f"{text}; {exposed}", "bad")
    return Row("settings", f"{text}; `rlm-mcp doctor --settings` lists them", "neutral")


def _clients(found: Sequence[check.Finding]) -> list[Row]:
    if not found:
        return [Row("clients", "none starts rlm-mcp yet: `rlm-mcp install` sets it up", "neutral")]
    return [
        Row("client", f"{each.client}: {each.what}", "good")
        if each.fix is None
        else Row("client", f"{each.client}: {each.what}\n{each.fix} ({each.path})", "bad")
        for each in found
    ]


def _model(found: FoundModel) -> Row:
    if found.model is None:
        where = f" at {found.url}" if found.url and found.url not in (found.reason or "") else ""
        return Row("model", f"none found{where}: {found.reason}\n{found.hint}", "neutral")
    window = "unknown" if found.window_tokens is None else f"{found.window_tokens:,} tokens"
    slots = count(found.slots or 1, "request")
    text = f"{found.model} at {found.url} · window {window} · {slots} at a time"
    if found.measured_s_ago is None:
        text += "\nnot measured yet: `rlm-mcp doctor --endpoint` does it"
    else:
        text += f"\nmeasured {ago(found.measured_s_ago)} by `rlm-mcp doctor --endpoint`"
    return Row("model", text, "good")
