"""The guest from start to end: lock the door, say hello, then run cells until the host is gone."""

import ctypes
import gc
import importlib
import os
import sys
import warnings
from queue import SimpleQueue

from . import text
from .calls import Calls
from .cells import Notebook
from .channel import Channel, Interrupts
from .contexts import Context
from .wire import Message

REFUSED = 3


def stop_thread(ident: int) -> None:
    """Let SystemExit rise in that thread at its next instruction."""
    _set_async_exc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))


_set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Guest:
    """One guest: what arrives is put in order by the reading thread, cells run in the main one."""

    def __init__(self, descriptor: int) -> None:
        self._interrupts = Interrupts()
        self._channel = Channel(descriptor, self._interrupts)
        self._calls = Calls(self._channel)
        self._notebook = Notebook(self._calls, self._interrupts, stop_thread)
        self._todo: SimpleQueue[Message | list[Context]] = SimpleQueue()
        self._in_place = text.works()
        self._arriving: list[Context] = []

    def serve(self, descriptor: int) -> None:
        """Lock, say hello, work. Never runs a cell with less locked than the box promises."""
        setup = self._channel.receive()
        try:
            box = importlib.import_module(f".{setup['box']}", __package__)
            hello = box.lock(setup, descriptor)
        except (OSError, ValueError, KeyError, ImportError, AttributeError) as error:
            self._channel.send({"t": "refused", "error": f"{type(error).__name__}: {error}"})
            os._exit(REFUSED)
        forget_ourselves()
        self._channel.send({"t": "hello", "python": sys.version.split()[0], **hello})
        self._notebook.spare(self._channel.serve(self._take))
        while True:
            task = self._todo.get()
            if isinstance(task, list):
                self._notebook.use(task)
            else:
                self._channel.send(self._notebook.run(task))

    def _take(self, message: Message) -> None:
        if message["t"] == "reply":
            self._calls.deliver(message)
        elif message["t"] == "map":
            self._map(message)
        else:
            self._todo.put(message)

    def _map(self, message: Message) -> None:
        """Map one context now, so that its descriptors are closed before the next one's come."""
        described = message["context"]
        if described:
            blob, manifest = self._channel.descriptors[:2]
            del self._channel.descriptors[:2]
            with os.fdopen(manifest, "rb") as file:
                documents = file.read()
            size, kind = described["bytes"], described["kind"]
            mapped = text.map_text(blob, size, kind, in_place=self._in_place)
            os.close(blob)
            self._arriving.append(Context(described["name"], mapped, documents))
        if message["last"]:
            self._todo.put(self._arriving)
            self._arriving = []


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
