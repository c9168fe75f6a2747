"""The first code of a guest in a container, given to `python -c`: nothing is mounted there.

Our own modules come as source, first thing on standard input. The standard library is the
container's: its source is read into memory, as no file can be opened once the guest is locked.

    standard input = length:u64 json frame*        (json = {module: source})

The container's first process stays outside: with it everything in the container ends, also a guest
in a loop that no thread of its own can leave, once the host has let go of the standard input.
"""

import gc
import json
import os
import select
import signal
import sys
from _frozen_importlib import ModuleSpec
from types import ModuleType
from typing import Any

LOOK_MS = 100
LEFT_OUT = {"site-packages", "dist-packages", "lib-dynload", "__pycache__", "test", "idlelib"}
Modules = dict[str, tuple[str | bytes, bool]]


class Sources:
    """An importer that compiles modules from what is held in memory."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        """As importlib asks for it."""
        if name not in self._modules:
            return None
        loader: Any = self
        return ModuleSpec(name, loader, origin="sources", is_package=self._modules[name][1])

    def create_module(self, _spec: object) -> None:
        """The default is right."""

    def exec_module(self, module: ModuleType) -> None:
        """As importlib asks for it."""
        source = self._modules[module.__name__][0]
        exec(compile(source, module.__name__, "exec", dont_inherit=True), module.__dict__)


def standard_library(folder: str, package: str = "") -> Modules:
    """Name -> source of every module below `folder`, and whether it is a package."""
    found: Modules = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, dot, suffix = entry.name.partition(".")
            name = f"{package}{stem}"
            if entry.is_dir():
                if not dot and stem not in LEFT_OUT:
                    found |= standard_library(entry.path, f"{name}.")
            elif suffix == "py":
                with open(entry.path, "rb") as file:  # noqa: PTH123 - no pathlib yet
                    is_package = stem == "__init__"
                    found[package[:-1] if is_package else name] = file.read(), is_package
    return found


def read_exactly(descriptor: int, size: int) -> bytes:
    """That many bytes, and none of the frames behind them."""
    read = bytearray()
    while len(read) < size:
        chunk = os.read(descriptor, size - len(read))
        if not chunk:
            os._exit(0)
        read += chunk
    return bytes(read)


def stand_by(guest: int) -> None:
    """Pass interrupts on to the guest, and end with it or with the host."""
    signal.signal(signal.SIGINT, lambda *_: os.kill(guest, signal.SIGINT))
    os.close(1)
    host = select.poll()
    host.register(0, 0)
    while not host.poll(LOOK_MS):
        ended, status = os.waitpid(guest, os.WNOHANG)
        if ended:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    os._exit(0)


def main() -> None:
    """Serve the host on standard input and output."""
    child = os.fork()
    if child:
        stand_by(child)
    gc.disable()
    size = int.from_bytes(read_exactly(0, 8), "little")
    ours = json.loads(read_exactly(0, size))
    modules: Modules = {name: (source, name == "guest") for name, source in ours.items()}
    sys.meta_path.append(Sources(standard_library(os.path.dirname(os.__file__)) | modules))  # noqa: PTH120 - likewise
    # They can be found only now.
    guest = __import__("guest.main")
    guest.main.Guest(guest.lines.line_on([0, 1])).serve()


if __name__ == "__main__":
    main()
