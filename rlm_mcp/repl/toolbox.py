"""What a guest's helpers are, for the model: read from their sources, which the host never runs."""

import ast
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "guest" / "helpers"


@cache
def shown() -> tuple[str, ...]:
    """A line for each helper that a model is told of at the start: signature and summary."""
    lines: list[str] = []
    for source in sorted(FOLDER.glob("[a-z]*.py")):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        lines += [_line(functions[name]) for name in _names(tree)]
    return tuple(lines)


def _names(tree: ast.Module) -> tuple[str, ...]:
    """The value of `SHOWN`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SHOWN":
            names: tuple[str, ...] = ast.literal_eval(node.value)
            return names
    return ()


def _line(function: ast.FunctionDef) -> str:
    for argument in (*function.args.args, *function.args.kwonlyargs):
        argument.annotation = None
    summary = (ast.get_docstring(function) or "").partition("\n")[0]
    return f"{function.name}({ast.unparse(function.args)}): {summary}"
