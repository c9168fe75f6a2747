"""Find an answer given as text in a reply: FINAL(...), FINAL_VAR(...), `FINAL: ...`.

The finish words are those of the paper (arXiv 2512.24601, appendix).
"""

import ast
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlm_mcp.engine.fences import FILLER, Fence, blank_out, syntax_of
from rlm_mcp.engine.prompts import EXAMPLE_ANSWERS

TEXT_TAGS = frozenset({"", "text", "txt", "plain", "plaintext", "markdown", "md"})

# Numbered items are left out of the marks: "3. FINAL(answer)" is a plan.
_FINISH = re.compile(
    r"^[ \t>#*_`+-]*+"
    r"(?:(?i:(?:(?:the|my|final|short)[ ])*(?:answer|result|response|conclusion|summary|done|so"
    r"|finally|therefore|thus))[*_]*:[ \t*_`]*+)?"
    r"(?P<word>FINAL_VAR|FINAL|(?i:final[ _]answer))[*_`]*+[ \t]*(?P<form>\(|:[ \t*]*+)",
    re.MULTILINE,
)
_QUOTED_ARGUMENT = re.compile(
    r"\s*+(?P<quote>\"\"\"|'''|\"|')(?:\\.|(?!(?P=quote)).)*+(?P=quote)(?=\s*\))", re.DOTALL
)
_TOKEN = re.compile(
    r"[()]|\\.|\"\"\".*?\"\"\"|'''.*?'''|`[^`\n]*`"
    r"|\"(?:\\.|[^\"\\\n])*+\"|(?<!\w)'(?:\\.|[^'\\\n])*+'(?!\w)",
    re.DOTALL,
)
_BOX = r"\boxed{"
_TEXT_IN_BOX = re.compile(r"^\\text(?:bf)?\{([^{}]*)\}$")
_LINE = re.compile(rf"\s*+[^\n{FILLER}]*+")
_PARAGRAPH = re.compile(rf"\s*+(?:(?!\n[ \t]*\n|{FILLER}).)*+", re.DOTALL)
# What may stand behind a call's closing mark on its line; with a word there, the call is prose.
_TRAIL = string.punctuation.replace("(", "") + string.whitespace + "…”’»。✅"
_SLOT = (
    r"(?:(?:your|the|my|a|an|insert|put|fill|enter|final|actual|computed|exact)[ _])*"
    r"(?:answer|result|value|number|sum|total|count|output|response|string|text|int|float)"
)
_PLACEHOLDER = re.compile(
    rf"\.{{3}}|…|[\[{{]?(?:your|the) (?:final )?answer(?: goes)?(?: here)?[\]}}]?"
    rf"|[\[<{{(]+\s*{_SLOT}(?:[ _](?:[^\W_]++[ _]?){{0,6}})?\s*[\]>}})]+"
    rf"|{_SLOT} (?:(?:as|that (?:was|is|you)|which (?:was|is)) )?"
    r"(?:printed|shown|computed|given|found|above|from above|goes here|here)(?: above| here)?",
    re.IGNORECASE,
)
PLACEHOLDER_CHARS = 160
_ANGLES = re.compile(r"<[^<>\n]*>")


@dataclass(frozen=True, slots=True)
class TextFinal:
    """A finish given outside code: an answer in words, or the name of a variable."""

    via: Literal["FINAL", "FINAL_VAR"]
    argument: str


@dataclass(frozen=True, slots=True)
class Finish:
    """A finish and its place in the reply. `refused` is what it says that cannot be an answer.

    Then `final` is None.
    """

    start: int
    end: int
    final: TextFinal | None
    refused: TextFinal | None = None


def says_something(text: str) -> bool:
    """Whether a text may be an answer: not nothing, no example of a prompt, no placeholder.

    Placeholders are such as `<answer>`, `[insert the number here]`, `the value printed above`.
    """
    text = text.strip()
    if len(text) > PLACEHOLDER_CHARS:
        return True
    return bool(text) and text.lower() not in EXAMPLE_ANSWERS and not _PLACEHOLDER.fullmatch(text)


def finish_of_fence(fence: Fence) -> Finish | None:
    """The finish of a block of text that holds nothing else.

    A block without a tag that computes its answer is code.
    """
    body = fence.body.strip()
    if fence.tag not in TEXT_TAGS or (word := _FINISH.match(body)) is None:
        return None
    finish = _finish(body, body, word, len(body))
    if finish is None or finish.end < len(body):
        return None
    final = finish.final
    if final and final.via == "FINAL" and not fence.tag and _computes(final.argument):
        return None
    return Finish(fence.start, fence.end, final)


