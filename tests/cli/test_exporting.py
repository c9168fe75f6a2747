"""The command's spans as a collector gets them: real OTLP over HTTP, also when a signal ends it."""

import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

pytestmark = pytest.mark.anyio


class Collector(ThreadingHTTPServer):
    """Keeps the (service, span) names that are posted to it."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.names = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                names = [(named["service.name"], span.name) for span in scope.spans]
                self.server.names.extend(names)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def answered(messages):
    return "```repl\nFINAL('answered')\n```"


async def ask(desk, tmp_path, **variables):
    (tmp_path / "text.txt").write_text("some text", encoding="utf-8")
    desk.script = answered
    return await desk.run("ask", str(tmp_path), "what?", RLM_STRATEGY="rlm", **variables)


async def test_an_endpoint_in_the_environment_is_all_it_takes(desk, collector, tmp_path):
    code, output, _ = await ask(desk, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)

    assert (code, "answered" in output) == (0, True)
    assert ("rlm-mcp", "invoke_agent rlm-mcp") in collector.names
    assert ("rlm-mcp", "execute_tool python") in collector.names


@pytest.mark.parametrize(
    "variables", [{"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_SDK_DISABLED": "true"}]
)
async def test_opentelemetrys_own_switches_turn_it_off(desk, collector, tmp_path, variables):
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    code, _, _ = await ask(desk, tmp_path, **endpoint | variables)

    assert code == 0
    assert collector.names == []


async def test_the_user_names_the_service(desk, collector, tmp_path):
    await ask(desk, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="mine")

    assert {service for service, _ in collector.names} == {"mine"}


async def test_a_collector_that_is_gone_costs_the_answer_nothing(desk, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as gone:
        url = f"http://127.0.0.1:{gone.server_port}"

    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    code, output, _ = await ask(desk, tmp_path, **endpoint)

    assert (code, "answered" in output) == (0, True)


async def test_a_signal_that_ends_the_server_does_not_lose_its_spans(desk, collector):
    desk.environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with anyio.fail_after(60):
        async with await desk.start(
            "serve", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
        ) as server:
            await server.stdin.send(HELLO.encode())
            await server.stdout.receive()
            server.send_signal(signal.SIGTERM)
            await server.wait()

    assert ("rlm-mcp", "initialize") in collector.names


HELLO = (
    '{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion":'
    ' "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}\n'
)
