"""Read a root model's reply: its code blocks, and an answer given as text."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from rlm_mcp.engine.dialects import FUNCTIONS, fenced, without_channels
from rlm_mcp.engine.fences import FILLER, Fence, blank_out, find_fences, python_in, syntax_of
from rlm_mcp.engine.text_finals import TextFinal, finish_of_fence, finish_of_prose

__all__ = ["ParsedReply", "TextFinal", "parse", "strip_thinking"]

# A quote behind the tag means that it is spoken of, unless a quoted word begins there.
_THINKING = re.compile(
    r"(?P<first>^[ \t]*)?<(?P<closes>/)?(?:think|thinking|thought|reasoning)>"
    r"(?!(?P<quote>[\"'`])(?!(?P=quote))(?:\W|\Z))(?P<last>[ \t]*$)?",
    re.MULTILINE | re.IGNORECASE,
)
OFFERED = FUNCTIONS | {"context", "contexts", "files", "lines", "print", "FINAL"}
_THINKING_AT_START = re.compile(r"\s*+<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What a reply asks for: code to run in order, a finish, and the prose around them.

    `hollow` is a finish that says nothing, of a reply in which nothing else can give an answer.
    """

    code: tuple[str, ...]
    final: TextFinal | None
    prose: str
    hollow: TextFinal | None = None


def strip_thinking(text: str) -> str:
    """The text without thinking; tags that code or a sentence speaks of stay.

    Removed are blocks at the start (one never closed is the whole reply), a start whose closing tag
    at an edge of its line is the only tag, and later blocks on lines of their own.
    """
    text = without_channels(text.replace("\r\n", "\n"))
    closings = _closing_tags(text)
    end = 0
    while _THINKING_AT_START.match(text, end):
        fenced = None
        for tag_end, in_fence in closings:
            if not in_fence:
                end = tag_end
                break
            fenced = fenced or tag_end
        else:
            end = fenced or len(text)
            break
    return _without_later_thinking(text[end:]).strip()


def parse(text: str) -> ParsedReply:
    """Read a reply from which thinking is already removed.

    The last finish counts, also with prose behind it: words cannot be told from a retraction. A
    reply without a block that is Python as a whole, and uses what the REPL offers, is code.
    """
    text = fenced(text.replace("\r\n", "\n"))
    fences = list(find_fences(text))
    in_fences = {fence: finish for fence in fences if (finish := finish_of_fence(fence))}
    found = [finish_of_prose(text, fences), *in_fences.values()]
    good = [finish for finish in found if finish and finish.final]
    finish = max(good, key=lambda finish: finish.start, default=None)
    start, end = (finish.start, finish.end) if finish else (len(text), len(text))
    if not (fences or finish) and _is_code(text):
        return ParsedReply(code=(f"{text.strip()}\n",), final=None, prose="")
    left = [fence for fence in fences if fence.end <= start or fence.start >= end]
    taken = sorted([*left, Fence(start, end, "", "")], key=lambda fence: fence.start)
    code = python_in(fence for fence in left if fence not in in_fences)
    code, guess = _without_guess(code)
    final = finish.final if finish else guess
    may_answer = final or any("FINAL" in block or "answer" in block for block in code)
    refused = (each.refused for each in found if each and each.refused)
    return ParsedReply(
        code=code,
        final=final,
        prose=re.sub(f"{FILLER}+", "", blank_out(text, taken)).strip(),
        hollow=None if may_answer else next(refused, None),
    )


def _without_guess(code: tuple[str, ...]) -> tuple[tuple[str, ...], TextFinal | None]:
    """The blocks without a last one that gives a literal: it rests on no output of the others."""
    tree = syntax_of(code[-1]) if len(code) > 1 else None
    match tree.body if tree else []:
        case [ast.Expr(ast.Call(ast.Name("FINAL"), [ast.Constant(value) as given], []))]:
            said = value if isinstance(value, str) else ast.unparse(given)
            return code[:-1], TextFinal("FINAL", said)
    return code, None


def _is_code(text: str) -> bool:
    """Whether all of a reply is Python that works with what the REPL offers."""
    tree = syntax_of(text)
    nodes = list(ast.walk(tree)) if tree else []
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return bool(names & OFFERED) and any(isinstance(node, ast.Call) for node in nodes)


def _closing_tags(text: str) -> Iterator[tuple[int, bool]]:
    """Where each closing tag ends, and whether a fence holds it."""
    fences = find_fences(text)
    fence = next(fences, None)
    for tag in _THINKING.finditer(text):
        while fence is not None and fence.end <= tag.start():
            fence = next(fences, None)
        if tag["closes"]:
            yield tag.end(), fence is not None and fence.start < tag.end()


def _without_later_thinking(text: str) -> str:
    if _THINKING.search(text) is None:
        return text
    parts, position, opening = [], 0, None
    tags = _THINKING.finditer(blank_out(text, find_fences(text)))
    for number, tag in enumerate(tags):
        first, last = tag["first"] is not None, tag["last"] is not None
        if not tag["closes"]:
            if opening is None and first and last:
                opening = tag
        elif number == 0 and (first or last):
            position = tag.end()
        elif opening is not None and last:
            parts.append(text[position : opening.start()])
            position, opening = tag.end(), None
    return "".join([*parts, text[position:]])
