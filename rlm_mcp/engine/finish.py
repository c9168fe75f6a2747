"""Judge what a model gives as its answer: words, or something to be looked up in the REPL."""

import ast
from dataclasses import dataclass

from rlm_mcp.engine.replies import TextFinal, parse
from rlm_mcp.engine.text_finals import says_something

# A name of these kinds may be plain words: `Paris`, `main.py`, `Smith and Jones`.
_WORDS = (ast.Name, ast.Attribute, ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.Tuple)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Code that looks an answer up. `may_be_words`: if it fails, the text itself is the answer."""

    source: str
    may_be_words: bool


def is_answer(text: str) -> bool:
    """Whether a text says something: not nothing, no example of a prompt, no placeholder."""
    return says_something(text)


def evaluation(final: TextFinal) -> Evaluation | None:
    """How to look up a finish given as text; None if it is plain words."""
    argument = final.argument.strip()
    if final.via == "FINAL_VAR" and (argument.isidentifier() or not _expression(argument)):
        return Evaluation(f"FINAL_VAR({argument!r})", may_be_words=False)
    expression = _expression(argument)
    if expression is None or isinstance(expression, ast.Constant):
        return None
    if isinstance(expression, ast.Name):
        return Evaluation(f"FINAL_VAR({argument!r})", final.via == "FINAL")
    may_be_words = final.via == "FINAL" and isinstance(expression, _WORDS)
    return Evaluation(f"FINAL({argument})", may_be_words)


def words_of(code: str) -> TextFinal | None:
    """The finish in words that a block of code is, though no Python: `FINAL(it is 42)`.

    Only what cannot be meant as an expression counts; `it is 42` happens to parse as one.
    """
    reply = parse(code)
    if reply.final is None or reply.code or reply.prose:
        return None
    expression = _expression(reply.final.argument)
    return reply.final if expression is None or isinstance(expression, ast.Compare) else None


def _expression(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
