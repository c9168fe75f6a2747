"""What code defines, and where: `outline` of a file, `symbols` of all of them."""

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from ..contexts import present

try:
    import regex
except ImportError:  # the Python of a container's image has none
    import re as regex

__all__ = ["outline", "symbols"]
SHOWN = ("outline",)
LISTED = 300
_TYPES = r"(?:class|interface|struct|enum|trait|union|protocol|namespace|module|type|impl|record)"
_FUNCTIONS = r"(?:function\*?|func|fn|def|fun|sub|macro_rules!)"
# A word that defines, then a name; or, as C and Java have it, a type, a name and an open brace.
_DEFINES = regex.compile(
    rf"^(?P<indent>[ \t]*)(?:(?:export|default|public|private|protected|internal|static|final|"
    rf"abstract|async|pub(?:\([^)]*\))?|unsafe|const|extern|inline|virtual|override|sealed)\s+)*"
    rf"(?:(?P<kind>{_TYPES}|{_FUNCTIONS})\s+(?:\([^)]*\)\s*)?(?P<name>[\w.$]+)"
    rf"|(?:const|let|var)\s+(?P<value>[\w$]+)\s*=\s*(?:async\s*)?(?:function|\([^)]*\)\s*=>|\w+\s*=>)"
    rf"|(?!(?:return|else|if|for|while|switch|new|throw)\b)[\w:<>,*&\[\]~]+[\s*&]+(?P<plain>[\w:~]+)"
    rf"\s*\([^;{{}}]*\)\s*(?:const\s*)?\{{)",
    regex.MULTILINE,
)
_HEADING = regex.compile(r"^(?P<kind>#{1,6})[ \t]+(?P<name>\S.*?)[ \t#]*$", regex.MULTILINE)


class Symbol(NamedTuple):
    """A definition: its file, first and last line (the same where the end is not known)."""

    path: str
    first: int
    last: int
    kind: str
    name: str
    summary: str = ""

    def __repr__(self) -> str:
        lines = f"{self.first}" if self.last == self.first else f"{self.first}-{self.last}"
        summary = f"  {self.summary}" if self.summary else ""
        return f"{self.path}:{lines}: {self.kind} {self.name}{summary}"


class Symbols(list[Symbol]):
    """Definitions; prints one a line."""

    def __repr__(self) -> str:
        rest = len(self) - LISTED
        more = [f"[{LISTED:,} of {len(self):,}]"] if rest > 0 else []
        return "\n".join([*map(repr, self[:LISTED]), *more]) or "no definitions found"


def outline(path: str) -> Symbols:
    """Classes, functions and headings of a file, with their lines.

    Python is parsed; other languages are read by pattern, where the last line is not known.
    """
    return Symbols(_defined(path, present.context.files.require(path)))


def symbols(name: str, glob: str | None = None) -> Symbols:
    """Where a class, function or heading of that name is defined.

    Looks in all files, or in those that `glob` names.
    """
    files = present.context.files if glob is None else present.context.files(glob)
    found = Symbols()
    for path, text in files.items():
        if name in text:
            found += [s for s in _defined(path, text) if s.name.rpartition(".")[2] == name]
    return found


def _defined(path: str, text: str) -> Iterator[Symbol]:
    suffix = PurePosixPath(path).suffix
    if suffix in {".py", ".pyi"}:
        try:
            yield from _of_python(path, ast.parse(text), "")
        except (SyntaxError, ValueError, RecursionError):
            pass
        else:
            return
    pattern = _HEADING if suffix in {".md", ".rst", ".txt"} else _DEFINES
    position, line = 0, 1
    for hit in pattern.finditer(text):
        named = hit.groupdict()
        start = hit.end("indent") if "indent" in named else hit.start()
        line += text.count("\n", position, start)
        position = start
        name = named["name"] or named.get("value") or named.get("plain")
        yield Symbol(path, line, line, named["kind"] or "function", name)


def _of_python(path: str, tree: ast.AST, within: str) -> Iterator[Symbol]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kind = "class" if isinstance(node, ast.ClassDef) else "def"
            name = f"{within}{node.name}"
            summary = (ast.get_docstring(node) or "").partition("\n")[0][:100]
            first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
            yield Symbol(path, first, node.end_lineno or first, kind, name, summary)
            yield from _of_python(path, node, f"{name}.")
        elif not isinstance(node, ast.expr):
            yield from _of_python(path, node, within)
