"""Runs as OpenTelemetry spans: names, parents, attributes, and no text unless it is asked for."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager

import anyio
import pytest
from mcp import Client
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from rlm_mcp.events import RunStarted
from rlm_mcp.llm.scripted import ScriptedReply, serve
from rlm_mcp.resuming import resume
from rlm_mcp.runs.spans import Spans
from rlm_mcp.server.app import open_app
from rlm_mcp.server.build import build_server
from rlm_mcp.service import Query, open_service
from rlm_mcp.settings import Settings
from rlm_mcp.types import Budget

pytestmark = pytest.mark.anyio

RUN = "invoke_agent rlm-mcp"
CELL = "execute_tool python"
CANARIES = ("asked", "coded", "printed", "prompted", "replied", "nested", "broken", "answered")
PROGRAM = """
coded = llm_query_batched(['prompted one', 'prompted two'])
rlm_query('nested question', context='nested text')
llm_query('flaky')
print('printed', llm_query_batched(['refused']))
"""


def code(text):
    return f"```repl\n{text}\n```"


class Script:
    """Two turns over everything that a run can hold; `flaky` fails once, `refused` always."""

    def __init__(self):
        self.flaked = False

    def __call__(self, messages):
        last = messages[-1].content
        if len(messages) == 1:
            if last == "flaky" and not self.flaked:
                self.flaked = True
                return ScriptedReply("broken", status=503, headers={"Retry-After": "0"})
            return ScriptedReply("broken", status=400) if last == "refused" else "replied"
        if "nested question" in messages[1].content:
            return code("FINAL(llm_query('nested prompt'))")
        return code(PROGRAM if len(messages) == 2 else "FINAL('answered')")


class Stuck:
    """A script whose first sub-call never ends."""

    def __init__(self):
        self.reached = anyio.Event()

    async def __call__(self, messages):
        if len(messages) > 1:
            return code("llm_query('hang')")
        self.reached.set()
        return await anyio.sleep_forever()


class Fragile(SpanProcessor):
    """Raises when a span of one operation starts."""

    breaks_at = "nothing"

    def on_start(self, span, parent_context=None):
        if span.attributes.get("gen_ai.operation.name") == self.breaks_at:
            raise RuntimeError("broken")


@pytest.fixture(scope="module")
def fragile():
    return Fragile()


@pytest.fixture(scope="module")
def exporter(fragile):
    """The SDK of this process; there can be one only."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(fragile)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    yield exporter
    provider.shutdown()


@pytest.fixture
def exported(exporter):
    """What was exported since the test began."""
    exporter.clear()
    return exporter.get_finished_spans


@asynccontextmanager
async def asking(script, **settings):
    """A service whose model says what the script tells it, and a session with a text."""
    with anyio.fail_after(60):
        async with (
            serve(script) as model,
            open_service(
                Settings.load(api_url=model.url, strategy="rlm", max_depth=2, **settings)
            ) as service,
        ):
            session = await service.new_session()
            await service.load(session, (), text="some text", name="text")
            yield service, session


async def asked(script, **settings):
    """The view of a run over everything, once it has ended and its spans have."""
    async with asking(script, **settings) as (service, session):
        job = await service.start(session, Query("asked question"))
        await job.ended.wait()
        return await service.view(job.run_id)


def paths(spans):
    """How often each way from the top of the trace was exported: `run/cell/chat`."""
    by_id = {span.context.span_id: span for span in spans}

    def path(span):
        above = None if span.parent is None else by_id.get(span.parent.span_id)
        name = span.attributes["gen_ai.operation.name"]
        return name if above is None else f"{path(above)}/{name}"

    return Counter(map(path, spans))


def operation(spans, name):
    return [span for span in spans if span.attributes["gen_ai.operation.name"] == name]


def text_of(spans):
    """All that is exported, as one text."""
    return "\n".join(span.to_json() for span in spans)


async def test_a_run_is_a_tree_of_agent_model_and_tool_spans(exported):
    view = await asked(Script())

    assert view.answer.text == "answered"
    top = "invoke_agent"
    nested = f"{top}/execute_tool/invoke_agent"
    assert paths(exported()) == {
        top: 1,
        f"{top}/chat": view.answer.turns,
        f"{top}/execute_tool": view.answer.turns,
        f"{top}/execute_tool/chat": 4,
        nested: 1,
        f"{nested}/chat": 1,
        f"{nested}/execute_tool": 1,
        f"{nested}/execute_tool/chat": 1,
    }


