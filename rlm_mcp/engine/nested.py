"""Nested runs: `rlm_query` answered by a node of its own, one level deeper, on the same ledger."""

from dataclasses import replace

import anyio

from rlm_mcp.contexts.loader import load
from rlm_mcp.engine.loop import Node, Ports, Question
from rlm_mcp.errors import RlmError
from rlm_mcp.events import RunEnded, RunFailed, RunStarted
from rlm_mcp.types import SubReply, SubRequest, Usage

CLOSE_S = 10.0


async def nest(question: Question, ports: Ports, request: SubRequest) -> SubReply:
    """Solve `question` in a REPL of its own, over `request.context` if it brings text.

    Whatever goes wrong is the error of this one request.
    """
    contexts = question.contexts
    if request.context:
        contexts = (await load(ports.store, (), text=request.context, name="text"),)
    handle = f"{question.handle}/{question.run_id}.{question.node}"
    node = Node(replace(question, contexts=contexts, handle=handle), ports, nest)
    try:
        return await _solve(node)
    except RlmError as error:
        await ports.calls.sink.emit(RunFailed(question.node, error.message, error.hint))
        return SubReply(None, f"{error.message} {error.hint}")
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
            await ports.backend.close(handle)


async def _solve(node: Node) -> SubReply:
    question, ports = node.question, node.ports
    ledger, sink = ports.calls.ledger, ports.calls.sink
    await sink.emit(
        RunStarted(
            node=question.node,
            query=question.query,
            session=question.handle,
            contexts=tuple((info.id, info.name) for info in question.contexts),
            model=ports.root.name,
            sub_model=ports.sub.name,
            budget=ledger.budget,
        )
    )
    began = ledger.seconds
    outcome = await node.solve()
    await sink.emit(
        RunEnded(
            node=question.node,
            stopped_by=outcome.stopped_by,
            answer=outcome.text,
            citations=(),
            root=Usage(),
            sub=Usage(),
            turns=node.turn,
            seconds=ledger.seconds - began,
            notes=tuple(node.notes),
        )
    )
    if outcome.text:
        return SubReply(outcome.text)
    return SubReply(None, f"the nested run ended without an answer ({outcome.stopped_by})")
