"""Find the fenced blocks of a reply and the Python in them.

Fences are those of CommonMark (spec 0.31, section 4.5), read more kindly: models indent them,
forget to close them, close them behind the last word of code, and write fences inside of strings.
"""

import ast
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

PYTHON_TAGS = frozenset(
    {"repl", "python", "py", "python3", "python-repl", "ipython", "tool_code", "pycon", "code"}
)
FILLER = "\0"

# A block that never parses must not cost the square of the reply: so much is looked at in each.
MARKS_TRIED = 16
CLOSINGS_TRIED = 8

_ANY_PYTHON_TAG = "|".join(sorted(PYTHON_TAGS, key=len, reverse=True))
_OPENING = re.compile(
    r"^(?P<indent>[ \t]*(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?)(?P<mark>`{3,}+|~{3,}+)"
    r"(?:\{?\.?(?P<tag>[\w+#-]++)(?:(?:[ \t:,{}]|\.\w)[^`\n]*+)?"
    r"|[ \t]+(?P<spaced>[\w+-]++)|)[ \t]*$"
    rf"|(?<![`\s>])[ \t]*(?P<late>(?<!`)`{{3,}}+)(?P<late_tag>{_ANY_PYTHON_TAG})[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_NESTED = re.compile(rf"(?:[\w+#-]+|[ \t]+(?:{_ANY_PYTHON_TAG}))[ \t]*", re.IGNORECASE)
_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block: its place in the reply, its tag in lower case, its text without indent."""

    start: int
    end: int
    tag: str
    body: str


def find_fences(text: str, start: int = 0) -> Iterator[Fence]:
    """The blocks of a text, in order and one at a time, from `start` on."""
    while (opening := _OPENING.search(text, start)) is not None:
        tag = (opening["tag"] or opening["spaced"] or opening["late_tag"] or "").lower()
        body, end = _body(text, opening, tag)
        at = opening.start("late") if opening["late"] else opening.start()
        yield Fence(at, end, tag, body)
        start = end


def blank_out(text: str, fences: Iterable[Fence]) -> str:
    """The text with fillers in place of its blocks, so that all offsets stay."""
    parts, position = [], 0
    for fence in fences:
        parts += [text[position : fence.start], FILLER * (fence.end - fence.start)]
        position = fence.end
    return "".join([*parts, text[position:]])


def python_in(fences: Iterable[Fence]) -> tuple[str, ...]:
    """The code to run: that of Python blocks, or, if there is none, of blocks without a tag.

    A block without a tag may be an example or output: it counts only if it parses and does
    something.
    """
    blocks = [fence for fence in fences if fence.body.strip()]
    tagged = tuple(fence.body for fence in blocks if fence.tag in PYTHON_TAGS)
    return tagged or tuple(
        fence.body for fence in blocks if not fence.tag and _acts(syntax_of(fence.body))
    )


def syntax_of(code: str) -> ast.Module | None:
    """The syntax tree, or None if this is not Python."""
    # Python warns about "\d" when it parses; that is for the model's code to see, not for us.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _acts(tree: ast.Module | None) -> bool:
    """Whether code does more than name a value. `Answer: yes` is an annotation to Python."""
    return tree is not None and any(
        any(isinstance(node, (ast.Call, ast.Await, ast.NamedExpr)) for node in ast.walk(statement))
        if isinstance(statement, ast.Expr)
        else not (isinstance(statement, ast.AnnAssign) and statement.value is None)
        for statement in tree.body
    )


def _body(text: str, opening: re.Match[str], tag: str) -> tuple[str, int]:
    """The block's text and the place behind its closing mark.

    Code may hold fences of its own inside a string. So the end is the first closing mark behind
    which the code parses, where a tagged fence inside takes its own closing mark with it. If none
    is good, it is the first closing mark; a block never closed ends at the next tagged fence.
    """
    start = min(opening.end() + 1, len(text))
    indent = len(opening["indent"] or "")
    closing = _closing_mark(opening["mark"] or opening["late"])
    marks = list(islice(closing.finditer(text, start), MARKS_TRIED))
    alone: list[tuple[int, int]] = []
    inline: list[tuple[int, int]] = []
    openings: list[tuple[int, int]] = []
    nested = 0
    for mark in marks:
        if mark["alone"] and _NESTED.fullmatch(mark["rest"]):
            nested += 1
            openings.append((mark.start(), mark.start()))
        elif nested:
            nested -= 1
        elif mark["alone"]:
            alone.append((mark.start(), mark.end("alone")))
        else:
            inline.append((mark.start(), mark.end()))
    last = (len(text), len(text))
    if not tag or tag in PYTHON_TAGS:
        to_the_end = [last] if len(marks) < MARKS_TRIED else []
        for end, behind in sorted(alone + inline)[:CLOSINGS_TRIED] + to_the_end:
            body = _unindented(text[start:end], indent)
            if syntax_of(body) is not None:
                return body, behind
            if (end, behind) in alone and '"""' not in body and "'''" not in body:
                break
    end, behind = [*alone, *inline, *openings, last][0]
    return _unindented(text[start:end], indent), behind


def _closing_mark(mark: str) -> re.Pattern[str]:
    """Marks that may close a block: at the start of a line with words behind it or not, or last."""
    same = rf"{mark[0]}{{{len(mark)},}}+"
    return re.compile(
        rf"^[ \t]*(?P<alone>{same})(?P<rest>[^\n]*)$|(?<!{mark[0]}){same}[ \t]*$", re.MULTILINE
    )


def _unindented(body: str, indent: int) -> str:
    """The body without its fence's indent, and, of a transcript, only what stood at the prompts."""
    first = body.lstrip("\n")
    margin = min(indent, len(first) - len(first.lstrip(" \t")))
    if margin:
        body = re.sub(rf"^[ \t]{{1,{margin}}}", "", body, flags=re.MULTILINE)
    if all(line[:1] in {" ", "\t", ""} for line in body.split("\n")):
        body = textwrap.dedent(body)  # its fence lost its own indent
    if body.lstrip().startswith(">>>"):
        lines = [_PROMPT.sub("", line) for line in body.splitlines() if _PROMPT.match(line)]
        body = "\n".join([*lines, ""])
    return body
