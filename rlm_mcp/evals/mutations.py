"""A copy of sources with facts changed, so that who knows the original by heart is of no help.

Renamed functions and classes, other defaults, other exceptions, more imports, bare excepts. Every
file still parses, and a name is changed wherever it stands, in strings and comments too.
"""

import ast
import builtins
import keyword
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from rlm_mcp.evals.code_facts import Def, Module, defaults, statements_in, uncollected

# The share of all places where a fact of a kind can be changed that is changed.
SHARES = {"rename": 1 / 3, "default": 1 / 3, "raise": 1 / 3, "import": 1 / 4, "except": 1 / 6}
LEAST_NAME_CHARS = 5
LONGEST_DEFAULT_CHARS = 20
_WORD = re.compile(r"[^\W\d]\w*")
_ERRORS = (
    "ValueError", "TypeError", "RuntimeError", "KeyError", "IndexError", "LookupError", "OSError",
    "AttributeError", "ArithmeticError", "NotImplementedError", "PermissionError", "BufferError",
    "TimeoutError", "EOFError", "OverflowError", "AssertionError",
)  # fmt: skip
_FIRST = (
    "amber", "brisk", "cedar", "dusty", "eager", "fabled", "glassy", "hollow", "inner", "jagged",
    "keen", "lunar", "mellow", "narrow", "oaken", "plain", "quiet", "rustic", "silent", "tidal",
    "upper", "velvet", "woven", "young", "zonal", "broad", "copper", "distant", "early", "faint",
    "gentle", "humble", "ivory", "level", "mossy", "noble", "open", "pale", "ready", "sober",
)  # fmt: skip
_SECOND = (
    "anchor", "basin", "canal", "delta", "ember", "ferry", "garden", "harbor", "island", "jetty",
    "kettle", "lantern", "meadow", "needle", "orchard", "pillar", "quarry", "river", "saddle",
    "tunnel", "urn", "valley", "willow", "yard", "beacon", "cradle", "drum", "engine", "furrow",
    "gable", "hinge", "kiln", "ladder", "mill", "oar", "plank", "ridge", "spindle", "trellis",
    "wharf",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutation:
    """One changed fact. `name` is the dotted name of what it is about, as it is in the copy.

    `kind` is one of `SHARES`; `about` the parameter of a default; `was` and `now` source text.
    """

    kind: str
    path: str
    name: str
    was: str
    now: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class _Edit:
    """Bytes to put in the place of others."""

    start: int
    end: int
    fact: Mutation
    text: str


@uncollected()
def mutated(
    documents: Mapping[str, str], seed: int
) -> tuple[dict[str, str], tuple[Mutation, ...], dict[str, Module]]:
    """The copy, what was changed, and the copy parsed.

    Raises:
        SyntaxError: a document is no Python.
    """
    rng = random.Random(f"mutations {seed}")
    original = {path: Module(path, text) for path, text in documents.items()}
    imported = {name for module in original.values() for name, _ in module.imports}
    wanted = sorted(name for name in imported if name.isidentifier())
    edits = {
        path: list(_chosen(list(_edits(original[path], text, wanted, rng)), rng))
        for path, text in documents.items()
    }
    names = _renames(original, documents, rng)
    copy: dict[str, str] = {}
    modules: dict[str, Module] = {}
    facts: list[Mutation] = []
    for path, text in documents.items():
        copy[path] = _renamed(_applied(text, edits[path]), names)
        try:
            modules[path] = Module(path, copy[path])
        except SyntaxError:
            copy[path], edits[path] = _renamed(text, names), []
            modules[path] = Module(path, copy[path])
        facts += [
            replace(e.fact, name=_renamed(e.fact.name, names), now=_renamed(e.fact.now, names))
            for e in edits[path]
        ]
        facts += [
            Mutation("rename", path, _renamed(d.name, names), d.bare, names[d.bare])
            for d in original[path].definitions
            if d.bare in names
        ]
    return copy, tuple(facts), modules


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return _WORD.sub(lambda word: names.get(word[0], word[0]), text)


def _renames(
    original: Mapping[str, Module], documents: Mapping[str, str], rng: random.Random
) -> dict[str, str]:
    """Old name -> new name of a share of all names that are defined once."""
    defined = Counter(d.bare for module in original.values() for d in module.definitions)
    modules = {part for module in original.values() for part in module.dotted.split(".")}
    fixed = modules | set(sys.stdlib_module_names) | set(dir(builtins)) | set(keyword.kwlist)
    once = [
        name
        for name, count in defined.items()
        if count == 1
        and len(name) >= LEAST_NAME_CHARS
        and name not in fixed
        and not name.startswith("__")
    ]
    chosen = rng.sample(once, round(len(once) * SHARES["rename"]))
    taken = fixed.union(*(_WORD.findall(text) for text in documents.values()))
    pool = [(first, second) for first in _FIRST for second in _SECOND]
    rng.shuffle(pool)
    names: dict[str, str] = {}
    for number, old in enumerate(chosen):
        words = [
            *pool[number % len(pool)],
            *([str(number // len(pool))] if number >= len(pool) else []),
        ]
        new = _in_style(old, words)
        if new not in taken:
            taken.add(new)
            names[old] = new
    return names


def _in_style(old: str, words: list[str]) -> str:
    """Words joined as those of the old name are."""
    lead = old[: len(old) - len(old.lstrip("_"))]
    if old.lstrip("_")[:1].isupper():
        return lead + "".join(word.capitalize() for word in words)
    return lead + "_".join(words)


def _chosen(edits: list[_Edit], rng: random.Random) -> Iterator[_Edit]:
    end = -1
    for edit in sorted(edits, key=lambda edit: edit.start):
        if edit.start >= end and rng.random() < SHARES[edit.fact.kind]:
            yield edit
            end = edit.end


def _applied(text: str, edits: list[_Edit]) -> str:
    encoded = text.encode()
    for edit in reversed(edits):
        encoded = encoded[: edit.start] + edit.text.encode() + encoded[edit.end :]
    return encoded.decode()


def _edits(module: Module, text: str, wanted: list[str], rng: random.Random) -> Iterator[_Edit]:
    """Every change of a file that is possible, in no order."""
    starts = [0]
    encoded = text.encode()
    for line in encoded.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)

    def edit(node: ast.expr, fact: Mutation) -> _Edit:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        end = starts[node.end_lineno - 1] + node.end_col_offset
        return _Edit(starts[node.lineno - 1] + node.col_offset, end, fact, fact.now)

    for defined, function in module.functions:
        for name, default in defaults(function).items():
            other = _other_value(default, rng)
            if other:
                now = Mutation(
                    "default", module.path, defined.name, ast.unparse(default), other, name
                )
                yield edit(default, now)
        for node in _raises(function):
            other = rng.choice([error for error in _ERRORS if error != node.id])
            yield edit(node, Mutation("raise", module.path, defined.name, node.id, other))
    for clause, caught in _typed_handlers(module):
        start = starts[clause.lineno - 1] + clause.col_offset + len("except")
        whole = edit(caught, Mutation("except", module.path, "", ast.unparse(caught), ""))
        if encoded[start : whole.start] == b" " and encoded[whole.end : whole.end + 1] == b":":
            yield replace(whole, start=start)
    yield from _new_import(module, starts, wanted, rng)


def _raises(function: Def) -> Iterator[ast.Name]:
    for node in statements_in(function, own=True):
        if isinstance(node, ast.Raise) and node.exc is not None:
            what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(what, ast.Name) and what.id in _ERRORS:
                yield what


def _typed_handlers(module: Module) -> Iterator[tuple[ast.ExceptHandler, ast.expr]]:
    """Handlers that may stand without their type: the last of a `try`, and without a name."""
    for node in module.statements:
        if isinstance(node, ast.Try) and node.handlers:
            last = node.handlers[-1]
            if last.type is not None and last.name is None:
                yield last, last.type


def _new_import(
    module: Module, starts: list[int], wanted: list[str], rng: random.Random
) -> Iterator[_Edit]:
    """An import of a module that the file has none of, above its first import."""
    has = {name.partition(".")[0] for name, _ in module.imports} | {module.dotted}
    new = [name for name in wanted if name not in has]
    first = next(
        (
            node
            for node in module.tree.body
            if isinstance(node, ast.Import)
            or (isinstance(node, ast.ImportFrom) and node.module != "__future__")
        ),
        None,
    )
    if new and first is not None and first.col_offset == 0:
        name = rng.choice(new)
        start = starts[first.lineno - 1]
        yield _Edit(start, start, Mutation("import", module.path, "", "", name), f"import {name}\n")


def _other_value(default: ast.expr, rng: random.Random) -> str:
    """Source of another value of a literal's type; "" where it has none that is as likely."""
    if not isinstance(default, ast.Constant):
        return ""
    value = default.value
    if isinstance(value, bool):
        return repr(not value)
    if isinstance(value, int):
        return repr(value * 2 + rng.randint(1, 9))
    if isinstance(value, float):
        return repr(value * 2 + rng.randint(1, 9) / 2)
    if isinstance(value, str) and value.isidentifier() and len(value) <= LONGEST_DEFAULT_CHARS:
        return repr(rng.choice([word for word in _SECOND if word != value]))
    return ""
