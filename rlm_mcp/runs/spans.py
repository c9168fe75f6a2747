"""A run as OpenTelemetry spans: a `Sink` that knows the API only.

Names and attributes are those of the OpenTelemetry semantic conventions for generative AI v0.1.0,
which followed v1.41.0 of the general ones and are not stable yet: `invoke_agent` for a run and each
nested run, `chat` for a model call, `execute_tool` for a cell. What they have no name for is under
`rlm.`. `gen_ai.provider.name` is `openai` by their rule: it tells the protocol, not the maker.

Who configured no SDK gets the API's spans that record nothing; those are not kept, and the run's
other events are passed over. Text of any kind (questions, prompts, replies, code, output, what
errors say) is recorded only if `content` is on, and then as the events have it: prompts are cut to
head and tail.

A span begins and ends when the journal has its event, which is one turn of the event loop after it
happened. A run that goes on begins a tree of its own: cells run again there, and calls that were
answered before are not in it.
"""

import json
import logging
from collections.abc import Mapping

import anyio
import anyio.to_thread
from opentelemetry.context import get_current
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    get_tracer,
    get_tracer_provider,
    set_span_in_context,
)

from rlm_mcp.events import (
    CallEnded,
    CallRetried,
    CallStarted,
    CellEnded,
    CellStarted,
    Event,
    RunEnded,
    RunFailed,
    RunStarted,
)
from rlm_mcp.types import Usage
from rlm_mcp.words import sendable

AGENT = "rlm-mcp"
TOOL = "python"
PROVIDER = "openai"
CUT_SHORT = "interrupted"
FLUSH_S = 2.0

Attributes = Mapping[str, str | int | float | bool | None]

log = logging.getLogger(__name__)


