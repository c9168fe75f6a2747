"""Nested runs: `rlm_query` answered by a node of its own, one level deeper, on the same ledger."""

from dataclasses import replace

import anyio

from rlm_mcp.contexts.loader import load
from rlm_mcp.engine.loop import Node
from rlm_mcp.engine.ports import Outcome, Ports, Question
from rlm_mcp.engine.subcalls import nested_key, refused
from rlm_mcp.errors import RlmError
from rlm_mcp.events import RunEnded, RunFailed, RunStarted
from rlm_mcp.types import StoppedBy, SubReply, SubRequest
from rlm_mcp.words import clip

CLOSE_S = 20.0
QUERY_CHARS = 2_000
DRAFT_CHARS = 2_000


async def nest(question: Question, ports: Ports, request: SubRequest) -> SubReply:
    """Solve `question` in a REPL of its own, over `request.context` if it brings text.

    Whatever goes wrong is the error of this one request. Runs of one depth are few at a time: each
    holds a guest.
    """
    ledger = ports.calls.ledger
    async with ports.nesting[question.depth]:
        limit = ledger.exhausted(top_root=False)
        if limit is not None and not ports.calls.past.replied(question.node):
            return refused(limit)
        contexts = question.contexts
        handle = f"{question.handle}/{question.run_id}.{question.node}"
        try:
            if request.context is not None:
                contexts = (await load(ports.store, (), text=request.context, name="text"),)
            node = Node(replace(question, contexts=contexts, handle=handle), ports, nest)
            return await _solved(node, nested_key(request).hex())
        except RlmError as error:
            return SubReply(None, f"{error.message} {error.hint}")
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
                await ports.backend.close(handle)


async def _solved(node: Node, key: str) -> SubReply:
    question, ports = node.question, node.ports
    ledger, sink = ports.calls.ledger, ports.calls.sink
    sink.emit(
        RunStarted(
            node=question.node,
            query=clip(question.query, QUERY_CHARS),
            session=question.session,
            contexts=tuple((info.id, info.name) for info in question.contexts),
            model=ports.root.name,
            sub_model=ports.sub.name,
            budget=ledger.budget,
            key=key,
        )
    )
    began = ledger.seconds
    try:
        outcome = await node.solve()
    except RlmError as error:
        sink.emit(RunFailed(question.node, error.message, error.hint, type(error).__name__))
        raise
    except anyio.get_cancelled_exc_class():
        sink.emit(_ended(node, Outcome(node.drafts.text, "cancelled"), began))
        raise
    sink.emit(replace(_ended(node, outcome, began), key=key))
    if outcome.stopped_by == "answer":
        return SubReply(outcome.text)
    return stopped(outcome.stopped_by, outcome.text)


def stopped(limit: StoppedBy, text: str) -> SubReply:
    """What code is told of a nested run that came to a limit before it had an answer."""
    best = clip(text, DRAFT_CHARS) or "nothing"
    return SubReply(None, f"the nested run stopped at its limit ({limit}); it had: {best}")


def _ended(node: Node, outcome: Outcome, began: float) -> RunEnded:
    ledger, place = node.ports.calls.ledger, node.question.node
    return RunEnded(
        node=place,
        stopped_by=outcome.stopped_by,
        answer=outcome.text,
        citations=(),
        root=ledger.used_by(place, "root"),
        sub=ledger.used_by(place, "sub"),
        turns=node.turn,
        seconds=ledger.seconds - began,
        notes=tuple(node.notes),
    )
