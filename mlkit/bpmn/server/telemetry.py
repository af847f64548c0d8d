"""Traces and metrics for a collector of OpenTelemetry, by OTLP over HTTP; the only importer of it.

An instance is a trace: one span from its start to its end, and one for each attempt at a task.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlkit.bpmn.journal.records import Entry, Log
from mlkit.bpmn.people import masking
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.trace_context import span_id, trace_id
from mlkit.errors import PackageMissing, UsageError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import SpanProcessor

SECONDS = (
    *(0.001, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 14400.0),
    *(86400.0, 604800.0),
)
"""Upper bounds of the buckets: a script takes milliseconds, an instance that asks people days."""
_FLUSH_LIMIT = 3.0
"""Seconds that a collector has to take what is left at the end."""
_DONE = ("completed", "error")
logger = logging.getLogger("mlkit.bpmn")


class Telemetry:
    """Reports what instances do.

    Args:
        spans: Where spans go.
        reader: Who reads the metrics.
    """

    def __init__(self, spans: SpanProcessor, reader: MetricReader) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._spans = spans
        self._scope = InstrumentationScope("mlkit.bpmn", version("mlkit"))
        about = {"service.name": "mlkit-bpmn", "host.name": socket.gethostname()}
        self._resource = Resource.create(about)
        view = View(
            instrument_name="mlkit.bpmn.*.duration",
            aggregation=ExplicitBucketHistogramAggregation(SECONDS),
        )
        self._meters = MeterProvider([reader], self._resource, views=[view], shutdown_on_exit=False)
        meter = self._meters.get_meter("mlkit.bpmn")
        self._attempts = meter.create_histogram(
            "mlkit.bpmn.attempt.duration", "s", "Time of an attempt at a task."
        )
        self._instances = meter.create_histogram(
            "mlkit.bpmn.instance.duration", "s", "From the start of an instance to its end."
        )

    def note(self, running: Running, entry: Entry) -> None:
        """Report an event of an instance that is durable."""
        process = running.state.process
        if entry.log is not None:
            labels = {"definition": process, "element": entry.log.element}
            self._attempts.record(entry.log.duration, {**labels, "outcome": entry.log.outcome})
            self._attempt(running, entry, entry.log)
        if entry.ends and running.row is not None:
            seconds = max(0.0, entry.at - running.row.created)
            self._instances.record(seconds, {"definition": process, "state": running.state.status})
            self._instance(running, entry.at, running.row.created, running.row.key)

    def _attempt(self, running: Running, entry: Entry, log: Log) -> None:
        activation = getattr(entry.event, "id", 0)
        about = {
            "element": log.element, "iteration": log.iteration, "attempt": log.attempt,
            "outcome": log.outcome, "peak_bytes": log.peak,
        }  # fmt: skip
        problem = "" if log.outcome in _DONE else getattr(entry.event, "message", log.outcome)
        own = span_id(running.id, activation, log.attempt)
        self._end(running, log.element, own, log.ended - log.duration, log.ended, about, problem)

    def _instance(self, running: Running, at: float, since: float, key: str) -> None:
        state = running.state
        about = {"state": state.status, "business_key": key}
        problem = (state.error or {}).get("message", "failed") if state.status == "failed" else ""
        self._end(running, state.process, span_id(running.id), since, at, about, problem)

    def _end(
        self,
        running: Running,
        name: str,
        own: int,
        since: float,
        until: float,
        about: dict[str, Any],
        problem: str,
    ) -> None:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

        def context(span: int) -> SpanContext:
            flags = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(trace_id(running.id), span, is_remote=False, trace_flags=flags)

        if problem:
            problem = masking.of_instance(running.engine, running.state).text(problem)
        root = span_id(running.id)
        known = {"instance": running.id, "definition": running.state.process, **about}
        status = Status(StatusCode.ERROR, problem) if problem else Status(StatusCode.OK)
        self._spans.on_end(
            ReadableSpan(
                name,
                context(own),
                None if own == root else context(root),
                self._resource,
                {f"mlkit.{key}": value for key, value in known.items() if value != ""},
                status=status,
                start_time=int(since * 1e9),
                end_time=int(until * 1e9),
                instrumentation_scope=self._scope,
            )
        )

    def close(self) -> None:
        """Send what is left; a collector that does not take it soon delays no stop."""
        parts = [
            threading.Thread(target=each.shutdown, name="telemetry", daemon=True)
            for each in (self._spans, self._meters)
        ]
        deadline = time.monotonic() + _FLUSH_LIMIT
        for each in parts:
            each.start()
        for each in parts:
            each.join(max(0.0, deadline - time.monotonic()))
        if any(each.is_alive() for each in parts):
            logger.warning("the collector did not take the last traces and metrics; they are lost")


def require_endpoint(url: str) -> None:
    """Refuse an endpoint that is none, or a Python without OpenTelemetry.

    Raises:
        UsageError: It is not HTTP URL.
        PackageMissing: The packages are not installed.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--otlp {url!r:.80}: expected a URL", hint="http://127.0.0.1:4318")
    try:
        import opentelemetry.exporter.otlp.proto.http  # noqa: F401
    except ImportError as error:
        raise PackageMissing.of("--otlp needs the packages of OpenTelemetry", "otel") from error


def exporting(url: str) -> Telemetry:
    """Return what reports to a collector.

    Args:
        url: Its HTTP endpoint, such as `http://127.0.0.1:4318`; headers and time limits are those
            of the variables `OTEL_EXPORTER_OTLP_*`.

    Raises:
        UsageError: It is not HTTP URL.
        PackageMissing: The packages are not installed.
    """
    require_endpoint(url)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    base = url.rstrip("/")
    spans = BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces"))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics"))
    return Telemetry(spans, reader)
