"""A worker process: an HTTP server (uvicorn) around the application."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn
import uvloop

from mlkit.bandit.server.app import Application
from mlkit.bandit.server.decision import DecisionIds
from mlkit.bandit.server.decision_log import DecisionLog
from mlkit.bandit.server.endpoints import Endpoints
from mlkit.bandit.server.http import OneWriteProtocol
from mlkit.bandit.server.link import WriterLink
from mlkit.bandit.server.metrics import SharedCounters
from mlkit.bandit.server.settings import Settings

_LOG_FLUSH = 0.2
_BACKLOG = 2048


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
        lifeline: A pipe that ends when the supervisor dies.
        started: When the server started, on the monotonic clock.
    """

    settings: Settings
    number: int
    listener: socket.socket
    writer: str
    key: bytes
    counters: SharedCounters
    lifeline: int
    started: float


class _Server(uvicorn.Server):
    """uvicorn without its handling of signals, which would end the process by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Accept nothing more, finish the requests in flight, and return from `serve`."""
        self.should_exit = True


def run(context: WorkerContext) -> None:
    """Answer requests until SIGTERM, or until the supervisor is gone."""
    uvloop.run(_serve(context))


async def _serve(context: WorkerContext) -> None:
    settings = context.settings
    log = None if settings.log is None else DecisionLog(settings.log, context.number)
    own = context.counters.row(context.number)
    endpoints = Endpoints(
        settings,
        DecisionIds(context.key),
        context.counters,
        own,
        started=context.started,
        log=log,
    )
    endpoints.link = WriterLink(context.writer, endpoints.use_table)
    application = Application(
        endpoints.routes(), own, max_body=settings.limits.max_body, token=settings.token
    )
    server = _Server(_configuration(application, settings))
    _stop_on_signals(server, context.lifeline)
    tasks = [asyncio.create_task(endpoints.link.keep_connected())]
    if log is not None:
        tasks.append(asyncio.create_task(_flush_often(log)))
    await server.serve(sockets=[context.listener])
    for task in tasks:
        task.cancel()
    if log is not None:
        log.close()


def _configuration(application: Application, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=OneWriteProtocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, int(settings.grace)),
    )


def _stop_on_signals(server: _Server, lifeline: int) -> None:
    loop = asyncio.get_running_loop()

    def supervisor_gone() -> None:
        loop.remove_reader(lifeline)
        server.stop()

    loop.add_signal_handler(signal.SIGTERM, server.stop)
    loop.add_reader(lifeline, supervisor_gone)


async def _flush_often(log: DecisionLog) -> None:
    while True:
        await asyncio.sleep(_LOG_FLUSH)
        log.flush()
