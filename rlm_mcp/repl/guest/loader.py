"""The first code a guest runs, given to `python -c`: from here on imports read one mapped file.

The file holds code objects of the standard library, of `regex` and of this package, so that a guest
without a file system can still import. `repl/program.py` writes it.

    file = index_length:u64 index code*
    index = marshal of {name: (offset, size, is_package)} and {name: path of an extension module}
"""

import gc
import marshal
import mmap
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader, spec_from_file_location
from types import ModuleType
from typing import Any


class Program:
    """An importer that finds every module of the program's file in memory."""

    def __init__(self, file: int | str) -> None:
        with open(file, "rb") as opened:  # noqa: PTH123 - a descriptor, or a path
            self._pages = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        self._start = 8 + int.from_bytes(self._pages[:8], "little")
        self._modules, self.extensions = marshal.loads(self._pages[8 : self._start])  # noqa: S302 - ours

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        """As importlib asks for it."""
        if name in self.extensions:
            path = self.extensions[name]
            return spec_from_file_location(name, path, loader=ExtensionFileLoader(name, path))
        if name not in self._modules:
            return None
        loader: Any = self
        return ModuleSpec(name, loader, origin="program", is_package=self._modules[name][2])

    def create_module(self, _spec: object) -> None:
        """The default is right."""

    def exec_module(self, module: ModuleType) -> None:
        """As importlib asks for it."""
        offset, size, _ = self._modules[module.__name__]
        start = self._start + offset
        exec(marshal.loads(self._pages[start : start + size]), module.__dict__)  # noqa: S302 - ours

    def modules_of(self, package: str) -> list[str]:
        """The names of the modules in a package."""
        start = f"{package}."
        return [name[len(start) :] for name in self._modules if name.startswith(start)]


def main() -> None:
    """Arguments: the descriptors of the line joined by `:`, the program's file or descriptor."""
    # What is imported stays; looking through it for garbage would only take time.
    gc.disable()
    descriptors, program = sys.argv[1:3]
    sys.meta_path.insert(2, Program(int(program) if program.isdecimal() else program))
    # They can be found only now.
    guest = __import__("guest.main")
    line = guest.lines.line_on([*map(int, descriptors.split(":"))])
    guest.main.Guest(line).serve()


if __name__ == "__main__":
    main()
