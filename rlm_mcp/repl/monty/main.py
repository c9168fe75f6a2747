"""The process between the host and Monty: the host's wire on one side, the interpreter behind it.

It is trusted: cells run in the interpreter's own process, which reaches nothing but this one. Here
no descriptor is passed, and no signal is needed to see that the host is gone.
"""

import _thread
import contextlib
import os
import signal
import sys
from queue import SimpleQueue
from typing import Any

import pydantic_monty
from pydantic_monty import Monty, MontyError

from rlm_mcp.repl.guest.arrival import Arrivals
from rlm_mcp.repl.guest.calls import Calls
from rlm_mcp.repl.guest.channel import HOST_GONE, Channel, Interrupts
from rlm_mcp.repl.guest.contexts import Context
from rlm_mcp.repl.guest.lines import line_on
from rlm_mcp.repl.guest.wire import Message
from rlm_mcp.repl.monty.session import MontyNotebook

REFUSED = 3
CRASHED = 4
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
# Each of them would give something of the system away.
PROBES = {
    "read a file": "open('/etc/hostname').read()",
    "write a file": "open('/tmp/rlm-probe', 'w').write('x')",
    "list a folder": "import os\nos.listdir('/')",
    "read the environment": "import os\nos.environ['PATH']",
    "start a program": "import os\nos.system('true')",
    "import subprocess": "import subprocess",
    "import socket": "import socket",
    "import ctypes": "import ctypes",
}


class MontyGuest:
    """Cells run in the main thread; the reading thread also sees that the host is gone."""

    def __init__(self, channel: Channel, interrupts: Interrupts, pool: Monty) -> None:
        self._channel = channel
        self._calls = Calls(channel)
        self._notebook = MontyNotebook(pool, self._calls, interrupts)
        self._arrivals = Arrivals(in_place=False)
        self._pool = pool
        self._todo: SimpleQueue[Message | list[Context]] = SimpleQueue()

    def serve(self) -> None:
        """Say hello, then work until the host is gone."""
        setup = self._channel.receive()
        self._notebook.memory_bytes = setup["memory_bytes"]
        self._channel.send(self._hello(setup["memory_bytes"]))
        _thread.start_new_thread(self._read, ())
        while True:
            task = self._todo.get()
            if isinstance(task, list):
                self._notebook.use(task)
            else:
                self._channel.send(self._notebook.run(task))

    def end(self, status: int) -> None:
        """Take the interpreter along: it may be in a loop and not see that nobody is left."""
        if self._notebook.worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._notebook.worker, KILL)
        os._exit(status)

    def _hello(self, memory_bytes: int) -> Message:
        with self._pool.checkout() as session:
            python = session.feed_run("import sys\nsys.version.split()[0]")
            probes = [(name, _refused(session, code)) for name, code in PROBES.items()]
        return {
            "t": "hello",
            "python": python,
            "layers": [
                f"Monty {pydantic_monty.__version__}", "no files", "no network", "no processes",
                f"memory {memory_bytes >> 20:,} MB",
            ],
            "probes": probes,
            "space_bytes": 0,
            "checkpoints": False,
            "in_place": False,
        }  # fmt: skip

    def _read(self) -> None:
        try:
            while True:
                self._take(self._channel.receive())
        finally:
            self.end(HOST_GONE)

    def _take(self, message: Message) -> None:
        if message["t"] == "reply":
            self._calls.deliver(message)
        elif message["t"] in {"map", "piece"}:
            contexts = self._arrivals.take(message, [])
            if contexts is not None:
                self._todo.put(contexts)
        else:
            self._todo.put(message)


def _refused(session: Any, code: str) -> bool:
    try:
        session.feed_run(code)
    except MontyError:
        return True
    return False


def _harden() -> None:
    """What the system gives cheaply; the interpreter inherits it."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not on Windows

    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))


def main() -> None:
    """Serve the host on standard input and output."""
    _harden()
    interrupts = Interrupts()
    channel = Channel(line_on([0, 1]), interrupts)
    with Monty(min_processes=1, max_processes=1) as pool:
        guest = MontyGuest(channel, interrupts, pool)
        try:
            guest.serve()
        except MontyError:
            guest.end(CRASHED)
