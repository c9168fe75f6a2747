"""Read a root model's reply: its code blocks, and an answer given as text.

The finish words are those of the paper (arXiv 2512.24601, appendix): FINAL(...) and FINAL_VAR(...).
"""

import ast
import re
from dataclasses import dataclass
from typing import Literal

CODE_TAGS = frozenset({"", "repl", "python", "py", "python3", "ipython", "pycon"})

_THINKING = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_THINKING_UNOPENED = re.compile(r"\A.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_THINKING_UNCLOSED = re.compile(r"<think(?:ing)?>.*\Z", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})[ \t]*(?P<tag>[\w+-]*)[^\n]*$", re.MULTILINE)
_FINISH = re.compile(r"^[ \t]*(?:\*\*|`)?(?P<word>FINAL_VAR|FINAL)[ \t]*\(", re.MULTILINE)
_PLACEHOLDER = re.compile(
    r"\A(?:<[^<>\n]*>|\.{3}|…|your (?:final )?answer(?: here)?)\Z", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class TextFinal:
    """A finish given outside code: an answer in words, or the name of a variable."""

    via: Literal["FINAL", "FINAL_VAR"]
    argument: str


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What a reply asks for: code to run in order, a finish, and the prose around them."""

    code: tuple[str, ...]
    final: TextFinal | None
    prose: str


def strip_thinking(text: str) -> str:
    """The text without thinking: whole blocks, one whose opening is missing, one never closed."""
    text = _THINKING.sub("", text)
    text = _THINKING_UNOPENED.sub("", text)
    return _THINKING_UNCLOSED.sub("", text).strip()


def parse(text: str) -> ParsedReply:
    """Read a reply from which thinking is already removed."""
    code, prose = _split_fences(text)
    return ParsedReply(code=tuple(code), final=_text_final(prose), prose=prose.strip())


def _split_fences(text: str) -> tuple[list[str], str]:
    """Code of the fenced blocks that hold Python, and everything outside any fence."""
    code: list[str] = []
    prose: list[str] = []
    position = 0
    while (fence := _FENCE.search(text, position)) is not None:
        prose.append(text[position : fence.start()])
        body, position = _fenced_body(text, fence)
        if fence["tag"].lower() in CODE_TAGS and body.strip():
            code.append(body)
    prose.append(text[position:])
    return code, "\n".join(prose)


def _fenced_body(text: str, opening: re.Match[str]) -> tuple[str, int]:
    """The block's text and where it ends.

    Code may hold fences of its own, inside a string: the end is the first closing mark behind which
    the block parses, else the first one; a block never closed runs to the end.
    """
    mark = re.compile(rf"^[ \t]*{re.escape(opening['mark'])}+[ \t]*$", re.MULTILINE)
    start = opening.end() + 1
    closings = list(mark.finditer(text, start))
    if not closings:
        return text[start:], len(text)
    for closing in closings:
        body = text[start : closing.start()]
        if _parses(body):
            return body, closing.end()
    return text[start : closings[0].start()], closings[0].end()


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _text_final(prose: str) -> TextFinal | None:
    """The last finish word at the start of a line, with its balanced argument."""
    finals = [
        TextFinal("FINAL_VAR" if found["word"] == "FINAL_VAR" else "FINAL", argument)
        for found in _FINISH.finditer(prose)
        if (argument := _argument(prose[found.end() :])) and not _PLACEHOLDER.match(argument)
    ]
    return finals[-1] if finals else None


def _argument(text: str) -> str:
    """What stands before the parenthesis that closes the call, without its quotes.

    An answer in words often holds brackets that do not match, so the closing one may also be the
    last `)` that ends a line.
    """
    depth = 1
    for index, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return _unquote(text[:index].strip())
    ends = list(re.finditer(r"\)[ \t`*]*$", text, re.MULTILINE))
    return _unquote(text[: ends[-1].start()].strip() if ends else text.strip())


def _unquote(text: str) -> str:
    """The text inside one pair of quotes; text that merely begins and ends with quotes stays."""
    for quote in ('"""', "'''", '"', "'"):
        if len(text) >= 2 * len(quote) and text.startswith(quote) and text.endswith(quote):
            inner = text[len(quote) : -len(quote)]
            try:
                value = ast.literal_eval(text)
            except (SyntaxError, ValueError):
                return text if quote in inner else inner
            return value if isinstance(value, str) else inner
    return text
