"""Functions for code in the REPL, one module a concept; its `__all__` is what code finds by name.

A new helper is one new file here. Helpers read what is loaded from `guest.contexts.present`, are
pure, bound what they return and name path and line of what they found.
"""

import importlib
from collections.abc import Callable
from typing import Any


def functions() -> dict[str, Callable[..., Any]]:
    """Every helper by name, in the order of file names and of each file's `__all__`."""
    found: dict[str, Callable[..., Any]] = {}
    program: Any = globals()["__loader__"]
    for name in sorted(program.modules_of(__name__)):
        module = importlib.import_module(f".{name}", __name__)
        for function in module.__all__:
            found[function] = getattr(module, function)
            found[function].__module__ = "__main__"
    return found
