"""Code as models are used to writing it elsewhere, mended where it is plain what is meant.

Notebooks await at the top level and have shell lines, other harnesses import what is given here,
and word processors turn quotes. What was changed in the text itself is said.
"""

import ast
import re
import sys
from collections.abc import Callable, Collection
from typing import Any

AWAITED = "_awaited"
PROSE_LINES = 4
_PROSE = re.compile(r"[ \t]*[A-Z*#>-][^=(){}\[\]]*\s[^=(){}\[\]]*[.:!?*]?\s*")
_PRINTED = re.compile(r"\s*(?:FINAL[_ ]ANSWER\s*(?::|(?P<call>\())|FINAL\s*(?P<open>\())\s*")
_QUOTES = str.maketrans("“”„‟‘’‚‛", "\"\"\"\"''''")
_OURS = frozenset({"repl", "rlm", "rlm_mcp", "tools", "helpers", "llm", "environment"})
_STANDARD = sys.stdlib_module_names
# Bound once: code may patch these modules.
_compile, _TREE, _AST, _copied = compile, ast.PyCF_ONLY_AST, ast.AST, ast.copy_location
_Await, _Import, _ImportFrom, _Pass = ast.Await, ast.Import, ast.ImportFrom, ast.Pass
_Assign, _Name, _Call, _Tuple, _Load, _Store, _Constant, _JoinedStr = (
    ast.Assign, ast.Name, ast.Call, ast.Tuple, ast.Load, ast.Store, ast.Constant, ast.JoinedStr,
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
    if "print" in code and "FINAL" in code:
        tree = _changed(tree, lambda node: _without_printed_final(node, notes))
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
    return _without_prose(straight, notes)


def _without_prose(code: str, notes: list[str]) -> str:
    """The code without words behind it, where it is Python without them."""
    lines = code.rstrip().split("\n")
    for kept in range(len(lines) - 1, max(0, len(lines) - 1 - PROSE_LINES), -1):
        if lines[kept].strip() and not _PROSE.fullmatch(lines[kept]):
            break
        left = "\n".join(lines[:kept])
        try:
            _compile(left, "", "exec", _TREE, dont_inherit=True)
        except SyntaxError:
            continue
        if left.strip():
            notes.append(f"[left out: `{lines[kept].strip()[:60]}`; it is no code]")
            return left
    return code


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


def _without_printed_final(node: Any, notes: list[str]) -> Any:
    """`print("FINAL(42)")` becomes `FINAL("42")`: only what the code itself says, no text it read.

    What is printed may be an f-string.
    """
    if not (isinstance(node, _Call) and len(node.args) == 1 and isinstance(node.func, _Name)):
        return node
    said = node.args[0]
    parts = said.values if isinstance(said, _JoinedStr) else [said]
    first: Any = parts[0] if parts else None
    last: Any = parts[-1] if parts else None
    if node.func.id != "print" or not _is_text(first) or not (found := _PRINTED.match(first.value)):
        return node
    closing = ")" if found["call"] or found["open"] else ""
    if closing and not (_is_text(last) and last.value.rstrip().endswith(closing)):
        return node
    first.value = first.value[found.end() :]
    if _is_text(last):
        last.value = last.value.rstrip().removesuffix(closing).rstrip()
    node.func.id = "FINAL"
    notes.append("[the FINAL that was printed was called]")
    return node


def _is_text(node: Any) -> bool:
    return isinstance(node, _Constant) and isinstance(node.value, str)


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
