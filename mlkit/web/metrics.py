"""Metrics of all processes: counters in memory that they share, shown by prometheus_client.

A process adds to its own row, so nothing is locked and nothing is copied before a scrape, and a
process that is restarted goes on counting in its row.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
STATUSES = (
    *(200, 201, 202, 204, 301, 302, 303, 304),
    *(400, 401, 403, 404, 405, 408, 409, 410, 412, 413, 415, 422, 429, 431),
    *(500, 501, 502, 503, 504),
)
BOUNDS = (
    *(0.00001, 0.000025, 0.00005),
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Upper bounds of the latency buckets in seconds; a last bucket has none."""
_PER_ROUTE = len(STATUSES) + 1 + len(BOUNDS) + 2  # any other status; the last bucket, and the sum


class Layout:
    """Where the numbers of a process are in its row.

    Args:
        routes: Names of the routes that are counted.
        counters: Names of further counters.
        histograms: Names of further histograms of seconds.
        bounds: The upper bounds of their buckets.
    """

    def __init__(
        self,
        routes: Iterable[str],
        counters: Iterable[str] = (),
        histograms: Iterable[str] = (),
        bounds: tuple[float, ...] = BOUNDS,
    ) -> None:
        self.routes = {name: number * _PER_ROUTE for number, name in enumerate(routes)}
        end = len(self.routes) * _PER_ROUTE
        self.counters = {name: end + number for number, name in enumerate(counters)}
        end += len(self.counters)
        self.bounds, size = bounds, len(bounds) + 2
        self.histograms = {name: end + n * size for n, name in enumerate(histograms)}
        self.width = end + len(self.histograms) * size


class SharedCounters:
    """The rows of all processes; made before they are forked.

    Args:
        layout: The columns.
        rows: How many processes count.
    """

    def __init__(self, layout: Layout, rows: int) -> None:
        self.layout = layout
        self._values = memoryview(mmap.mmap(-1, max(1, rows * layout.width) * 8)).cast("d")

    def row(self, number: int) -> Counters:
        """Return the row of one process."""
        width = self.layout.width
        return Counters(self.layout, self._values[number * width : (number + 1) * width])

    def sums(self) -> list[float]:
        """Return the sums over all processes."""
        values: Sequence[float] = self._values.tolist()
        width = self.layout.width
        rows = [values[start : start + width] for start in range(0, len(values), width)]
        return (
            list(rows[0])
            if len(rows) == 1
            else [sum(each, 0.0) for each in zip(*rows, strict=True)]
        )

    def histogram(self, name: str) -> Durations:
        """Return a histogram of all processes."""
        return self._durations(self.layout.histograms[name], self.layout.bounds)

    def request_histogram(self, route: str) -> Durations:
        """Return how long requests of a route took, in all processes."""
        return self._durations(self.layout.routes[route] + len(STATUSES) + 1, BOUNDS)

    def _durations(self, start: int, bounds: tuple[float, ...]) -> Durations:
        sums, end = self.sums(), start + len(bounds) + 1
        return Durations(tuple(sums[start:end]), sums[end], bounds)


@dataclass(frozen=True)
class Durations:
    """What a histogram holds.

    Attributes:
        buckets: How many durations are in each bucket, those up to the bounds and the rest.
        total: Their sum in seconds.
        bounds: The upper bounds of the buckets.
    """

    buckets: tuple[float, ...]
    total: float
    bounds: tuple[float, ...] = BOUNDS

    @property
    def count(self) -> float:
        """How many durations there are."""
        return sum(self.buckets)

    @property
    def mean(self) -> float | None:
        """The mean in seconds; None: there is none."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """Return a quantile in seconds, interpolated in its bucket as Prometheus does.

        Args:
            share: From 0 to 1.

        Returns:
            None without durations; the last bound, if it is beyond.
        """
        wanted, below = share * self.count, 0.0
        if not self.count:
            return None
        for number, (bound, inside) in enumerate(zip(self.bounds, self.buckets, strict=False)):
            if inside and below + inside >= wanted:
                low = self.bounds[number - 1] if number else 0.0
                return low + (bound - low) * (wanted - below) / inside
            below += inside
        return self.bounds[-1]


class Counters:
    """The counters of one process.

    Attributes:
        layout: The columns.
        values: The process's row.
    """

    _STATUS = {status: index for index, status in enumerate(STATUSES)}  # noqa: RUF012

    def __init__(self, layout: Layout, values: memoryview[float]) -> None:
        self.values = values
        self.layout = layout
        self._routes = layout.routes

    def add(self, counter: str, amount: float = 1) -> None:
        """Add to a counter of the layout."""
        self.values[self.layout.counters[counter]] += amount

    def observe(self, histogram: str, seconds: float) -> None:
        """Count a duration."""
        self._observe(self.layout.histograms[histogram], self.layout.bounds, seconds)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request: its route, its status and its duration."""
        start = self._routes[route]
        self.values[start + self._STATUS.get(status, len(STATUSES))] += 1
        self._observe(start + len(STATUSES) + 1, BOUNDS, seconds)

    def _observe(self, start: int, bounds: tuple[float, ...], seconds: float) -> None:
        self.values[start + bisect_left(bounds, seconds)] += 1
        self.values[start + len(bounds) + 1] += seconds


