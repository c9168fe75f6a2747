"""Reading a cell's source before Monty runs it: what it binds, and its last expression."""

import ast

VALUE = "_rlm_value"


def bound_names(code: str) -> list[str]:
    """The names that the cell may bind for the cells after it, but for modules, in order."""
    tree = _parsed(code)
    if tree is None:
        return []
    found: dict[str, None] = {}
    for node in tree.body:
        _collect(node, found)
    return list(found)


def with_value(code: str) -> str:
    """The same cell, whose last statement binds VALUE if it is an expression; lines stay lines."""
    tree = _parsed(code)
    last = tree.body[-1] if tree and tree.body else None
    if not isinstance(last, ast.Expr):
        return code
    lines = code.encode().split(b"\n")
    assert last.end_lineno
    assert last.end_col_offset is not None
    _insert(lines, last.end_lineno, last.end_col_offset, b")")
    _insert(lines, last.lineno, last.col_offset, f"{VALUE} = (".encode())
    return b"\n".join(lines).decode()


def _parsed(code: str) -> ast.Module | None:
    # What Monty cannot read either, it says itself. Lines are counted by `\n` alone.
    if "\r" in code or "\f" in code:
        return None
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _insert(lines: list[bytes], number: int, column: int, text: bytes) -> None:
    line = lines[number - 1]
    lines[number - 1] = line[:column] + text + line[column:]


def _collect(node: ast.AST, found: dict[str, None]) -> None:
    """Names bound in the cell's own scope, and those that a function declares global."""
    if isinstance(node, ast.Global):
        found |= dict.fromkeys(node.names)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        found[node.id] = None
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        found[node.name] = None
        for inner in ast.walk(node):
            if isinstance(inner, ast.Global):
                found |= dict.fromkeys(inner.names)
    elif isinstance(node, ast.ImportFrom):
        found |= dict.fromkeys(alias.asname or alias.name for alias in node.names)
    elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        found[node.name] = None
    if not isinstance(
        node,
        ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.comprehension,
    ):
        for inner in ast.iter_child_nodes(node):
            _collect(inner, found)
