"""The values that cross module borders: contexts, models, cells, budgets, answers."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from rlm_mcp.conduct import Citation, Conduct

UTF8 = "utf-8"


class TextKind(StrEnum):
    """How a blob stores its characters: the fixed width in which CPython holds them (PEP 393)."""

    ASCII = "ascii"
    LATIN1 = "latin1"
    UCS2 = "ucs2"
    UCS4 = "ucs4"

    @property
    def width(self) -> int:
        """Bytes per character."""
        return {"ascii": 1, "latin1": 1, "ucs2": 2, "ucs4": 4}[self.value]

    @property
    def codec(self) -> str:
        """The codec that turns the blob's bytes into text and back (lone surrogates pass)."""
        return {
            "ascii": "latin-1",
            "latin1": "latin-1",
            "ucs2": "utf-16-le",
            "ucs4": "utf-32-le",
        }[self.value]


@dataclass(frozen=True, slots=True)
class Document:
    """One file or text inside a context. `start` is its first character's offset in the blob.

    `encoding` is what its bytes were taken for, where several that of its end.
    """

    path: str
    start: int
    chars: int
    lines: int
    bytes: int
    encoding: str = UTF8


@dataclass(frozen=True, slots=True)
class Skip:
    """A file that was met and not loaded, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    """The documents in which a snapshot differs from `since`, the one its source had before."""

    since: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContextInfo:
    """What is known of one immutable snapshot without reading its text.

    `bytes` counts the source bytes, `chars` the characters of `context` (headers included),
    `tokens_estimate` is a sampled guess. `skipped` and `changes` are those of this load, the latter
    None if its source was not loaded before or has not changed. `blob` and `manifest` are files of
    the data folder.
    """

    id: str
    name: str
    documents: int
    bytes: int
    chars: int
    lines: int
    tokens_estimate: int
    skipped: tuple[Skip, ...]
    kind: TextKind
    blob: Path
    manifest: Path
    changes: Changes | None = None


Role = Literal["system", "user", "assistant"]
CostScope = Literal["session", "run", "day", "all"]
Detail = Literal["turns", "calls", "full", "answer", "messages", "events"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls and what they used. Sums with `+`; a sum's cost is None when any part is unknown.

    `estimated_calls` counts the calls whose tokens are our estimate because the endpoint reported
    none. `cached_tokens` is None when no endpoint said anything about its cache.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int | None = None
    estimated_calls: int = 0
    cost: float | None = 0.0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        cached = [n for n in (self.cached_tokens, other.cached_tokens) if n is not None]
        unknown = self.cost is None or other.cost is None
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=sum(cached) if cached else None,
            estimated_calls=self.estimated_calls + other.estimated_calls,
            cost=None if unknown else (self.cost or 0.0) + (other.cost or 0.0),
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's reply to one request. `reasoning` is thinking the endpoint kept apart.

    `notes` are what the person should know of how it was got: which endpoints are left out.
    """

    text: str
    reasoning: str
    finish_reason: str | None
    model: str
    usage: Usage
    attempts: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retry:
    """A request failed and is tried again after `wait_s` seconds.

    `lost` says that the endpoint was not there to take it: gone, loading, or overrun. `spent` is
    what its replies have used so far, None if nothing is known of any.
    """

    attempt: int
    reason: str
    wait_s: float
    lost: bool = False
    spent: Usage | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one run and everything below it; None means no limit.

    `depth` 1 allows sub-calls only; 2 allows one level of nested REPLs, and so on. `errors` is the
    number of turns in a row that may fail. `cost` is in the currency of the configured prices.
    """

    turns: int | None = 20
    calls: int | None = 1000
    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = 1800.0
    depth: int = 1
    errors: int | None = 5


StoppedBy = Literal[
    "answer",
    "turns",
    "calls",
    "tokens",
    "cost",
    "time",
    "errors",
    "cancelled",
    "endpoint",
    "journal",
    "server",
]
# What stops a run through no limit of its own and nobody's will: it can go on where it was.
RESUMABLE: frozenset[StoppedBy] = frozenset({"endpoint", "journal", "server"})


@dataclass(frozen=True, slots=True)
class Answer:
    """How a run ended. `text` is the best there is, also when a budget ended the run."""

    run_id: str
    text: str
    stopped_by: StoppedBy
    citations: tuple[Citation, ...]
    root: Usage
    sub: Usage
    turns: int
    seconds: float
    notes: tuple[str, ...] = ()
    conduct: Conduct = field(default_factory=Conduct)

    @property
    def usage(self) -> Usage:
        """Root and sub together."""
        return self.root + self.sub


# What keeps model-written code from the user's files, network and processes.
Isolation = Literal["kernel", "container", "language", "none"]


@dataclass(frozen=True, slots=True)
class ReplLimits:
    """What one guest may use. `cell_s` is computing time: waiting for sub-calls is not counted."""

    cell_s: float = 60.0
    memory_bytes: int = 2 << 30
    output_chars: int = 8_000
    message_bytes: int = 16 << 20
    answer_chars: int = 4_000_000


@dataclass(frozen=True, slots=True)
class ReplSpec:
    """What a REPL is opened with. `open` with a known handle changes its contexts to these."""

    handle: str
    epoch: int
    contexts: tuple[ContextInfo, ...]
    limits: ReplLimits


@dataclass(frozen=True, slots=True)
class ReplState:
    """A REPL that stands ready. `enforced` are the layers that were proved, in plain words.

    `refused` are forbidden deeds: the guest tried each of them and none went through.
    `checkpoints`: a cell whose process is lost is undone by a copy, and not by running the cells
    before it again. `notice` is what the user is told beside every answer, `dialect` what the
    model must know of this Python; both None for a sandboxed CPython. `helpers` are the functions
    it is told of at the start, a line each.
    """

    handle: str
    epoch: int
    box: str
    isolation: Isolation
    enforced: tuple[str, ...]
    python: str
    checkpoints: bool
    refused: tuple[str, ...] = ()
    notice: str | None = None
    dialect: str | None = None
    helpers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of code to execute. `fresh_answer` gives it a new `answer` and no final."""

    id: str
    code: str
    fresh_answer: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a reader has read a cell's events."""

    epoch: int
    seq: int


