"""The guest from start to end: lock the door, say hello, then run cells until the host is gone."""

import ctypes
import gc
import importlib
import os
import sys
import warnings
from queue import SimpleQueue

from . import text
from .arrival import Arrivals
from .calls import Calls
from .cells import Notebook
from .channel import Channel, Interrupts
from .checkpoint import Checkpoints
from .contexts import Context
from .kernel import die_with_parent
from .lines import Line, SocketLine
from .wire import Message

REFUSED = 3
# Of `random`, for each question: its code does again what it did.
SEED = 0


def stop_thread(ident: int) -> None:
    """Let SystemExit rise in that thread at its next instruction."""
    _set_async_exc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))


# Bound once: code may patch the modules.
_close = os.close
_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Guest:
    """One guest: what arrives is put in order by the reading thread, cells run in the main one."""

    def __init__(self, line: Line) -> None:
        self._interrupts = Interrupts()
        self._channel = Channel(line, self._interrupts)
        self._calls = Calls(self._channel)
        self._notebook = Notebook(self._calls, self._channel, self._interrupts, stop_thread)
        self._checkpoints = Checkpoints()
        # Only now: else it had itself seeded anew in every copy.
        self._seed = importlib.import_module("random").seed
        self._seed(SEED)
        self._todo: SimpleQueue[Message | list[Context]] = SimpleQueue()
        self._in_place = text.works()
        self._arrivals = Arrivals(in_place=self._in_place)

    def serve(self) -> None:
        """Lock, say hello, work. Never runs a cell with less locked than the box promises."""
        setup = self._channel.receive()
        try:
            box = importlib.import_module(f".{setup['box']}", __package__)
            hello = box.lock(setup, self._channel.line)
        except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
            self._channel.send({"t": "refused", "error": f"{type(error).__name__}: {error}"})
            os._exit(REFUSED)
        forget_ourselves()
        about = {"python": sys.version.split()[0], "in_place": self._in_place}
        greeting = {"t": "hello", "checkpoints": False, **about, **hello}
        self._channel.send(greeting)
        self._notebook.spare(self._channel.serve(self._take))
        while True:
            task = self._todo.get()
            if isinstance(task, list):
                self._notebook.use(task)
                continue
            if task["fresh_answer"]:
                self._seed(SEED)
            if task["lifeline"] is None or self._goes_on(task["lifeline"]):
                self._channel.send(self._notebook.run(task))

    def _goes_on(self, lifeline: int) -> bool:
        """Leave a copy of everything behind; False in the copy, once it has taken over."""
        if self._notebook.threads_left:
            _close(lifeline)
            return True
        wire = self._channel.line.descriptors[0]
        return not self._checkpoints.take_over(lifeline, wire, self._reopen)

    def _reopen(self, wire: int) -> None:
        die_with_parent()
        line = SocketLine(wire)
        self._channel.reopen(line)
        self._notebook.spare(self._channel.serve(self._take))
        # The kernel tells the host whose byte it is.
        line.write(b"!")

    def _take(self, message: Message) -> None:
        if message["t"] == "reply":
            self._calls.deliver(message)
        elif message["t"] in {"map", "piece"}:
            contexts = self._arrivals.take(message, self._channel.descriptors)
            if contexts is not None:
                self._todo.put(contexts)
        else:
            # None came where code uses up all the descriptors there may be.
            passed = self._channel.descriptors if message["lifeline"] else []
            self._todo.put({**message, "lifeline": passed.pop(0) if passed else None})


def forget_ourselves() -> None:
    """Leave nothing of ours to be imported by name. The kernel is the wall, not this."""
    for name in list(sys.modules):
        if name.split(".")[0] in {"ctypes", "_ctypes", __package__}:
            del sys.modules[name]
    gc.freeze()
    gc.enable()
    warnings.simplefilter("ignore", SyntaxWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    sys.argv = [""]
