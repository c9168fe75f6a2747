"""What a person sees of the demo: each step of the run as it happens, then answer and bill."""

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from rlm_mcp.cli.report import bill, labelled, places
from rlm_mcp.contexts.ingest import LoadProgress
from rlm_mcp.events import CallEnded, CallStarted, CellEnded, CellStarted, Event
from rlm_mcp.runs.pages import Step, Trace
from rlm_mcp.types import Answer, ContextInfo
from rlm_mcp.words import count

INDENT = len(labelled("", ""))
PLAIN_WIDTH = 100
OUTPUT_LINES = 12
TRACE_STEPS = 6


class Stage:
    """The screen of the demo, and a `Sink` that shows a run's code and output as they come."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH
        self._asked = 0
        self._asking_since = 0.0

    def line(self, text: str, style: str = "") -> None:
        """Text as it is, wrapped between words."""
        self._console.print(Text(text, style=style))

    def step(self, label: str, text: str) -> None:
        """A labelled paragraph; its further lines stand below the text, not below the label."""
        room = self._console.width - INDENT
        lines = [
            part
            for line in text.splitlines()
            for part in textwrap.wrap(line, room, subsequent_indent="  ") or [""]
        ]
        self._console.print()
        for number, line in enumerate(lines):
            shown = labelled("" if number else label, "")
            self._console.print(Text.assemble((shown, "bold cyan"), line), soft_wrap=True)

    @contextmanager
    def loading(self) -> Iterator[Callable[[LoadProgress], None]]:
        """A live line while a load runs."""
        with self._console.status("looking for files") as status:

            def show(progress: LoadProgress) -> None:
                files = f"{progress.files_read:,} of {progress.files_total:,} files"
                status.update(f"loading {files} · {progress.bytes_read / 1e6:.0f} MB")

            yield show

    def loaded(self, info: ContextInfo, seconds: float) -> None:
        """What was loaded, and how much it is for a model."""
        size = f"{count(info.documents, 'file')} · {info.bytes / 1e6:.1f} MB · {info.lines:,} lines"
        self.step(
            "load",
            f"{size} · {seconds:.1f} s\n"
            f"{_millions(info)}, in a variable of the REPL and in no prompt",
        )

    def emit(self, event: Event) -> None:
        """Show what of an event a person follows."""
        match event:
            case CallEnded(role="root"):
                self.step(f"turn {event.turn}", event.reply.partition("```")[0].strip())
            case CellStarted():
                highlighted = Syntax("", "python", theme="ansi_dark").highlight(event.code)
                for line in highlighted.split("\n"):
                    self._gutter("│ ", line)
            case CallStarted(role="sub"):
                self._asking_since = self._asking_since or anyio.current_time()
                self._asked += 1
            case CellEnded():
                self._output(event)
            case _:
                pass

    def answered(self, answer: Answer, info: ContextInfo, trace: Trace) -> None:
        """The answer, what it rests on, what it cost, and how the trace of it looks."""
        self.step("answer", answer.text)
        first = next((each for each in answer.citations if each.found), None)
        shown = f"\n{first.path}:{first.start} is: {first.excerpt.strip()}" if first else ""
        self.step("citations", places(answer.citations) + shown)
        self.step(
            "cost",
            f"root  {bill(answer.root)}\nsub   {bill(answer.sub)}\n"
            f"total {bill(answer.usage)} · {answer.seconds:.1f} s\n"
            f"for a text of {_millions(info)}",
        )
        room = self._console.width - INDENT
        steps = [_shortened(_told(step), room) for step in trace.steps[:TRACE_STEPS]]
        self.step("trace", "\n".join([*steps, f"all of it: rlm-mcp traces show {answer.run_id}"]))

    def _output(self, cell: CellEnded) -> None:
        lines = f"{cell.output}\n{cell.error or ''}".strip().splitlines()
        if self._asked:
            seconds = anyio.current_time() - self._asking_since
            lines.insert(0, f"[{count(self._asked, 'sub-call')} over HTTP in {seconds:.1f} s]")
            self._asked, self._asking_since = 0, 0.0
        for number, line in enumerate(lines[:OUTPUT_LINES]):
            self._gutter("╰ " if not number else "  ", Text(line, style="green"))

    def _gutter(self, sign: str, line: Text) -> None:
        row = Text.assemble("  ", (sign, "dim"), line)
        self._console.print(row, no_wrap=True, overflow="ellipsis")


def _millions(info: ContextInfo) -> str:
    return f"about {info.tokens_estimate / 1e6:.1f} million tokens"


def _told(step: Step) -> str:
    first = next((line for line in step.text.splitlines() if line.strip()), "")
    place = f"turn {step.turn} · " if step.turn else ""
    return f"{place}{step.kind} · {first}"


def _shortened(line: str, room: int) -> str:
    return line if len(line) <= room else f"{line[: room - 1]}…"