class Spans:
    """The `Sink` that traces one run; made where the run is asked for.

    The span that is current there is the parent of the run's, also after it has ended. In the
    server it is the SDK's span of the request, whose parent is the one that the client named in
    `_meta`.
    """

    def __init__(self, run_id: str, *, content: bool) -> None:
        self._run_id = run_id
        self._content = content
        self._asked_in = get_current()
        self._tracer = get_tracer("rlm_mcp")
        self._open: dict[str, Span] = {}
        self._broken = False

    def emit(self, event: Event) -> None:
        """Take one event. Never raises: a span processor that breaks ends the spans, not the run.

        Does not wait either, as long as the SDK's processor does not: `BatchSpanProcessor`.
        """
        if self._broken or not (self._open or isinstance(event, RunStarted)):
            return
        try:
            self._take(event)
        except Exception:
            self._broken = True
            log.exception("spans of run %s end here", self._run_id)

    def close(self) -> None:
        """End what is still open, as failed: nothing more is told of this run."""
        for key in reversed(list(self._open)):
            try:
                self._end(key, {}, CUT_SHORT)
            except Exception:
                log.exception("a span of run %s could not be ended", self._run_id)

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._run_started(event)
            case RunEnded():
                self._run_ended(event)
            case RunFailed():
                self._end(_run(event.node), {}, event.error_type or "_OTHER", event.message)
            case CallStarted():
                self._call_started(event)
            case CallRetried():
                self._call_retried(event)
            case CallEnded():
                self._call_ended(event)
            case CellStarted():
                self._cell_started(event)
            case CellEnded():
                self._cell_ended(event)

    def _run_started(self, event: RunStarted) -> None:
        attributes: Attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.agent.name": AGENT,
            "gen_ai.conversation.id": event.session,
            "gen_ai.request.model": event.model,
            "rlm.sub_model": event.sub_model,
            "gen_ai.input.messages": self._message("user", event.query),
        }
        self._start(_run(event.node), event.node, f"invoke_agent {AGENT}", attributes)

    def _run_ended(self, event: RunEnded) -> None:
        finish = "stop" if event.stopped_by == "answer" else event.stopped_by
        attributes: Attributes = {
            **_used(event.root + event.sub),
            "rlm.stopped_by": event.stopped_by,
            "rlm.turns": event.turns,
            "gen_ai.output.messages": self._message("assistant", event.answer, finish),
        }
        self._end(_run(event.node), attributes)

    def _call_started(self, event: CallStarted) -> None:
        attributes: Attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": event.model,
            "rlm.role": event.role,
            "rlm.turn": event.turn,
            "rlm.batch": event.batch,
            "gen_ai.input.messages": self._message("user", event.prompt),
        }
        name = f"chat {event.model}"
        self._start(_call(event.call), event.node, name, attributes, SpanKind.CLIENT)

    def _call_retried(self, event: CallRetried) -> None:
        if span := self._open.get(_call(event.call)):
            attributes: Attributes = {
                "rlm.attempt": event.attempt,
                "rlm.wait_s": event.wait_s,
                "rlm.reason": self._text(event.reason),
            }
            span.add_event("retry", _known(attributes))

    def _call_ended(self, event: CallEnded) -> None:
        attributes: Attributes = {
            **_used(event.usage),
            "gen_ai.output.messages": self._message("assistant", event.reply, "unknown"),
        }
        failure = None if event.outcome == "ok" else event.error_type or event.outcome
        self._end(_call(event.call), attributes, failure, event.error)

    def _cell_started(self, event: CellStarted) -> None:
        attributes: Attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": TOOL,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": event.cell,
            "rlm.turn": event.turn,
            "gen_ai.tool.call.arguments": self._json({"code": event.code}),
        }
        self._start(_cell(event.node), event.node, f"execute_tool {TOOL}", attributes)

    def _cell_ended(self, event: CellEnded) -> None:
        attributes: Attributes = {"gen_ai.tool.call.result": self._json(event.output)}
        failure = None if event.status == "ok" else event.status
        self._end(_cell(event.node), attributes, failure, event.error)

    def _start(
        self,
        key: str,
        node: str,
        name: str,
        attributes: Attributes,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        """Start a span; its parent is the cell at work in the node, else the node's run."""
        within = None
        if key != _run(""):
            asker = node.rpartition(".")[0] if key == _run(node) else node
            within = self._open.get(_cell(asker)) or self._open.get(_run(asker))
            if within is None:
                return
        span = self._tracer.start_span(
            name,
            self._asked_in if within is None else set_span_in_context(within, self._asked_in),
            kind,
            _known({**attributes, "rlm.run": self._run_id, "rlm.node": node or None}),
        )
        if span.is_recording():
            self._open[key] = span

    def _end(
        self, key: str, attributes: Attributes, failure: str | None = None, said: str | None = None
    ) -> None:
        """End a span, as failed if `failure` names a kind of error; `said` is content."""
        span = self._open.pop(key, None)
        if span is None:
            return
        span.set_attributes(_known(attributes))
        if failure is not None:
            span.set_attribute("error.type", failure)
            span.set_status(StatusCode.ERROR, self._text(said))
        span.end()

    def _message(self, role: str, text: str, finish_reason: str | None = None) -> str | None:
        message = {"role": role, "parts": [{"type": "text", "content": text}]}
        return self._json(
            [message if not finish_reason else message | {"finish_reason": finish_reason}]
        )

    def _json(self, content: object) -> str | None:
        return self._text(json.dumps(content, ensure_ascii=False)) if self._content else None

    def _text(self, content: str | None) -> str | None:
        return sendable(content) if self._content and content is not None else None


async def flush() -> None:
    """Have the SDK, if there is one, export what it holds, for at most `FLUSH_S` seconds."""
    export = getattr(get_tracer_provider(), "force_flush", None)
    if export is not None:
        with anyio.move_on_after(FLUSH_S, shield=True):
            await anyio.to_thread.run_sync(export, round(FLUSH_S * 1000), abandon_on_cancel=True)


def _run(node: str) -> str:
    return f"run {node}"


def _call(call: str) -> str:
    return f"call {call}"


def _cell(node: str) -> str:
    """A node runs one cell at a time."""
    return f"cell {node}"


def _used(usage: Usage | None) -> dict[str, int | float | bool | None]:
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "rlm.cost": usage.cost,
        "rlm.estimated_calls": usage.estimated_calls or None,
    }


def _known(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}