async def test_names_kinds_and_attributes_are_those_of_the_conventions(exported):
    view = await asked(Script())

    spans = exported()
    run = operation(spans, "invoke_agent")[-1]
    chat = operation(spans, "chat")[0]
    cell = operation(spans, "execute_tool")[-1]
    model = run.attributes["gen_ai.request.model"]
    assert {span.name for span in spans} == {RUN, CELL, f"chat {model}"}
    assert (run.kind, chat.kind, cell.kind) == (
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
        SpanKind.INTERNAL,
    )
    assert run.attributes["gen_ai.provider.name"] == chat.attributes["gen_ai.provider.name"]
    assert run.attributes["gen_ai.agent.name"] in run.name
    assert run.attributes["gen_ai.conversation.id"] == view.session
    assert run.attributes["rlm.stopped_by"] == view.answer.stopped_by
    assert cell.attributes["gen_ai.tool.name"] in cell.name
    assert {span.attributes["rlm.run"] for span in spans} == {view.run_id}


async def test_tokens_of_the_calls_add_up_to_those_of_the_run(exported):
    view = await asked(Script())

    chats = operation(exported(), "chat")
    run = operation(exported(), "invoke_agent")[-1]
    for name in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"):
        assert sum(chat.attributes.get(name, 0) for chat in chats) == run.attributes[name] > 0
    assert run.attributes["gen_ai.usage.input_tokens"] == view.answer.usage.input_tokens


async def test_a_span_lasts_within_its_parent_and_starts_when_it_began(exported):
    await asked(Script())

    by_id = {span.context.span_id: span for span in exported()}
    for span in by_id.values():
        parent = by_id.get(span.parent.span_id) if span.parent else span
        assert parent.start_time <= span.start_time <= span.end_time <= parent.end_time


async def test_retries_and_failures_are_told_by_kind_alone(exported):
    await asked(Script())

    chats = operation(exported(), "chat")
    retried = [chat for chat in chats if chat.events]
    failed = [chat for chat in chats if "error.type" in chat.attributes]
    assert [event.name for chat in retried for event in chat.events] == ["retry"]
    assert dict(retried[0].events[0].attributes) == {"rlm.attempt": 1, "rlm.wait_s": 0.0}
    assert retried[0].status.status_code is StatusCode.UNSET
    assert [chat.attributes["error.type"] for chat in failed] == ["EndpointRefused"]
    assert failed[0].status.status_code is StatusCode.ERROR
    assert failed[0].status.description is None


async def test_no_text_is_exported_unless_it_is_asked_for(exported):
    await asked(Script())

    told = text_of(exported())
    assert [canary for canary in CANARIES if canary in told] == []


async def test_with_the_setting_all_text_is_exported_as_the_conventions_form_it(exported):
    await asked(Script(), otel_content=True)

    spans = exported()
    told = text_of(spans)
    assert [canary for canary in CANARIES if canary not in told] == []
    run = operation(spans, "invoke_agent")[-1]
    (question,) = json.loads(run.attributes["gen_ai.input.messages"])
    (answer,) = json.loads(run.attributes["gen_ai.output.messages"])
    assert question["parts"] == [{"type": "text", "content": "asked question"}]
    assert (answer["role"], answer["finish_reason"]) == ("assistant", "stop")
    programs = [
        json.loads(cell.attributes["gen_ai.tool.call.arguments"])["code"].strip()
        for cell in operation(spans, "execute_tool")
    ]
    assert PROGRAM.strip() in programs


async def test_text_that_has_no_utf8_form_is_exported_with_marks(exported):
    script = [code("FINAL('\\ud800')")]

    await asked(lambda _: script[0], otel_content=True)

    run = operation(exported(), "invoke_agent")[-1]
    assert "?" in run.attributes["gen_ai.output.messages"]


async def test_a_failing_cell_is_an_error_of_its_span_only(exported):
    replies = iter([code("1 / 0"), code("FINAL('answered')")])

    await asked(lambda _: next(replies))

    failed = [span for span in exported() if span.status.status_code is StatusCode.ERROR]
    assert [(span.name, span.attributes["error.type"]) for span in failed] == [(CELL, "error")]


async def test_the_span_of_a_run_that_fails_ends_as_failed(exported):
    view = await asked(lambda _: ScriptedReply("broken", status=400))

    (run,) = operation(exported(), "invoke_agent")
    assert view.error is not None
    assert run.attributes["error.type"] == type(view.error).__name__
    assert run.status.status_code is StatusCode.ERROR


async def test_a_cancelled_run_leaves_no_span_open(exported):
    stuck = Stuck()
    async with asking(stuck) as (service, session):
        job = await service.start(session, Query("asked"))
        await stuck.reached.wait()
        await service.cancel(job.run_id)

        spans = exported()
    top = "invoke_agent"
    assert paths(spans) == {
        top: 1,
        f"{top}/chat": 1,
        f"{top}/execute_tool": 1,
        f"{top}/execute_tool/chat": 1,
    }
    chats = operation(spans, "chat")
    assert [chat.attributes.get("error.type") for chat in chats] == [None, "cancelled"]
    assert operation(spans, top)[0].attributes["rlm.stopped_by"] == "cancelled"