CallKind = Literal["llm", "rlm"]


@dataclass(frozen=True, slots=True)
class SubRequest:
    """One prompt that code in the guest wants answered."""

    prompt: str
    context: str | None
    model: str | None

    @property
    def text(self) -> str:
        """Prompt and context as one."""
        return f"{self.prompt}\n\n{self.context}" if self.context else self.prompt


@dataclass(frozen=True, slots=True)
class CallAsked:
    """The guest waits for answers to `requests`, in order. `batched` False means exactly one."""

    call_id: str
    kind: CallKind
    batched: bool
    requests: tuple[SubRequest, ...]


@dataclass(frozen=True, slots=True)
class SubReply:
    """The answer to one `SubRequest`: `text`, or `error` in words the model can act on."""

    text: str | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """Answers to one `CallAsked`, as many as it had requests."""

    call_id: str
    replies: tuple[SubReply, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A name bound in the REPL: its type's name, its length if it has one, a short repr."""

    name: str
    type: str
    size: int | None
    preview: str


@dataclass(frozen=True, slots=True)
class Final:
    """An answer given from code. `via` names what gave it; `cut` says it was longer."""

    text: str
    via: Literal["FINAL", "FINAL_VAR", "answer"]
    cut: bool = False


CellStatus = Literal["ok", "error", "interrupted", "memory", "died"]


@dataclass(frozen=True, slots=True)
class CellResult:
    """What a cell did.

    `output` is what it printed and its last expression, head and tail; `output_chars` is the true
    size. `error` is a traceback of the cell's own frames. `final` is set once FINAL, FINAL_VAR or
    `answer` gave an answer in this run; `draft` is the content of an `answer` not yet ready.
    `restored` names what the cell overwrote and got back. `lost` True: the variables are gone.
    """

    cell_id: str
    status: CellStatus
    output: str
    output_chars: int
    error: str | None
    seconds: float
    variables: tuple[Variable, ...] = ()
    final: Final | None = None
    draft: str | None = None
    restored: tuple[str, ...] = ()
    lost: bool = False


@dataclass(frozen=True, slots=True)
class CellDone:
    """The last event of a cell."""

    result: CellResult


ReplEvent = CallAsked | CellDone


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of a cell after a cursor, and the cursor behind them."""

    cursor: Cursor
    events: tuple[ReplEvent, ...]
