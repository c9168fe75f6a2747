"""What Python sources say of themselves, by `ast`: definitions, imports, bases, calls."""

import ast
import gc
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

T = TypeVar("T")
Def = ast.FunctionDef | ast.AsyncFunctionDef
_BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)


@dataclass(frozen=True, slots=True)
class Definition:
    """A class or function of a file; `name` is dotted: Class.method, outer.inner."""

    path: str
    name: str
    node: Def | ast.ClassDef

    @property
    def bare(self) -> str:
        """The name in its own scope."""
        return self.node.name

    @property
    def lines(self) -> tuple[int, int, int]:
        """The first line with decorators, that of the name, and the last."""
        decorators = [mark.lineno for mark in self.node.decorator_list]
        last = self.node.end_lineno or self.node.lineno
        return min([self.node.lineno, *decorators]), self.node.lineno, last

    @property
    def evidence(self) -> tuple[str, int, int]:
        """Its place: path, first and last line."""
        first, _, last = self.lines
        return self.path, first, last


class Module:
    """A parsed file. Raises SyntaxError if it is no Python."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        with warnings.catch_warnings(action="ignore"):
            self.tree = ast.parse(text)
        parts = path.removesuffix(".py").split("/")
        self.is_package = parts[-1] == "__init__"
        self.dotted = ".".join(parts[:-1] if self.is_package else parts)
        self.definitions = list(_definitions(path, self.tree, ""))

    @cached_property
    def functions(self) -> list[tuple[Definition, Def]]:
        """Every function and method, with its node."""
        return [(d, d.node) for d in self.definitions if not isinstance(d.node, ast.ClassDef)]

    @cached_property
    def classes(self) -> list[tuple[Definition, ast.ClassDef]]:
        """Every class, with its node."""
        return [(d, d.node) for d in self.definitions if isinstance(d.node, ast.ClassDef)]

    @cached_property
    def statements(self) -> list[ast.AST]:
        """Every statement and handler."""
        return list(statements_in(self.tree, own=False))

    @cached_property
    def imports(self) -> list[tuple[str, int]]:
        """Absolute names of what is imported anywhere in it, as `import` says it, and the line."""
        found = []
        for node in self.statements:
            if isinstance(node, ast.Import):
                found += [(alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append((self.origin(node), node.lineno))
        return found

    @cached_property
    def bindings(self) -> dict[str, tuple[str, str | None]]:
        """Name -> the module it stands for, or the module and the name in it; "*" is not here."""
        bound: dict[str, tuple[str, str | None]] = {}
        for node in self.statements:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    whole = alias.name if alias.asname else alias.name.partition(".")[0]
                    bound[alias.asname or whole] = whole, None
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    bound[alias.asname or alias.name] = self.origin(node), alias.name
        bound.pop("*", None)
        return bound

    @cached_property
    def stars(self) -> list[str]:
        """Modules of which it imports everything."""
        return [
            self.origin(node)
            for node in self.statements
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
        ]

    def origin(self, node: ast.ImportFrom) -> str:
        """The absolute name of the module that a `from` names."""
        if not node.level:
            return node.module or ""
        parts = self.dotted.split(".")
        kept = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*kept, *([node.module] if node.module else [])])


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage meanwhile: among millions of nodes it takes longer than parsing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def subclasses(modules: Iterable[Module]) -> dict[tuple[str, str], set[tuple[str, str]]]:
    """(path, class) -> those that have it as a base, resolved through imports, in these modules."""
    by_name = {module.dotted: module for module in modules}
    found: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for module in by_name.values():
        for defined, node in module.classes:
            for written in node.bases:
                for origin in _resolved(by_name, module, ast.unparse(written), set()):
                    found[origin].add((defined.path, defined.name))
    return found


def closure(of: T, direct: Mapping[T, set[T]]) -> set[T]:
    """All that can be reached from one by going from each to what it leads to directly."""
    found: set[T] = set()
    left = [of]
    while left:
        new = direct.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def _resolved(
    by_name: Mapping[str, Module], module: Module, written: str, seen: set[tuple[str, str]]
) -> set[tuple[str, str]]:
    """The classes that a dotted name means in a module."""
    if (module.dotted, written) in seen:
        return set()
    seen.add((module.dotted, written))
    own = {(d.path, d.name) for d, _ in module.classes if d.name == written}
    if own:
        return own
    first, _, rest = written.partition(".")
    if first in module.bindings:
        origin, name = module.bindings[first]
        # What is imported from a package may be a module of it.
        if name is not None and f"{origin}.{name}" in by_name:
            origin, name = f"{origin}.{name}", None
        wanted = ".".join(part for part in (name, rest) if part)
        while wanted.partition(".")[0] and f"{origin}.{wanted.partition('.')[0]}" in by_name:
            step, _, wanted = wanted.partition(".")
            origin = f"{origin}.{step}"
        if origin in by_name and wanted:
            return _resolved(by_name, by_name[origin], wanted, seen)
        return set()
    through = (by_name[star] for star in module.stars if star in by_name)
    return set().union(*(_resolved(by_name, star, written, seen) for star in through))


def statements_in(node: ast.AST, *, own: bool) -> Iterator[ast.AST]:
    """Statements and handlers inside a node; `own` leaves out those of definitions inside it."""
    left = _blocks(node)
    while left:
        inner = left.pop()
        yield inner
        if not (own and isinstance(inner, Def | ast.ClassDef)):
            left += _blocks(inner)


def _blocks(node: ast.AST) -> list[ast.AST]:
    """The statements, handlers and cases right inside a node, those that come last first."""
    found: list[ast.AST] = []
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        found += getattr(node, field, ())
    return found[::-1]


def raised(function: Def) -> set[str] | None:
    """Names of the exceptions it raises itself; None if it raises what is no plain class."""
    names = set()
    for node in statements_in(function, own=True):
        if isinstance(node, ast.Raise) and node.exc is not None:
            what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(what).rpartition(".")[2]
            if not isinstance(what, ast.Name | ast.Attribute) or not name[:1].isupper():
                return None
            names.add(name)
    return names


def branches(function: Def) -> int:
    """How many `if`, `elif`, `for`, `while` and `except` it has, functions inside it included."""
    return sum(isinstance(node, _BRANCHES) for node in statements_in(function, own=False))


def parameters(function: Def) -> int:
    """How many parameters it takes: self, *args and **kwargs are one each."""
    named = function.args
    stars = (named.vararg is not None) + (named.kwarg is not None)
    return len(named.posonlyargs) + len(named.args) + len(named.kwonlyargs) + stars


def defaults(function: Def) -> dict[str, ast.expr]:
    """Parameter -> its default, where it has one."""
    plain = [*function.args.posonlyargs, *function.args.args]
    given = function.args.defaults
    found = dict(zip([arg.arg for arg in plain[len(plain) - len(given) :]], given, strict=True))
    for arg, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if default is not None:
            found[arg.arg] = default
    return found


def calls(module: Module) -> dict[str, set[str]]:
    """Function of a module's top level -> those of the same kind that its body calls by name."""
    top = {node.name: node for node in module.tree.body if isinstance(node, Def)}
    return {
        name: {
            inner.func.id
            for inner in ast.walk(node)
            if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name)
        }
        & top.keys()
        for name, node in top.items()
    }


def _definitions(path: str, tree: ast.AST, within: str) -> Iterator[Definition]:
    for node in reversed(_blocks(tree)):
        if isinstance(node, Def | ast.ClassDef):
            yield Definition(path, f"{within}{node.name}", node)
            yield from _definitions(path, node, f"{within}{node.name}.")
        else:
            yield from _definitions(path, node, within)
