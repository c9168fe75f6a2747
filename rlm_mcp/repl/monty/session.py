"""A Monty session as the notebook of a REPL: contexts, cells, and what they leave behind."""

import difflib
import re
import sys
from collections.abc import Callable
from traceback import format_exception_only
from typing import Any

from pydantic_monty import Monty, MontyCrashedError, MontyError, MontySession

from rlm_mcp.repl.guest.calls import Calls, Failed, Queries
from rlm_mcp.repl.guest.capture import Capture
from rlm_mcp.repl.guest.cells import ERROR_CHARS
from rlm_mcp.repl.guest.channel import Interrupts
from rlm_mcp.repl.guest.contexts import Context
from rlm_mcp.repl.guest.show import FRAMES, LISTED, MESSAGE_CHARS, middle_cut
from rlm_mcp.repl.guest.wire import Message
from rlm_mcp.repl.monty import prelude
from rlm_mcp.repl.monty.source import bound_names, with_value

# Monty takes at most 256 MB in one message, and counts a message against its memory.
PIECE_CHARS = 16 << 20
# Asked for at every call and at every look at a name: the host bounds calls itself.
SUSPENSIONS = 1 << 40
BESIDE_BYTES = 64 << 20
LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def _interruptible(function: Callable[..., Any], interrupts: Interrupts) -> Callable[..., Any]:
    """The function, with None where a batch failed: Monty has no object of ours for it."""

    def ask(*positional: Any, **named: Any) -> Any:
        with interrupts.armed():
            answer = function(*positional, **named)
        if isinstance(answer, list):
            return [None if isinstance(item, Failed) else item for item in answer]
        return answer

    return ask


