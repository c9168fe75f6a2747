"""Where the command's spans go: to the collector that OpenTelemetry's own variables name."""

import os

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def export_spans() -> None:
    """Send spans by OTLP over HTTP, in the background, if an endpoint is set and `otel` installed.

    The last are sent when the process ends. An SDK that is there already, as under
    `opentelemetry-instrument`, is left as it is. `OTEL_TRACES_EXPORTER=none` and
    `OTEL_SDK_DISABLED=true` turn it off.
    """
    if not any(map(os.environ.get, ENDPOINTS)) or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return
    from opentelemetry import trace

    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        # The variables may be meant for other programs: without our extra they say nothing to us.
        return
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        name = os.environ.get("OTEL_SERVICE_NAME") or "rlm-mcp"
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
