"""What a model is told of a reply that did not end the run: which part of it went wrong."""

from collections.abc import Sequence

from rlm_mcp.engine import prompts
from rlm_mcp.engine.finish import is_answer
from rlm_mcp.engine.replies import ParsedReply
from rlm_mcp.types import CellResult


def feedback(
    reply: ParsedReply, results: Sequence[CellResult], *, cut_at: int | None, form: str
) -> str | None:
    """Why no answer was taken, None where none was given and code has run.

    `cut_at` is the limit in tokens at which the reply was cut; `form` is how this model gives code.
    """
    finals = [result.final.text for result in results if result.final]
    finals += [each.argument for each in (reply.final, reply.hollow) if each]
    clean = all(result.status == "ok" for result in results)
    if cut_at is not None:
        return prompts.cut(cut_at)
    if finals and not finals[-1].strip():
        return prompts.FINAL_EMPTY
    if finals and not is_answer(finals[-1]):
        return prompts.FINAL_EXAMPLE
    if reply.final is not None and clean:
        return prompts.FINAL_BESIDE_CODE if reply.code else prompts.LOOK_FIRST
    return None if results else prompts.no_code(form)
