"""Traces and metrics: an instance is a trace, an attempt a span, and a script knows its own."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typer.testing import CliRunner

from mlkit.bpmn.engine.events import Retry
from mlkit.bpmn.runtime.documents import root_variables
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.runtime.trace_context import span_id, trace_id
from mlkit.bpmn.server.telemetry import Telemetry
from mlkit.cli.main import app

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
READS = "import os; parent = os.environ['TRACEPARENT']"
BODY = (
    f'{ENDS}<scriptTask id="good"><script>{READS}</script></scriptTask>'
    '<scriptTask id="bad"><script>1/0</script></scriptTask>'
)
FLOWS = "s>good good>bad bad>e"


class Collector(ThreadingHTTPServer):
    """A collector that keeps what it gets."""

    def __init__(self) -> None:
        self.spans: dict[str, object] = {}
        self.metrics: set[str] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans |= {each.name: each for each in scope.spans}
        if self.path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    self.server.metrics |= {each.name for each in scope.metrics}
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector():
    with Collector() as found:
        yield found
        found.shutdown()


class Reporting(Session):
    """A session whose runner reports."""

    def __init__(self, folder, telemetry):
        super().__init__(folder, Settings(workers=1), create=True)
        self.telemetry = telemetry

    def runner(self, pool):
        found = super().runner(pool)
        found.on_entry = self.telemetry.note
        return found


def test_an_instance_is_a_trace_and_an_attempt_a_span_that_its_script_knows(tmp_path, diagram):
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    telemetry = Telemetry(SimpleSpanProcessor(exporter), reader)
    (tmp_path / "p.bpmn").write_text(diagram(BODY, FLOWS))
    with Reporting(tmp_path / "state", telemetry) as session:
        row = session.begin(tmp_path / "p.bpmn", {}, key="order-7")
        session.advance([row])
        parent = root_variables(session.state(row))["parent"]
        session.deliver(row, Retry())
        session.advance([session.journal.get(row.number)])
    found = exporter.get_finished_spans()
    assert [each.name for each in found] == ["good", "bad", "bad"]
    good, *bad = found
    assert {each.context.trace_id for each in found} == {trace_id(row.id)}
    assert {each.parent.span_id for each in found} == {span_id(row.id)}
    assert parent == f"00-{trace_id(row.id):032x}-{good.context.span_id:016x}-01"
    assert [each.status.status_code.name for each in found] == ["OK", "ERROR", "ERROR"]
    assert "ZeroDivisionError" in bad[0].status.description
    assert len({each.context.span_id for each in found}) == 3
    assert good.start_time <= good.end_time <= bad[0].end_time
    assert good.attributes["mlkit.instance"] == row.id


def test_an_instance_whose_branches_end_in_one_commit_is_one_span(tmp_path, diagram):
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(SimpleSpanProcessor(exporter), InMemoryMetricReader())
    timers = "".join(
        f'<intermediateCatchEvent id="t{n}"><timerEventDefinition>'
        "<timeDuration>PT0.2S</timeDuration></timerEventDefinition></intermediateCatchEvent>"
        f'<endEvent id="e{n}"/>'
        for n in (1, 2)
    )
    body = f'<startEvent id="s"/><parallelGateway id="g"/>{timers}'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>g g>t1 g>t2 t1>e1 t2>e2"))
    with Reporting(tmp_path / "state", telemetry) as session:
        session.advance([session.begin(tmp_path / "p.bpmn", {})])
    assert [each.name for each in exporter.get_finished_spans()] == ["p"]


def test_a_collector_that_takes_nothing_delays_no_stop(caplog):
    released, is_taken = threading.Event(), False

    class Stuck(SimpleSpanProcessor):
        def shutdown(self):
            nonlocal is_taken
            released.wait(60)
            is_taken = True

    Telemetry(Stuck(InMemorySpanExporter()), InMemoryMetricReader()).close()
    assert not is_taken
    assert "they are lost" in caplog.text
    released.set()


def test_a_server_reports_to_a_collector_of_otlp(
    tmp_path, diagram, collector, own_server, monkeypatch
):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    body = f'{ENDS}<scriptTask id="good"><script>{READS}</script></scriptTask>'
    (tmp_path / "p.bpmn").write_text(diagram(body, "s>good good>e"))
    server = own_server("--otlp", collector.url)
    with Session(server.state) as session:
        instance = session.begin(tmp_path / "p.bpmn", {}, key="order-7").id
    path = f"/api/v1/instances/{instance}"
    server.wait(lambda: server("GET", path).json()["state"] == "completed")
    server.wait(lambda: len(collector.spans) == 2 and len(collector.metrics) >= 2)
    assert server.stop() == 143
    assert set(collector.spans) == {"p", "good"}
    root, attempt = collector.spans["p"], collector.spans["good"]
    assert root.trace_id == attempt.trace_id == trace_id(instance).to_bytes(16, "big")
    assert (root.parent_span_id, attempt.parent_span_id) == (b"", root.span_id)
    assert collector.metrics >= {"mlkit.bpmn.attempt.duration", "mlkit.bpmn.instance.duration"}


def test_an_endpoint_that_is_none_is_refused(tmp_path):
    state = ["--state", str(tmp_path / "s")]
    found = CliRunner().invoke(app, ["bpmn", "serve", *state, "--otlp", "collector"])
    assert (found.exit_code, "--otlp" in found.stderr) == (2, True)
    assert not (tmp_path / "s").exists()
