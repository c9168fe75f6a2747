"""Functions for code in the REPL, one module a concept; its `__all__` is what code finds by name.

A new helper is one new file here. Helpers read what is loaded from `guest.contexts.present`, are
pure, bound what they return and name path and line of what they found.
"""

import importlib
import sys
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
    found["help"] = _help_on(found)
    return found


def _help_on(found: dict[str, Callable[..., Any]]) -> Callable[..., None]:
    def help(what: Any = None) -> None:  # noqa: A001 - it takes that one's place
        """Tell what these functions do: all of them in a line each, or one in full."""
        # Costs a guest's start 5 ms, and most never ask.
        import inspect  # noqa: PLC0415

        def heading(function: Callable[..., Any]) -> str:
            parameters = inspect.signature(function).parameters.values()
            named = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
            return f"{function.__name__}{inspect.Signature(named)}"

        def summary(function: Callable[..., Any]) -> str:
            return (function.__doc__ or "").partition("\n")[0]

        function = found.get(getattr(what, "__name__", str(what)))
        if what is None:
            told = [f"{heading(f)}: {summary(f)}" for f in found.values()]
        elif function is not None:
            told = [heading(function), inspect.getdoc(function) or ""]
        else:
            told = [inspect.getdoc(what) or f"{what!r} says nothing of itself."]
        sys.stdout.write("\n".join(told) + "\n")

    help.__module__, help.__qualname__ = "__main__", "help"
    return help
