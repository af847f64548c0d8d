"""Where a request's time goes: `python benchmarks/bandit/request_stages.py [--json FILE]`.

A prediction of 400 distinct random candidates out of 100,000 arms, taken apart in one process
without a socket: each stage of the endpoint on its own, then the whole ASGI application. What the
application takes beyond its stages is routing, headers and metrics; what the server takes beyond
the application (serving.py: server CPU) is HTTP, the event loop and the kernel, as http_servers.py
measures it for an application that does nothing.

Times are CPU time of the thread, without that of the clock, in microseconds a request: median and
the range from the 10th to the 90th percentile. Another load on the machine takes cache, so that
even CPU time grows with it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import serving
from rich.console import Console
from rich.table import Table

from mlkit.bandit._posterior_table import PosteriorTable, ThompsonSampler
from mlkit.bandit.server.api.endpoints import Endpoints
from mlkit.bandit.server.api.messages import (
    Limits,
    Prediction,
    UnknownShare,
    check_prediction,
    predict_decoder,
)
from mlkit.bandit.server.decisions.decision import KEY_BYTES, DecisionIds
from mlkit.bandit.server.metrics import LAYOUT
from mlkit.bandit.server.processes import worker
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.stores import memory_mapped
from mlkit.web.application import Application
from mlkit.web.bodies import decode
from mlkit.web.metrics import SharedCounters

HEADERS = [(b"host", b"localhost"), (b"content-type", b"application/json")]


class Clock:
    """Collects the CPU times of named pieces of work."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def timed(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        start = time.thread_time_ns()
        result = work(*arguments)
        self.times.setdefault(name, []).append((time.thread_time_ns() - start) / 1e3)
        return result

    def summary(self) -> dict[str, dict[str, float]]:
        own = statistics.median(self.times.pop("clock"))
        found = {}
        for name, micros in self.times.items():
            low, middle, high = np.percentile(micros, [10, 50, 90]) - own
            found[name] = {"median": middle, "p10": low, "p90": high}
        return found


def application(table: Path, ids: DecisionIds) -> Application:
    """Make a worker's application, without the writer."""
    counters = SharedCounters(LAYOUT, 1)
    settings = Settings(table, table.parent)
    endpoints = Endpoints(settings, ids, counters, counters.row(0), started=time.monotonic())
    endpoints.use_store(PosteriorTable.open(str(table)), "benchmark")
    return worker.application(endpoints, settings, counters, 0)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise RuntimeError("the application waits")


def exchange(app: Application, body: bytes) -> Coroutine[Any, Any, None]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(str(message))

    path = {"path": "/predict", "raw_path": b"/predict", "query_string": b""}
    scope = {"type": "http", "method": "POST", "headers": HEADERS, **path}
    return app(scope, receive, send)


def measure(folder: Path, requests: int) -> dict[str, dict[str, float]]:
    posteriors, path, bodies = folder / "posteriors.csv", folder / "table", folder / "bodies"
    serving.write_bodies(bodies, serving.write_posteriors(posteriors), 400, requests)
    _, writer = memory_mapped.load(posteriors, path)
    table, sampler = PosteriorTable.open(str(path)), ThompsonSampler()
    ids, encode = DecisionIds(os.urandom(KEY_BYTES)), msgspec.json.Encoder().encode
    app, limits, clock = application(path, ids), Limits(), Clock()
    # Other bytes each time, as from a socket.
    for body in bodies.read_bytes().splitlines():
        request = clock.timed("decode", decode, predict_decoder, body)
        clock.timed("check", check_prediction, request, limits)
        fetched = clock.timed("fetch", table.fetch, request.context, request.candidates)
        arms, scores = clock.timed("sample + top 10", sampler.top_k, fetched, request.k)
        name = clock.timed("decision id", ids.make, request.context, arms)
        answer = Prediction(name, arms, scores, UnknownShare(0.0, 0.0))
        clock.timed("encode", encode, answer)
        del request, fetched
        clock.timed("whole application", run, exchange(app, body))
        clock.timed("clock", int)
    del writer
    return clock.summary()


def show(found: dict[str, dict[str, float]]) -> None:
    table = Table(title="A prediction of 400 candidates, us of CPU")
    for column in ("stage", "median", "(p10-p90)"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, row in found.items():
        table.add_row(name, f"{row['median']:.1f}", f"{row['p10']:.1f}-{row['p90']:.1f}")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.requests)
    show(found)
    if options.json:
        options.json.write_text(json.dumps({"stages": found, "load": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
