"""Metrics of all processes: counters in memory that they share, shown by prometheus_client.

A process adds to its own row, so nothing is locked and nothing is copied before a scrape, and a
worker that is restarted goes on counting in its row.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
ROUTES = (
    "/predict",
    "/feedback",
    "/health",
    "/arms",
    "/arms/{id}",
    "/metrics",
    "/openapi.json",
    "/docs",
    "other",
)
STATUSES = (200, 201, 204, 400, 401, 404, 405, 409, 410, 413, 422, 500, 503)
BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Upper bounds of the latency buckets in seconds; a last bucket has none."""
_BUCKETS = len(BOUNDS) + 1
_HISTOGRAM = _BUCKETS + 1  # and the sum

_REQUESTS = 0
_SECONDS = _REQUESTS + len(ROUTES) * len(STATUSES)
_LAG = _SECONDS + len(ROUTES) * _HISTOGRAM
PREDICTIONS = _LAG + _HISTOGRAM
UNKNOWN_CONTEXTS = PREDICTIONS + 1
UNKNOWN_ARMS = PREDICTIONS + 2
EVENTS = PREDICTIONS + 3
DUPLICATES = PREDICTIONS + 4
IGNORED = PREDICTIONS + 5
CONFLICTS = PREDICTIONS + 6
COMMITS = PREDICTIONS + 7
RESTARTS = PREDICTIONS + 8
_WIDTH = PREDICTIONS + 9

_STATUS_INDEX = {status: index for index, status in enumerate(STATUSES)}


class SharedCounters:
    """The rows of all processes; made before they are forked.

    Args:
        rows: One for each worker, one for the writer and one for the supervisor.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._values = memoryview(mmap.mmap(-1, rows * _WIDTH * 8)).cast("d")

    def row(self, number: int) -> Counters:
        """Give the row of one process."""
        return Counters(self._values[number * _WIDTH : (number + 1) * _WIDTH])

    def sums(self) -> list[float]:
        """Give the sums over all processes."""
        values = self._values.tolist()
        return [sum(values[column::_WIDTH]) for column in range(_WIDTH)]


class Counters:
    """The counters of one process."""

    def __init__(self, values: memoryview[float]) -> None:
        self._values = values

    def add(self, counter: int, amount: float = 1) -> None:
        """Add to one of the counters that this module names."""
        self._values[counter] += amount

    def prediction(self, candidates: int, unknown_contexts: int, unknown_arms: int) -> None:
        """Count one prediction."""
        values = self._values
        values[PREDICTIONS] += candidates
        values[UNKNOWN_CONTEXTS] += unknown_contexts
        values[UNKNOWN_ARMS] += unknown_arms

    def request(self, route: int, status: int, seconds: float) -> None:
        """Count one request: the index of its route, its status and its duration."""
        values = self._values
        values[route * len(STATUSES) + _STATUS_INDEX[status]] += 1
        start = _SECONDS + route * _HISTOGRAM
        values[start + bisect_left(BOUNDS, seconds)] += 1
        values[start + _BUCKETS] += seconds

    def lag(self, seconds: float) -> None:
        """Count how long feedback took from its receipt until all workers see it."""
        self._values[_LAG + bisect_left(BOUNDS, seconds)] += 1
        self._values[_LAG + _BUCKETS] += seconds


class _Collector:
    """Gives the sums to prometheus_client."""

    def __init__(self, counters: SharedCounters, gauges: dict[str, tuple[str, float]]) -> None:
        self._sums = counters.sums()
        self._gauges = gauges

    def collect(self) -> Iterator[object]:
        from prometheus_client.core import GaugeMetricFamily

        yield self._requests()
        yield self._durations()
        yield from self._counts()
        yield self._lag()
        for name, (text, value) in self._gauges.items():
            yield GaugeMetricFamily(f"mlkit_{name}", text, value=value)

    def _requests(self) -> object:
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(
            "mlkit_requests", "Requests answered.", labels=["route", "status"]
        )
        for index, value in enumerate(self._sums[_REQUESTS:_SECONDS]):
            if value:
                route, status = divmod(index, len(STATUSES))
                family.add_metric([ROUTES[route], str(STATUSES[status])], value)
        return family

    def _durations(self) -> object:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(
            "mlkit_request_seconds", "From a request's arrival to its answer.", labels=["route"]
        )
        for number, route in enumerate(ROUTES):
            buckets, total = self._histogram(_SECONDS + number * _HISTOGRAM)
            if buckets[-1][1]:
                family.add_metric([route], buckets, total)
        return family

    def _lag(self) -> object:
        from prometheus_client.core import HistogramMetricFamily

        buckets, total = self._histogram(_LAG)
        text = "From the receipt of feedback until it is durable and all workers see it."
        return HistogramMetricFamily(
            "mlkit_feedback_lag_seconds", text, buckets=buckets, sum_value=total
        )

    def _histogram(self, start: int) -> tuple[list[tuple[str, float]], float]:
        buckets, total = [], 0.0
        for offset, bound in enumerate((*map(str, BOUNDS), "+Inf")):
            total += self._sums[start + offset]
            buckets.append((bound, total))
        return buckets, self._sums[start + _BUCKETS]

    def _counts(self) -> Iterator[object]:
        from prometheus_client.core import CounterMetricFamily

        for name, (counter, text) in _PLAIN.items():
            yield CounterMetricFamily(f"mlkit_{name}", text, value=self._sums[counter])
        for name, (text, label, counters) in _LABELLED.items():
            family = CounterMetricFamily(f"mlkit_{name}", text, labels=[label])
            for value, counter in counters.items():
                family.add_metric([value], self._sums[counter])
            yield family


_PLAIN = {
    "predictions": (PREDICTIONS, "Candidates scored."),
    "journal_commits": (COMMITS, "Synced commits of the journal."),
    "process_restarts": (RESTARTS, "Workers and writers started again after their death."),
}
_LABELLED = {
    "unknown_candidates": (
        "Candidates that fell back: to the arm's posterior (context) or to the prior (arm).",
        "missing",
        {"context": UNKNOWN_CONTEXTS, "arm": UNKNOWN_ARMS},
    ),
    "feedback_events": (
        "Feedback events by what became of them.",
        "outcome",
        {
            "counted": EVENTS,
            "duplicate": DUPLICATES,
            "ignored": IGNORED,
            "conflict": CONFLICTS,
        },
    ),
}


def exposition(counters: SharedCounters, gauges: dict[str, tuple[str, float]]) -> bytes:
    """Give the metrics of all processes in the Prometheus text format.

    Args:
        counters: The rows of all processes.
        gauges: Name -> (help, value) of what is true now.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(counters, gauges))  # type: ignore[arg-type]
    return generate_latest(registry)
