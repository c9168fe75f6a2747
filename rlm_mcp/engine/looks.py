"""What an answer rests on, as far as code and its outputs show it.

A model may say a number that it has seen nowhere, or work on the first slice of a text as if that
were all. Neither can be told from the answer itself.
"""

import ast
import functools
import re
from collections.abc import Iterable, Sequence
from itertools import islice

from rlm_mcp.engine.dialects import FUNCTIONS
from rlm_mcp.engine.fences import syntax_of
from rlm_mcp.types import Variable

Span = tuple[int, int]

# A number below this may be counted in one's head: two reasons, three files.
COUNTED_IN_HEAD = 10
# Slices up to this size are looks at a text, not work on a part of it.
LOOK_CHARS = 8_000
_PLACE = re.compile(r"(?<![\w./-])[\w./-]{1,400}+:L?\d{1,9}(?:[-–]L?\d{1,9})?")
_STATED = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
_SHOWN = re.compile(r"\d[\d,]*(?:\.\d+)?")
# Of what was shown, so many numbers are tried for a rounded one or a share.
MOST_ROUNDED = 5_000
# Beyond this an answer is a document, and its numbers are those of the text.
MOST_ANSWER_CHARS = 20_000
MOST_DIGITS = 300
_ALL_OF_IT = (FUNCTIONS | {"context", "files", "lines", "contexts"}) - {
    "llm_query", "llm_query_batched", "SHOW_VARS", "FINAL_VAR", "help",
}  # fmt: skip


def literal_of(code: str) -> str | None:
    """The answer that code gives as a literal, `FINAL(42)`; None if it computes it or has none."""
    tree = syntax_of(code)
    found = None
    for node in ast.walk(tree) if tree else ():
        match node:
            case ast.Call(ast.Name("FINAL"), [ast.Constant(value)], []):
                found = str(value) if isinstance(value, str) else ast.unparse(node.args[0])
            case ast.Call(ast.Name("FINAL" | "FINAL_VAR")):
                return None
    return found


def unshown(answer: str, shown: Iterable[str]) -> list[str]:
    """The numbers of an answer that stand in nothing the model was shown, places left out.

    A number that is a rounded one, or a share as a percentage, was shown.
    """
    if len(answer) > MOST_ANSWER_CHARS:
        return []
    stated = [_plain(number) for number in _STATED.findall(_PLACE.sub(" ", answer))]
    known = {_plain(number) for text in shown for number in _SHOWN.findall(text)}
    missing = [
        each
        for each in stated
        if each not in known and len(each) < MOST_DIGITS and float(each) >= COUNTED_IN_HEAD
    ]
    exact = [float(each) for each in islice(known, MOST_ROUNDED) if len(each) < MOST_DIGITS]
    return [each for each in missing if not _is_rounded(each, exact)]


def _is_rounded(number: str, exact: Iterable[float]) -> bool:
    places = len(number.partition(".")[2])
    wanted = float(number)
    share = 100 if wanted <= 100 else 1
    return any(wanted in {round(each, places), round(share * each, places)} for each in exact)


def part_taken(codes: Sequence[str], chars: int) -> int | None:
    """How many characters of `context` code works on, None if that is all or cannot be told.

    Only slices with fixed bounds tell, and only where there is no other way to the text. None also
    where it has but looked.
    """
    taken: list[Span] = []
    for code in codes:
        spans = _slices(code, chars)
        if spans is None:
            return None
        taken += spans
    longest = max((end - start for start, end in taken), default=0)
    whole = sum(end - start for start, end in _joined(taken))
    return whole if longest > LOOK_CHARS and whole < chars else None


@functools.lru_cache(256)
def _slices(code: str, chars: int) -> tuple[Span, ...] | None:
    """The known parts of `context` that code takes, None if it has another way to the text."""
    tree = syntax_of(code)
    if tree is None:
        return None  # the guest may mend what does not parse
    taken: list[Span] = []
    inside = {id(part) for node in ast.walk(tree) for part in _harmless(node, chars, taken)}
    free = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in inside
    }
    return None if free & _ALL_OF_IT else tuple(taken)


def variable_shown(variables: Iterable[Variable], output: str) -> str | None:
    """The variable whose value is the last line of an output, None if there is none."""
    last = output.strip().rpartition("\n")[2].strip()
    values = {last, repr(last)}
    return next((each.name for each in variables if last and each.preview in values), None)


def _harmless(node: ast.AST, chars: int, taken: list[tuple[int, int]]) -> list[ast.AST]:
    """Names of `context` in a node that take none of it or a known part, which is noted."""
    match node:
        case ast.Call(ast.Name("len"), [ast.Name("context") as name], []):
            return [name]
        case ast.Subscript(ast.Name("context") as name, ast.Slice(lower, upper, None)):
            bounds = [_bound(lower, 0, chars), _bound(upper, chars, chars)]
            if None not in bounds:
                start, end = (bound or 0 for bound in bounds)
                taken.append((start, max(start, end)))
                return [name]
    return []


def _bound(node: ast.expr | None, default: int, chars: int) -> int | None:
    """Where a slice begins or ends in a text of so many characters."""
    if node is None:
        return default
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
    if not isinstance(value, int):
        return None
    return min(max(0, value + chars if value < 0 else value), chars)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _plain(number: str) -> str:
    return number.replace(",", "").rstrip(".")