def _computes(argument: str) -> bool:
    tree = syntax_of(argument)
    kinds = (ast.Call, ast.Subscript, ast.JoinedStr)
    return tree is not None and any(isinstance(node, kinds) for node in ast.walk(tree))


def finish_of_prose(text: str, fences: Sequence[Fence]) -> Finish | None:
    """The last good finish at the start of a line, or else the last that is none.

    Its argument may hold whole fences.
    """
    plain = blank_out(text, fences)
    words = list(_FINISH.finditer(plain))
    ends = [*(word.start() for word in words), len(text)][1:]
    hollow = None
    for word, end in zip(reversed(words), reversed(ends), strict=True):
        finish = _finish(text, plain, word, end)
        if finish and finish.final:
            return finish
        hollow = hollow or finish
    return hollow if fences else _boxed(text) or hollow


def _boxed(text: str) -> Finish | None:
    r"""The last `\boxed{...}`, as models are trained to end what they calculate."""
    start = text.rfind(_BOX)
    depth = 0
    for at in range(start + len(_BOX) - 1, len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            argument = text[start + len(_BOX) : at].strip()
            argument = _TEXT_IN_BOX.sub(r"\1", argument)
            refused = _ANGLES.fullmatch(argument) or not says_something(argument)
            return None if refused else Finish(start, at + 1, TextFinal("FINAL", argument))
    return None


def _finish(text: str, plain: str, word: re.Match[str], end: int) -> Finish | None:
    """The finish at a word that has the text up to `end`; None if it turns out to be prose."""
    via: Literal["FINAL", "FINAL_VAR"] = "FINAL_VAR" if word["word"] == "FINAL_VAR" else "FINAL"
    if word["form"] == "(":
        closing = _closing(plain, word.end(), end)
        if closing is None:
            return None
        stop, behind = closing
        argument = text[word.end() : stop].strip()
    else:
        rest = (_LINE if via == "FINAL_VAR" else _PARAGRAPH).match(plain, word.end(), end)
        behind = rest.end() if rest else end
        argument = text[word.end() : behind].strip()
        for mark in ("**", "`", "*"):
            if argument.count(mark) % 2:
                argument = argument.removesuffix(mark)
    argument = _unquote(argument)
    if via == "FINAL_VAR":
        argument = argument.strip("`")
    final = TextFinal(via, argument)
    if not says_something(argument):
        return Finish(word.start(), behind, None, refused=final)
    return Finish(word.start(), behind, None if _ANGLES.fullmatch(argument) else final)


def _closing(plain: str, start: int, end: int) -> tuple[int, int] | None:
    """Where an argument and its call end; None if words follow the call, so that it is prose.

    A `)` closes only as the last thing of its line. It is the first one that is balanced outside
    quotes; as words hold brackets that do not match, else the last one before any fence; a call
    never closed runs as far.
    """
    closers = _closers(plain, start, end)
    quoted = _QUOTED_ARGUMENT.match(plain, start, end)
    depth, stray = 1, False
    for token in _TOKEN.finditer(plain, quoted.end() if quoted else start, end):
        if token[0] == "(":
            depth += 1
        elif token[0] == ")":
            if depth > 1:
                depth -= 1
            elif token.start() in closers:
                return token.start(), closers[token.start()]
            else:
                stray = True
    if stray:
        return None
    fence = plain.find(FILLER, start, end)
    limit = fence if fence >= 0 else end
    last = max((closer for closer in closers if closer < limit), default=limit)
    return last, closers.get(last, limit)


def _closers(plain: str, start: int, end: int) -> dict[int, int]:
    """Every `)` behind which its line holds marks and blanks only, with the end of that line."""
    closers: dict[int, int] = {}
    for line in plain[start:end].split("\n"):
        behind = start + len(line)
        for at in range(start + len(line.rstrip(_TRAIL)), behind):
            if plain[at] == ")":
                closers[at] = behind
        start = behind + 1
    return closers


def _unquote(text: str) -> str:
    """The text inside one pair of quotes; text that merely begins and ends with quotes stays."""
    for quote in ('"""', "'''", '"', "'"):
        if len(text) >= 2 * len(quote) and text.startswith(quote) and text.endswith(quote):
            inner = text[len(quote) : -len(quote)]
            try:
                value = ast.literal_eval(text)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return text if quote in inner else inner
            return value if isinstance(value, str) else inner
    return text
