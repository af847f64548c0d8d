"""`/metrics`: what the pipelines do, for Prometheus."""

from __future__ import annotations

import time

from mlkit.bpmn.journal.notices import MAIL_STATES
from mlkit.bpmn.journal.records import ENDED, STATES, Entry, Log
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.context import Context
from mlkit.web.application import Answer, Operation, Request, Response, Route
from mlkit.web.metrics import (
    CONTENT_TYPE,
    Counter,
    Counters,
    Gauge,
    Histogram,
    SharedCounters,
    Shown,
)
from mlkit.web.metrics import exposition as expose

COUNTERS = (*ENDED, "attempts", "failures", "taken", "lost")
HISTOGRAMS = ("instance", "attempt", "queue")
_COUNTERS = {
    "bpmn_instances_ended": Counter(
        "Instances that this server has ended.",
        label="state",
        counters={each: each for each in ENDED},
    ),
    "bpmn_attempts": Counter("Attempts at scripts and callables.", "attempts"),
    "bpmn_script_failures": Counter("Attempts that failed.", "failures"),
    "bpmn_lease_changes": Counter(
        "Instances that this server has taken, and those that it has lost to another host.",
        label="change",
        counters={"taken": "taken", "lost": "lost"},
    ),
}
_HISTOGRAMS = {
    "bpmn_instance_seconds": Histogram("From the start of an instance to its end.", "instance"),
    "bpmn_attempt_seconds": Histogram("Time of an attempt at a script or callable.", "attempt"),
    "bpmn_queue_seconds": Histogram(
        "From the arrival of a token at a script to the beginning of its first attempt.", "queue"
    ),
}


def count(counters: Counters, running: Running, entry: Entry) -> None:
    """Count an event of an instance, in the engine's thread."""
    log = entry.log
    if log is not None:
        counters.add("attempts")
        counters.observe("attempt", log.duration)
        if log.outcome not in ("completed", "error"):
            counters.add("failures")
        # Of later attempts, those before them and the pauses between are no time in a queue.
        if log.attempt == 1 and (arrived := _find_arrival(running, entry, log)):
            counters.observe("queue", max(0.0, log.ended - log.duration - arrived))
    if entry.ends and running.row is not None:
        counters.add(running.state.status)
        counters.observe("instance", max(0.0, entry.at - running.row.created))


def _find_arrival(running: Running, entry: Entry, log: Log) -> float:
    """Return when the token arrived whose attempt an event concludes; 0 where that is unknown."""
    for hop in entry.trace[:1]:
        if hop.element == log.element and hop.began:
            return hop.began
    there = running.state.activations.get(getattr(entry.event, "id", 0))
    return there.began if there is not None and there.node == log.element else 0.0


def routes(context: Context) -> dict[str, Route]:
    """Return the path of the metrics."""

    async def metrics(request: Request) -> Response:
        gauges = await context.call(lambda service: _gauges(service, len(context.feed)))
        shown = Shown(_COUNTERS, _HISTOGRAMS, gauges)
        return Response(
            expose(_require_counters(context), shown), headers=((b"content-type", CONTENT_TYPE),)
        )

    operation = Operation(
        metrics,
        id="getMetrics",
        summary="Instances, tasks and mails by state, durations, failures, leases, requests.",
        tag="server",
        role="viewer",
        answers={200: Answer("Prometheus text format.", media="text/plain")},
    )
    return {"/metrics": Route("/metrics", {"GET": operation})}


def _require_counters(context: Context) -> SharedCounters:
    assert context.counters is not None
    return context.counters


def _gauges(service: Service, watchers: int) -> dict[str, Gauge]:
    index = service.journal.index
    counts, mails = index.counts(), service.journal.outbox.counts()
    due = service.journal.schedules.next_due()
    return {
        "bpmn_instances": Gauge(
            "Instances by state.",
            label="state",
            values={state: counts.get(state, 0) for state in STATES},
        ),
        "bpmn_tasks_waiting": Gauge("User tasks that wait.", index.task_count()),
        "bpmn_incidents": Gauge("Incidents that need somebody.", index.incident_count()),
        "bpmn_mails": Gauge(
            "Mails by state.", label="state", values={**dict.fromkeys(MAIL_STATES, 0), **mails}
        ),
        "bpmn_schedule_lag_seconds": Gauge(
            "How long the next start by a timer is overdue.",
            0.0 if due is None else max(0.0, time.time() - due),
        ),
        "bpmn_watchers": Gauge("Clients that watch.", watchers),
    }
