"""A worker process: the application of a server, around a store and the writer's client."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlkit.bandit._posterior_table import PosteriorTable
from mlkit.bandit.server import interface
from mlkit.bandit.server.decision import DecisionIds
from mlkit.bandit.server.decision_log import DecisionLog
from mlkit.bandit.server.endpoints import Endpoints
from mlkit.bandit.server.policy_reader import PolicyReader
from mlkit.bandit.server.protocol import Table, TableReady
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.server.writer_client import WriterClient
from mlkit.web import server
from mlkit.web.access import Access, BearerToken
from mlkit.web.application import Application
from mlkit.web.metrics import SharedCounters

_LOG_FLUSH = 0.2


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
        parent: The read end of the parent-death pipe.
        started: When the server started, on the monotonic clock.
    """

    settings: Settings
    number: int
    listener: socket.socket
    writer: str
    key: bytes
    counters: SharedCounters
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
    endpoints = Endpoints(
        settings,
        DecisionIds(context.key),
        context.counters,
        own,
        writer,
        started=context.started,
        log=log,
        writer=context.counters.row(settings.workers),
    )
    tasks = [asyncio.create_task(writer.keep_connected())]
    if log is not None:
        tasks.append(asyncio.create_task(_flush_often(log)))
    await server.serve(
        application(endpoints, settings, context.counters, context.number),
        context.listener,
        own,
        parent=context.parent,
        limits=settings.connections,
        drain_timeout=settings.drain_timeout,
    )
    for task in tasks:
        task.cancel()
    if log is not None:
        log.close()


def application(
    endpoints: Endpoints, settings: Settings, counters: SharedCounters, number: int
) -> Application:
    """Return the ASGI application of a worker."""
    access: Access | None = None if settings.token is None else BearerToken(settings.token)
    return Application(
        interface.routes(endpoints, settings.limits, access),
        counters.row(number),
        max_body=settings.limits.max_body,
        access=access,
    )


def _use(endpoints: Endpoints, ready: TableReady) -> None:
    candidate = ready.candidate
    other = None if candidate is None else (_opened(candidate), candidate.model, candidate.base)
    stable = ready.stable
    endpoints.use_store(_opened(stable), stable.model, stable.base, other)


def _opened(table: Table) -> PosteriorTable | PolicyReader:
    if table.policy is None:
        return PosteriorTable.open(table.path)
    return PolicyReader(Path(table.path))


async def _flush_often(log: DecisionLog) -> None:
    while True:
        await asyncio.sleep(_LOG_FLUSH)
        log.flush()
