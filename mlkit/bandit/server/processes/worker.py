"""A worker process: the application of a server, around a store and the writer's client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlkit.bandit._posterior_table import PosteriorTable
from mlkit.bandit.server.api import interface
from mlkit.bandit.server.api.endpoints import Endpoints
from mlkit.bandit.server.dashboard.overview import Boards, Overviews
from mlkit.bandit.server.dashboard.routes import Dashboard
from mlkit.bandit.server.dashboard.shares import ShownArms
from mlkit.bandit.server.decisions.decision import DecisionIds
from mlkit.bandit.server.decisions.decision_log import DecisionLog
from mlkit.bandit.server.decisions.policy_reader import PolicyReader
from mlkit.bandit.server.features.fetching import LATE, FeatureFetcher
from mlkit.bandit.server.post_process.stage import PostProcess
from mlkit.bandit.server.processes.protocol import Table, TableReady
from mlkit.bandit.server.processes.writer_client import WriterClient
from mlkit.bandit.server.settings import Settings
from mlkit.web import server
from mlkit.web.access import Access
from mlkit.web.application import Application
from mlkit.web.collection import collect_seldom
from mlkit.web.metrics import Counters, SharedCounters

_LOG_FLUSH = 0.2
_PUBLISHED_EVERY = 1.0


@dataclass(frozen=True)
class WorkerContext:
    """What a worker has from the supervisor.

    Attributes:
        settings: The server's settings.
        number: The worker's number, from 0.
        listener: The socket that it accepts from.
        writer: The path of the writer's socket.
        key: The key of decision ids.
        counters: The counters of all processes.
        boards: What processes publish for one another.
        parent: The read end of the parent-death pipe.
        started: When the server started, on the monotonic clock.
    """

    settings: Settings
    number: int
    listener: socket.socket
    writer: str
    key: bytes
    counters: SharedCounters
    boards: Boards
    parent: int
    started: float


def run(context: WorkerContext) -> None:
    """Answer requests until SIGTERM, or until the supervisor is gone."""
    server.run(partial(_serve, context))


async def _serve(context: WorkerContext) -> None:
    settings = context.settings
    log = None if settings.log is None else DecisionLog(settings.log, context.number)
    own = context.counters.row(context.number)
    writer = WriterClient(context.writer, lambda ready: _use(endpoints, ready))
    shown = ShownArms(context.boards.shown[context.number])
    process = _post_process(settings, own)
    features = _features(settings, own, () if process is None else process.features)
    endpoints = Endpoints(
        settings,
        DecisionIds(context.key),
        context.counters,
        own,
        writer,
        started=context.started,
        log=log,
        writer=context.counters.row(settings.workers),
        shown=shown,
        features=features,
        post_process=process,
    )
    dashboard = _dashboard(context, endpoints)
    tasks = [
        asyncio.create_task(each)
        for each in (writer.keep_connected(), dashboard.follow(), _publish_often(shown))
    ]
    if log is not None:
        tasks.append(asyncio.create_task(_flush_often(log)))
    collect_seldom()
    await server.serve(
        application(endpoints, settings, context.counters, context.number, dashboard),
        context.listener,
        own,
        parent=context.parent,
        limits=settings.connections,
        drain_timeout=settings.drain_timeout,
        on_stop=dashboard.close,
    )
    for task in tasks:
        task.cancel()
    if log is not None:
        log.close()
    if features is not None:
        await features.close()


def _post_process(settings: Settings, counters: Counters) -> PostProcess | None:
    if settings.post_process is None:
        return None
    found = PostProcess(settings.post_process, counters)
    found.check(has_store=settings.features is not None)
    return found


def _features(
    settings: Settings, counters: Counters, others: Sequence[str]
) -> FeatureFetcher | None:
    wanted = settings.features
    if wanted is None:
        return None
    times, seconds = LATE
    patience = max(times * wanted.timeout, seconds)
    source = wanted.address.open(patience, settings.unpacking)
    chunk, timeout = wanted.chunk, wanted.timeout
    return FeatureFetcher(source, counters, chunk=chunk, timeout=timeout, others=others)


def _dashboard(context: WorkerContext, endpoints: Endpoints) -> Dashboard:
    settings = context.settings
    about = endpoints.answering, context.started
    overviews = Overviews(settings, context.counters, context.boards, *about)
    return Dashboard(overviews, secured=settings.tokens is not None)


def application(
    endpoints: Endpoints,
    settings: Settings,
    counters: SharedCounters,
    number: int,
    dashboard: Dashboard | None = None,
) -> Application:
    """Return the ASGI application of a worker; without a dashboard it has no page of one."""
    access: Access | None = settings.tokens
    return Application(
        interface.routes(endpoints, settings.limits, access, dashboard),
        counters.row(number),
        max_body=settings.limits.max_body,
        access=access,
    )


def _use(endpoints: Endpoints, ready: TableReady) -> None:
    candidate = ready.candidate
    other = None if candidate is None else (_open(candidate), candidate.model, candidate.base)
    stable = ready.stable
    endpoints.use_store(_open(stable), stable.model, stable.base, other, ready.share)


def _open(table: Table) -> PosteriorTable | PolicyReader:
    if table.policy is None:
        return PosteriorTable.open(table.path)
    return PolicyReader(Path(table.path))


async def _publish_often(shown: ShownArms) -> None:
    while True:
        await asyncio.sleep(_PUBLISHED_EVERY)
        shown.publish()


async def _flush_often(log: DecisionLog) -> None:
    while True:
        await asyncio.sleep(_LOG_FLUSH)
        log.flush()
