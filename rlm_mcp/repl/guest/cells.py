"""Executing cells in one lasting namespace, as a notebook does."""

import _thread
import ast
import builtins
import gc
import linecache
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

from .calls import Calls, Queries
from .capture import Capture
from .channel import Channel, Interrupts
from .contexts import Context, names_of
from .finals import Finals
from .habits import AWAITED, awaited, hint_on, tree_of
from .helpers import functions
from .memory import kept_aside
from .show import LISTED, Repr, error_text, middle_cut, user_names, variable
from .wire import Message

THREADS_END_S = 0.25
THREADS_LOOK_S = 0.001
ECHO_ITEMS = 100
ECHO_LEVELS = 6
ERROR_CHARS = 8_000
StopThread = Callable[[int], None]
T = TypeVar("T")


# Bound once: code may patch these modules. Unlike `threading`, it knows every thread.
_frames, _monotonic, _sleep = sys._current_frames, time.monotonic, time.sleep  # noqa: SLF001 - documented
_compile, _exec, _eval, _modules, _ident = compile, exec, eval, sys.modules, _thread.get_ident
_Expr, _Expression = ast.Expr, ast.Expression
_collect, _collected, _sources = gc.collect, gc.callbacks, linecache.cache
# Of every thread, where Python can (3.12).
_set_trace = getattr(sys, "_settraceallthreads", sys.settrace)
_set_profile = getattr(sys, "_setprofileallthreads", sys.setprofile)


def _threads() -> set[int]:
    return set(_frames())


def _no_input(_prompt: object = "") -> str:
    raise RuntimeError("input() has nobody to ask here; everything there is stands in `context`")


def _exit(code: object = None) -> None:
    raise SystemExit(code)