async def test_a_service_that_closes_ends_the_spans_of_its_runs(exported):
    stuck = Stuck()
    async with asking(stuck) as (service, session):
        await service.start(session, Query("asked"))
        await stuck.reached.wait()

    top = "invoke_agent"
    assert paths(exported()) == {
        top: 1,
        f"{top}/chat": 1,
        f"{top}/execute_tool": 1,
        f"{top}/execute_tool/chat": 1,
    }
    assert operation(exported(), top)[0].attributes["rlm.stopped_by"] == "server"


async def test_a_run_that_goes_on_has_spans_of_all_it_does_and_asks_from_there(exported):
    is_mended = False

    def script(messages):
        if messages[-1].content == "broken" and not is_mended:
            return ScriptedReply("lost", status=503, headers={"Retry-After": "3600"})
        if len(messages) == 1:
            return "replied"
        if "nested question" in messages[1].content:
            return code("FINAL(llm_query('broken'))")
        if len(messages) == 2:
            return code("coded = llm_query('prompted')")
        return code("FINAL(rlm_query('nested question'))")

    async with asking(script) as (service, session):
        job = await service.start(session, Query("asked"))
        await job.ended.wait()
        before = len(exported())
        is_mended = True
        again = await resume(service, job.run_id)
        await again.ended.wait()
        view = await service.view(job.run_id)
        line = again.status.line()

    spans, top = exported()[before:], "invoke_agent"
    nested = f"{top}/execute_tool/{top}"
    assert (job.outcome.stopped_by, view.answer.text) == ("endpoint", "replied")
    assert line.startswith(f"turn {view.answer.turns}/{Budget().turns} ")
    assert paths(spans) == {
        top: 1,
        f"{top}/execute_tool": view.answer.turns,
        nested: 1,
        f"{nested}/execute_tool": 1,
        f"{nested}/execute_tool/chat": 1,
    }
    run = operation(spans, top)[-1]
    assert run.attributes["gen_ai.conversation.id"] == view.session
    assert run.attributes["rlm.stopped_by"] == view.answer.stopped_by
    assert run.attributes["gen_ai.usage.input_tokens"] == view.answer.usage.input_tokens


async def test_what_is_open_when_no_more_is_told_ends_as_interrupted(exported):
    spans = Spans("run_1", content=False)
    spans.emit(RunStarted("", "?", "ses", (), "m", "m", Budget()))

    spans.close()

    assert [span.attributes["error.type"] for span in exported()] == ["interrupted"]


@pytest.mark.parametrize("breaks_at", ["execute_tool", "invoke_agent"])
async def test_a_span_processor_that_breaks_does_not_break_the_run(
    exported, fragile, monkeypatch, breaks_at
):
    monkeypatch.setattr(fragile, "breaks_at", breaks_at)

    view = await asked(Script())

    assert view.answer.text == "answered"
    assert operation(exported(), breaks_at) == []


async def test_the_span_that_is_current_where_a_run_is_asked_for_is_its_parent(exported):
    async with asking(Script()) as (service, session):
        with trace.get_tracer("test").start_as_current_span("caller") as caller:
            job = await service.start(session, Query("asked"))
        await job.ended.wait()

    run = operation(exported()[1:], "invoke_agent")[-1]
    assert run.parent.span_id == caller.get_span_context().span_id
    assert run.end_time > exported()[0].end_time


async def asked_by_client(meta, era="auto"):
    """A run that an MCP client asked for, with `meta` as the `_meta` of its request."""
    async with serve(lambda _: code("FINAL('answered')")) as model:
        settings = Settings.load(api_url=model.url, strategy="rlm")
        with anyio.fail_after(30):
            async with open_app(settings) as app, Client(build_server(app), mode=era) as client:
                await client.call_tool("load_context", {"text": "some text"})
                await client.call_tool("rlm_query", {"query": "?"}, meta=meta)


async def test_the_trace_that_a_request_names_goes_on_in_the_run(exported):
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

    await asked_by_client({"traceparent": f"00-{trace_id}-{span_id}-01", "tracestate": "v=1"})

    spans = exported()
    by_id = {span.context.span_id: span for span in spans}
    run = next(span for span in spans if span.name == RUN)
    request = by_id[run.parent.span_id]
    assert request.name == "tools/call rlm_query"
    assert f"{request.parent.span_id:016x}" == span_id
    assert f"{run.context.trace_id:032x}" == trace_id
    assert run.context.trace_state.get("v") == "1"


async def test_a_client_of_the_older_revisions_names_its_own_span(exported):
    await asked_by_client(None, era="legacy")

    by_id = {span.context.span_id: span for span in exported()}
    run = next(span for span in by_id.values() if span.name == RUN)
    request = by_id[run.parent.span_id]
    assert by_id[request.parent.span_id].kind is SpanKind.CLIENT


async def test_a_trace_that_the_client_does_not_sample_is_not_recorded(exported):
    await asked_by_client({"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"})

    assert [span for span in exported() if span.name == RUN] == []


def test_who_only_imports_us_does_not_load_opentelemetry():
    program = "import sys, rlm_mcp.service; print('opentelemetry' in sys.modules)"
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert child.stdout.strip() == "False"
