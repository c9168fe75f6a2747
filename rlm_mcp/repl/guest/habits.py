"""Code as models are used to writing it elsewhere, mended where it is plain what is meant.

Notebooks await at the top level and have shell lines, other harnesses import what is given here,
and word processors turn quotes. What was changed in the text itself is said.
"""

import ast
import sys
from collections.abc import Callable, Collection
from typing import Any

AWAITED = "_awaited"
_QUOTES = str.maketrans("“”„‟‘’‚‛", "\"\"\"\"''''")
_OURS = frozenset({"repl", "rlm", "rlm_mcp", "tools", "helpers", "llm", "environment"})
_STANDARD = sys.stdlib_module_names
# Bound once: code may patch these modules.
_compile, _TREE, _AST, _copied = compile, ast.PyCF_ONLY_AST, ast.AST, ast.copy_location
_Await, _Import, _ImportFrom, _Pass = ast.Await, ast.Import, ast.ImportFrom, ast.Pass
_Assign, _Name, _Call, _Tuple, _Load, _Store = (
    ast.Assign, ast.Name, ast.Call, ast.Tuple, ast.Load, ast.Store,
)  # fmt: skip


def tree_of(code: str, name: str, offered: Collection[str]) -> tuple[Any, list[str]]:
    """The syntax tree of a cell, and words on what was changed in its text.

    `offered` are names that need no import.

    Raises:
        SyntaxError, ValueError: it is no Python, and it is not plain what is meant.
    """
    notes: list[str] = []
    try:
        tree = _compile(code, name, "exec", _TREE, dont_inherit=True)
    except SyntaxError:
        mended = _mended(code, notes)
        if mended == code:
            raise
        try:
            tree = _compile(mended, name, "exec", _TREE, dont_inherit=True)
        except SyntaxError:
            tree = None
        if tree is None:
            raise
    if "await" in code:
        tree = _changed(tree, _without_await)
    if "import" in code:
        tree = _changed(tree, lambda node: _without_import(node, offered))
    return tree, notes


def hint_on(raised: BaseException) -> str | None:
    """What to do about an error that comes of a habit, None if it does not."""
    if isinstance(raised, ModuleNotFoundError):
        return "Only Python's standard library is here, and nothing can be installed."
    if isinstance(raised, NameError) and raised.name in _STANDARD:
        return f"Write `import {raised.name}` first."
    if isinstance(raised, TypeError | ValueError) and "coroutine was expected" in str(raised):
        return "llm_query and its kind are no coroutines: call them without await or asyncio.run."
    return None


def awaited(value: Any) -> Any:
    """What awaiting a value gives, where nothing else runs meanwhile; a value stays as it is."""
    if not hasattr(value, "send"):
        return value
    try:
        while True:
            value.send(None)
    except StopIteration as ended:
        return ended.value


def _mended(code: str, notes: list[str]) -> str:
    lines = code.split("\n")
    for number, line in enumerate(lines):
        start = line.lstrip()
        if start.startswith(("!", "%")):
            indent = line[: len(line) - len(start)]
            lines[number] = f"{indent}pass"
            notes.append(f"[left out: `{start[:60]}`; there is no shell here]")
    straight = "\n".join(lines).translate(_QUOTES)
    if straight != "\n".join(lines):
        notes.append("[typographic quotes were read as plain ones]")
    return straight


def _changed(node: Any, change: Callable[[Any], Any]) -> Any:
    """A tree with every node, the inner ones first, replaced by what `change` gives for it."""
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            value[:] = [
                _changed(each, change) if isinstance(each, _AST) else each for each in value
            ]
        elif isinstance(value, _AST):
            setattr(node, name, _changed(value, change))
    return change(node)


def _without_await(node: Any) -> Any:
    """`await x` becomes `_awaited(x)`: the calls of this REPL wait by themselves."""
    if not isinstance(node, _Await):
        return node
    return _copied(_Call(_copied(_Name(AWAITED, _Load()), node), [node.value], []), node)


def _without_import(node: Any, offered: Collection[str]) -> Any:
    """An import of what is given anyway becomes nothing, or other names for it."""
    if isinstance(node, _ImportFrom):
        root = (node.module or "").partition(".")[0]
        if node.level or root in _STANDARD:
            return node
        if root in _OURS and node.names[0].name == "*":
            return _copied(_Pass(), node)
    elif not isinstance(node, _Import):
        return node
    if not all(alias.name in offered for alias in node.names):
        return node
    others = [alias for alias in node.names if alias.asname]
    if not others:
        return _copied(_Pass(), node)
    # One statement takes the place of one: `a, b = x, y`.
    targets: list[Any] = [_copied(_Name(alias.asname, _Store()), node) for alias in others]
    values: list[Any] = [_copied(_Name(alias.name, _Load()), node) for alias in others]
    both = _copied(_Tuple(targets, _Store()), node), _copied(_Tuple(values, _Load()), node)
    return _copied(_Assign([both[0]], both[1]), node)
