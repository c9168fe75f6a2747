"""A family's questions for its tests: of one kind, and as a perfect model would answer them."""

import anyio

from rlm_mcp import AsyncRLM
from rlm_mcp.llm.scripted import ScriptedModel


def of_kind(asked, kind):
    found = [item for item in asked if item.kind == kind]
    assert found
    return found


async def by_their_programs(asked):
    """What running each question's program answers, over the one text they share."""
    replies = [f"```repl\n{item.program}\n```" for item in asked]
    with anyio.fail_after(60):
        async with AsyncRLM(ScriptedModel(replies), max_iterations=1) as rlm:
            said = [await rlm.completion(context=asked[0].context, query=asked[0].question)]
            return said + [await rlm.completion(query=item.question) for item in asked[1:]]