class MontyNotebook:
    """Cells in one lasting Monty session, which starts with the first contexts.

    A crash of the interpreter raises MontyCrashedError: the session is lost then.
    """

    def __init__(self, pool: Monty, calls: Calls, interrupts: Interrupts) -> None:
        self.worker: int | None = None
        self.memory_bytes = 0
        self._pool = pool
        self._calls = calls
        self._interrupts = interrupts
        self._session: MontySession | None = None
        self._names: list[str] = []
        self._cells: dict[str, tuple[int, list[str]]] = {}
        self._fed = 0
        self._outside = {
            f"_rlm_ask_{name}": _interruptible(function, interrupts)
            for name, function in Queries(calls).functions.items()
        }
        self._outside["_rlm_missing"] = self._missing

    def use(self, contexts: list[Context]) -> None:
        """From now on these are the contexts."""
        if self._session is None:
            self._start(sum(map(_size, contexts)))
        self._feed("_rlm_loading = []")
        for context in contexts:
            self._load(context)
        self._feed("_rlm_use(_rlm_loading)\n_rlm_loading = []\n_rlm_given = []")

    def _start(self, contexts_bytes: int) -> None:
        self._session = self._pool.checkout(
            limits={
                "max_memory": self.memory_bytes + contexts_bytes + BESIDE_BYTES,
                "max_suspensions": SUSPENSIONS,
            },
            assert_message_annotations=False,
        ).__enter__()
        self.worker = self._session.worker_pid
        self._feed(prelude.source())

    def _load(self, context: Context) -> None:
        # What is no character at all is one that stands for it, so that offsets stay true.
        text = LONE_SURROGATES.sub("\ufffd", context.text)
        self._feed("_rlm_given = []")
        for start in range(0, len(text), PIECE_CHARS):
            piece = text[start : start + PIECE_CHARS]
            self._feed("_rlm_given.append(_rlm_piece)", _rlm_piece=piece)
        places = [[path, *place] for path, place in context.files.places.items()]
        self._feed(
            "_rlm_piece = ''\n"
            "_rlm_given = _rlm_given[0] if len(_rlm_given) == 1 else ''.join(_rlm_given)\n"
            "_rlm_loading.append(_rlm_load(_rlm_name, _rlm_given, _rlm_places))\n"
            "_rlm_given = _rlm_places = None",
            _rlm_name=context.name,
            _rlm_places=places,
        )

    def run(self, cell: Message) -> Message:
        """Execute a cell and say what it did; whatever it raises ends in the result."""
        output = Capture(cell["output_chars"])
        code, number = cell["code"], cell["number"]
        bound = bound_names(code)
        known = [name for name in self._names if name not in bound]
        self._names = [*bound[::-1], *known]
        hidden = {*prelude.OURS, "answer"}
        names = [n for n in self._names if not n.startswith("_") and n not in hidden][:LISTED]
        self._calls.begin(cell["message_bytes"])
        self._interrupts.forget()
        self._feed(
            f"_rlm_begin({bool(cell['fresh_answer'])})",
            _rlm_names=names,
            _rlm_limit=cell["answer_chars"],
        )
        status, error = "ok", None
        before, sys.stdout = sys.stdout, output
        try:
            self._execute(code, number, output)
        except MontyCrashedError:
            raise
        except MontyError as raised:
            status, error = self._failure(raised)
        finally:
            sys.stdout = before
        self._calls.end()
        final, draft, variables, restored = self._look()
        return {
            "t": "done",
            "number": number,
            "status": status,
            "error": error,
            "output": output.shown(),
            "output_chars": output.written_chars,
            "final": final if status == "ok" else None,
            "draft": draft,
            "variables": variables,
            "restored": restored,
        }

    def _execute(self, code: str, number: int, output: Capture) -> None:
        def write(_stream: str, text: str) -> None:
            with self._interrupts.armed():
                output.write(text)

        session = self._open
        self._cells[f"<python-input-{self._fed}>"] = (number, code.split("\n"))
        self._fed += 1
        session.feed_run(with_value(code), external_lookup=self._outside, print_callback=write)
        self._fed += 1
        session.feed_run(f"_rlm_echo({output.limit_chars})", print_callback=write)

    @property
    def _open(self) -> MontySession:
        if self._session is None:
            raise ValueError("a cell before the first contexts")
        return self._session

    def _feed(self, code: str, **bound: Any) -> Any:
        self._fed += 1
        return self._open.feed_run(
            code, inputs=bound, external_lookup=self._outside, print_callback=_nowhere
        )

    def _look(self) -> tuple[Any, Any, Any, Any]:
        """Final, draft, variables, restored names; nothing where the cell broke our functions."""
        try:
            final, draft, variables, restored = self._feed("_rlm_end()")
        except MontyCrashedError:
            raise
        except (MontyError, TypeError, ValueError):
            return None, None, [], []
        return final, draft, variables, restored

    def _failure(self, raised: MontyError) -> tuple[str, str]:
        error = raised.exception()
        status = "memory" if isinstance(error, MemoryError) else "error"
        if isinstance(error, KeyboardInterrupt) and self._interrupts.fired:
            status = "interrupted"
        frames = [
            (*self._cells[frame.filename], frame.line, frame.function_name)
            for frame in getattr(raised, "traceback", list)()
            if frame.filename in self._cells
        ]
        lines = ["Traceback (most recent call last):"] if frames else []
        half = FRAMES // 2
        for index, (number, source, line, function) in enumerate(frames):
            if len(frames) > FRAMES and index == half:
                lines.append(f"  ... {len(frames) - FRAMES:,} more frames ...")
            if len(frames) <= FRAMES or not half <= index < len(frames) - half:
                lines.append(f"  <cell {number}>, line {line}, in {function or '<module>'}")
                lines += [
                    f"    {middle_cut(text.strip(), 200)}" for text in source[line - 1 : line]
                ]
        lines.append(middle_cut("".join(format_exception_only(error)).rstrip(), MESSAGE_CHARS))
        if isinstance(error, SystemExit):
            lines.append("The cell ended there; the REPL goes on.")
        return status, middle_cut("\n".join(lines), ERROR_CHARS)

    def _missing(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._names, n=3, cutoff=0.4) or self._names[:5]
        return f"FINAL_VAR: no variable {name!r}; bound are {', '.join(near)}"


def _nowhere(_stream: str, _text: str) -> None:
    """What is printed outside of a cell's own code is shown to nobody."""


def _size(context: Context) -> int:
    """Bytes that Monty takes for it: its pieces, the whole, and its files if they are parts."""
    size = len(context.text.encode("utf-8", "surrogatepass"))
    return (3 if len(context.files) > 1 else 2) * size
