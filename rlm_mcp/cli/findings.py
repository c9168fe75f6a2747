"""What `rlm-mcp doctor` found, as rows for a terminal, lines for a pipe, and JSON."""

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlm_mcp.cli.rows import Row, ago
from rlm_mcp.clients import check
from rlm_mcp.given import Origin
from rlm_mcp.repl.boxes import HINT, PLAIN_HINT
from rlm_mcp.repl.survey import Surveyed, taken
from rlm_mcp.words import count, size

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


@dataclass(frozen=True, slots=True)
class FoundModel:
    """The root model a run would ask, or why there is none.

    `state` is what a model that runs here was doing when the look at it ended, None if it was
    ready. `measured_s_ago` is the age of what is kept of `doctor --endpoint`, None if nothing is.
    """

    url: str | None = None
    model: str | None = None
    window_tokens: int | None = None
    slots: int | None = None
    reason: str | None = None
    hint: str | None = None
    measured_s_ago: float | None = None
    state: str | None = None


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
class Wrong:
    """What is set and cannot work, and how to mend it."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What a client, and a run, will meet.

    `asked` is the box the settings name, `taken` the one a run would take, None if none works.
    `git` is its version, None if there is none. `given` says of the settings that are given where,
    and `wrong` what is given and cannot work; all else was looked at with defaults in its place.
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
    wrong: tuple[Wrong, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether clients can use the server, and model-written code can run as the settings say.

        That no model answers is no fault of this machine: one may be started later.
        """
        journal = self.home.journal
        return (
            self.server.reason is None
            and not self.server.stray
            and self.taken is not None
            and self.home.problem is None
            and (journal is None or journal.problem is None)
            and not self.wrong
            and not any(each.is_broken for each in self.clients)
        )


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
        *(Row("setting", f"nothing starts: {each.what}", "bad", each.fix) for each in found.wrong),
        *_clients(found.clients),
        Row("python", f"{found.python} · MCP SDK {found.sdk} · {found.system}", "neutral"),
    ]


def as_json(found: Findings) -> str:
    """One JSON object; what is not known is null. Members are added, never renamed or removed.

    `sound` is what the exit code says. `server`, `home` (with `journal`), `settings.file`,
    `settings.wrong` and `model` have the fields of the dataclasses here, `clients` those of
    `clients.check.Finding`; of `boxes` see `_record`.
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
        "settings": {
            "file": found.file and dataclasses.asdict(found.file),
            "given": found.given,
            "wrong": [dataclasses.asdict(each) for each in found.wrong],
        },
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
        other = taken(found.boxes, "auto")
        instead = other and f"RLM_SANDBOX=auto, or --sandbox auto, takes {other} here."
        return Row("sandbox", f"{what}: nothing runs", "bad", instead or PLAIN_HINT)
    chosen = next(each for each in found.boxes if each.box == found.taken)
    is_auto = found.asked == "auto"
    by = "`auto` takes it" if is_auto else f"{ASKING[found.given['sandbox']]} asks for it"
    text = f"{found.taken}: {by}; isolation: {_isolation(chosen)}"
    if chosen.isolation == "none":
        return Row("sandbox", text, "bad", HELD_BACK)
    return Row("sandbox", text, "good")


def _box(each: Surveyed) -> Row:
    state = each.state
    if state is None and each.reason is None:
        text = f"isolation: {_isolation(each)}; not started, because nobody asked for it"
        return Row(each.box, text, "neutral")
    if state is None:
        own = (each.hint or "").removesuffix(HINT).rstrip()
        return Row(each.box, f"not here: {each.reason}", "neutral", own or None)
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
        return Row("server", f"does not start: {found.reason}", "bad", found.hint)
    start = f"rlm-mcp {found.version} answers in {found.start_s:.1f} s"
    if found.stray:
        stray = f"{start}, but writes what is not MCP: {found.stray[0]!r}"
        return Row("server", stray, "bad", STRAY)
    text = f"{start} · {count(found.tools or 0, 'tool')} · nothing stray on standard output"
    if found.start_s > SLOW_S:
        return Row("server", text, "bad", SLOW)
    return Row("server", text, "good")


def _text(found: Findings) -> Row:
    if found.text_is_mapped:
        return Row("contexts", "mapped: one of any size costs no memory", "good")
    copied = "copied: each costs its size in memory, in every REPL"
    fix = "Use a CPython as your system or python.org ships it."
    return Row("contexts", copied, "neutral", fix)


def _home(found: FoundHome) -> Row:
    if found.problem is not None:
        return Row("data", f"{found.path} cannot be written: {found.problem}", "bad", ELSEWHERE)
    contexts = f"{count(found.contexts or 0, 'context')}, {size(found.contexts_bytes or 0)}"
    text = f"{found.path} · {contexts} · {size(found.free_bytes or 0)} free"
    if (found.free_bytes or 0) < LEAST_FREE:
        return Row("data", text, "bad", ROOM)
    return Row("data", text, "good")


def _journal(found: FoundJournal | None) -> list[Row]:
    if found is None:
        return []
    if found.problem is not None:
        return [Row("journal", f"cannot be used: {found.problem}", "bad", JOURNAL)]
    text = f"{count(found.runs or 0, 'run')}, {size(found.bytes)}, schema {found.schema}"
    return [Row("journal", text, "good")]


def _git(version: str | None) -> Row:
    if version is None:
        return Row(
            "git",
            "not here: `folder@revision` needs it, and of ignore rules only .gitignore files count",
            "neutral",
            "Install git.",
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
        exposed = f"{text}; others can read {found.file.exposed_key} there"
        return Row("settings", exposed, "bad", f"chmod 600 {found.file.path}")
    return Row("settings", f"{text}; `rlm-mcp doctor --settings` lists them", "neutral")


def _clients(found: Sequence[check.Finding]) -> list[Row]:
    if not found:
        return [Row("clients", "none starts rlm-mcp yet: `rlm-mcp install` sets it up", "neutral")]
    return [
        Row("client", f"{each.client}: {each.what}", "good")
        if each.fix is None
        else Row("client", f"{each.client}: {each.what}", "bad", f"{each.fix} ({each.path})")
        for each in found
    ]


def _model(found: FoundModel) -> Row:
    if found.state is not None:
        return Row("model", f"not ready yet: {found.state}", "neutral", found.hint)
    if found.model is None:
        where = f" at {found.url}" if found.url and found.url not in (found.reason or "") else ""
        return Row("model", f"none found{where}: {found.reason}", "neutral", found.hint)
    window = "unknown" if found.window_tokens is None else f"{found.window_tokens:,} tokens"
    slots = count(found.slots or 1, "request")
    text = f"{found.model} at {found.url} · window {window} · {slots} at a time"
    if found.measured_s_ago is None:
        text += "\nnot measured yet: `rlm-mcp doctor --endpoint` does it"
    else:
        text += f"\nmeasured {ago(found.measured_s_ago)} by `rlm-mcp doctor --endpoint`"
    return Row("model", text, "good")