class Counter(NamedTuple):
    """How a counter is shown: its help, and the counter, or the counters of a label's values."""

    help: str
    counter: str = ""
    label: str = ""
    counters: Mapping[str, str] = {}


class Gauge(NamedTuple):
    """What is true now: a value, or the values of a label."""

    help: str
    value: float = 0.0
    label: str = ""
    values: Mapping[str, float] = {}


class Histogram(NamedTuple):
    """How a histogram is shown: its help, and the histogram, or those of a label's values."""

    help: str
    histogram: str = ""
    label: str = ""
    histograms: Mapping[str, str] = {}


class Shown(NamedTuple):
    """What is shown beside the requests; names are without the prefix `mlkit_`."""

    counters: Mapping[str, Counter] = {}
    histograms: Mapping[str, Histogram] = {}
    gauges: Mapping[str, Gauge] = {}


class _Collector:
    """Hands the sums to prometheus_client."""

    def __init__(self, counters: SharedCounters, shown: Shown) -> None:
        self._layout = counters.layout
        self._sums = counters.sums()
        self._shown = shown

    def collect(self) -> Iterator[object]:
        from prometheus_client.core import GaugeMetricFamily

        yield self._requests()
        yield self._durations()
        for name, counter in self._shown.counters.items():
            yield self._counter(name, counter)
        for name, histogram in self._shown.histograms.items():
            yield self._histogram(name, histogram)
        for name, gauge in self._shown.gauges.items():
            if not gauge.label:
                yield GaugeMetricFamily(f"mlkit_{name}", gauge.help, value=gauge.value)
                continue
            family = GaugeMetricFamily(f"mlkit_{name}", gauge.help, labels=[gauge.label])
            for label, value in gauge.values.items():
                family.add_metric([label], value)
            yield family

    def _requests(self) -> object:
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(
            "mlkit_requests", "Requests answered.", labels=["route", "status"]
        )
        for route, start in self._used_routes():
            for index, status in enumerate((*STATUSES, "other")):
                if value := self._sums[start + index]:
                    family.add_metric([route, str(status)], value)
        return family

    def _durations(self) -> object:
        from prometheus_client.core import HistogramMetricFamily

        family = HistogramMetricFamily(
            "mlkit_request_seconds", "From a request's arrival to its answer.", labels=["route"]
        )
        for route, start in self._used_routes():
            buckets, total = self._buckets(start + len(STATUSES) + 1, BOUNDS)
            family.add_metric([route], buckets, total)
        return family

    def _used_routes(self) -> Iterator[tuple[str, int]]:
        """Yield the routes that have had requests, which most have not, with their places."""
        for route, start in self._layout.routes.items():
            if any(self._sums[start : start + len(STATUSES) + 1]):
                yield route, start

    def _counter(self, name: str, counter: Counter) -> object:
        from prometheus_client.core import CounterMetricFamily

        if not counter.label:
            return CounterMetricFamily(
                f"mlkit_{name}", counter.help, value=self._count(counter.counter)
            )
        family = CounterMetricFamily(f"mlkit_{name}", counter.help, labels=[counter.label])
        for value, each in counter.counters.items():
            family.add_metric([value], self._count(each))
        return family

    def _count(self, counter: str) -> float:
        return self._sums[self._layout.counters[counter]]

    def _histogram(self, name: str, shown: Histogram) -> object:
        from prometheus_client.core import HistogramMetricFamily

        if not shown.label:
            buckets, total = self._further(shown.histogram)
            return HistogramMetricFamily(
                f"mlkit_{name}", shown.help, buckets=buckets, sum_value=total
            )
        family = HistogramMetricFamily(f"mlkit_{name}", shown.help, labels=[shown.label])
        for value, histogram in shown.histograms.items():
            family.add_metric([value], *self._further(histogram))
        return family

    def _further(self, histogram: str) -> tuple[Sequence[tuple[str, float]], float]:
        return self._buckets(self._layout.histograms[histogram], self._layout.bounds)

    def _buckets(
        self, start: int, bounds: tuple[float, ...]
    ) -> tuple[Sequence[tuple[str, float]], float]:
        buckets, total = [], 0.0
        for offset, bound in enumerate((*map(str, bounds), "+Inf")):
            total += self._sums[start + offset]
            buckets.append((bound, total))
        return buckets, self._sums[start + len(bounds) + 1]


def exposition(counters: SharedCounters, shown: Shown = Shown()) -> bytes:  # noqa: B008
    """Return the metrics of all processes in the Prometheus text format.

    Args:
        counters: The rows of all processes.
        shown: What is shown beside the requests.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(counters, shown))  # type: ignore[arg-type]
    return generate_latest(registry)