class Notebook:
    """The namespace of the cells, the names in it that are ours, and how a cell runs.

    Ours are put back after every cell, and so is what Python has built in, so that a cell that
    overwrites one cannot break the next.
    """

    def __init__(
        self, calls: Calls, channel: Channel, interrupts: Interrupts, stop_thread: StopThread
    ) -> None:
        self._calls = calls
        self._channel = channel
        self._interrupts = interrupts
        self._stop_thread = stop_thread
        self._spared = set[int]()
        self._stubborn: set[int] = set()
        # A real module, so that classes of cells can be pickled and their annotations resolved.
        module = _modules["__main__"] = ModuleType("__main__")
        self._namespace: dict[str, Any] = module.__dict__
        self._finals = Finals(self._namespace, self._user_names)

        def SHOW_VARS() -> None:  # noqa: N802 - the name the models were taught
            """Print the variables that cells have bound."""
            for name, kind, size, preview in self._variables():
                length = "" if size is None else f"[{size:,}]"
                sys.stdout.write(f"{name}: {kind}{length} = {preview}\n")

        SHOW_VARS.__qualname__, SHOW_VARS.__module__ = "SHOW_VARS", "__main__"
        self._lent: dict[str, Any] = {**functions(), **self._finals.other_names}
        self._ours: dict[str, Any] = {
            **Queries(calls).functions,
            **self._finals.functions,
            "SHOW_VARS": SHOW_VARS,
            "__builtins__": builtins,
        }
        self.use([])
        setattr(builtins, AWAITED, awaited)
        builtins.input = _no_input
        builtins.exit = builtins.quit = _exit  # type: ignore[assignment]  # as `site` has them
        self._built_in = vars(builtins).copy()
        self._put_back = vars(builtins).update

    def use(self, contexts: list[Context]) -> None:
        """From now on these are the contexts."""
        names = names_of(contexts)
        self._lend("lines", names.pop("lines"))
        self._ours.update(names)
        self._put_names()

    def _lend(self, name: str, value: Any) -> None:
        """Give a name another value, unless code has taken it for itself."""
        if self._namespace.get(name) is self._lent.get(name):
            self._namespace[name] = value
        self._lent[name] = value

    def _put_names(self) -> list[str]:
        """Put our names where they belong; returns those code had bound to something else.

        Those of helpers are common words: code that binds one has it, until it deletes it.
        """
        taken = [name for name, mine in self._ours.items() if self._namespace.get(name) is not mine]
        self._namespace.update(self._ours)
        for name, mine in self._lent.items():
            self._namespace.setdefault(name, mine)
        return taken

    def spare(self, thread: int) -> None:
        """That thread and the main one are ours: the end of a cell does not stop them."""
        self._spared = {_ident(), thread}

    @property
    def threads_left(self) -> bool:
        """Whether a thread of an earlier cell could not be stopped."""
        return bool(self._stubborn)

    def run(self, cell: Message) -> Message:
        """Execute a cell and say what it did; whatever it raises ends in the result."""
        output = Capture(cell["output_chars"])
        self._calls.begin(cell["message_bytes"])
        self._finals.begin(cell["answer_chars"], fresh_answer=cell["fresh_answer"])
        status, error = "ok", None
        self._interrupts.forget()
        try:
            with kept_aside(self._channel.line.descriptors[0]), self._printing_to(output):
                name = f"<cell {cell['number']}>"
                self._theirs(lambda: self._execute(cell["code"], name, output))
        except BaseException as raised:
            status, error = self._failure(raised)
        if status == "memory":
            _collect()
        self._calls.end()
        self._stop_threads(output)
        final, draft, variables = self._look()
        return {
            "t": "done",
            "number": cell["number"],
            "status": status,
            "error": error,
            "output": output.shown(),
            "output_chars": output.written_chars,
            "final": final if status == "ok" else None,
            "draft": draft,
            "variables": variables,
            "restored": self._put_names(),
        }

    def _theirs(self, run: Callable[[], T]) -> T:
        """Run code that is the user's: it can be interrupted, and what it left in Python goes."""
        with self._interrupts.armed():
            try:
                return run()
            finally:
                # First of all these: what is traced may raise, or never end.
                try:
                    _set_profile(None)
                finally:
                    _set_trace(None)
                    _collected.clear()
                    self._put_back(self._built_in)

    def _execute(self, code: str, name: str, output: Capture) -> None:
        linecache.cache = _sources
        _sources[name] = (len(code), None, code.splitlines(keepends=True), name)
        tree, notes = tree_of(code, name, {*self._ours, *self._lent})
        for note in notes:
            output.write(f"{note}\n")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], _Expr) else None
        _exec(_compile(tree, name, "exec", dont_inherit=True), self._namespace)
        if isinstance(last, _Expr):
            expression = _compile(_Expression(last.value), name, "eval", dont_inherit=True)
            value = _eval(expression, self._namespace)
            if value is not None:
                output.write(Repr(output.limit_chars, ECHO_ITEMS, ECHO_LEVELS).repr(value) + "\n")

    def _failure(self, raised: BaseException) -> tuple[str, str]:
        status = "interrupted" if self._interrupts.fired else "error"
        if isinstance(raised, MemoryError):
            status = "memory"
        try:
            text = self._theirs(lambda: error_text(raised))
        except BaseException as again:
            text = f"{type(raised).__name__} (no traceback: {type(again).__name__})"
        if isinstance(raised, SystemExit):
            text += "\nThe cell ended there; the REPL goes on."
        if hint := hint_on(raised):
            text += f"\n{hint}"
        return status, middle_cut(text, ERROR_CHARS)

    def _look(self) -> tuple[Any, str | None, list[list[Any]]]:
        """Final, draft, variables: their reprs are user code and may raise or never end."""
        try:
            return self._theirs(lambda: (*self._finals.end(), self._variables()))
        except BaseException:
            return self._finals.given, None, []

    def _user_names(self) -> list[str]:
        lent = {k: v for k, v in self._lent.items() if self._namespace.get(k) is v}
        ours = {**self._ours, **lent}
        if isinstance(self._namespace.get("answer"), dict):
            ours = {**ours, "answer": None}
        return user_names(self._namespace, ours)

    def _variables(self) -> list[list[Any]]:
        return [variable(name, self._namespace[name]) for name in self._user_names()[:LISTED]]

    def _stop_threads(self, output: Capture) -> None:
        deadline, asked = _monotonic() + THREADS_END_S, set[int]()
        pause_s = 0.0
        while True:
            # A thread that was started just now has no frame yet: let it come to light.
            _sleep(pause_s)
            pause_s = THREADS_LOOK_S
            left = _threads() - self._spared
            for thread in left - asked:
                self._stop_thread(thread)
            asked |= left
            if left <= self._stubborn or _monotonic() > deadline:
                break
        stubborn = len(left - self._stubborn)
        self._stubborn = left
        if stubborn:
            output.write(f"\n[{stubborn} threads of this cell could not be stopped]\n")

    @staticmethod
    @contextmanager
    def _printing_to(output: Capture) -> Iterator[None]:
        before = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = output
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
