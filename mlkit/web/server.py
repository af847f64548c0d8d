"""An HTTP server in this process: uvicorn around an application, within limits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import uvicorn
import uvloop

from mlkit.web.application import OTHER, Application
from mlkit.web.direct import DirectAnswers
from mlkit.web.direct_protocol import DirectProtocol
from mlkit.web.listeners import BACKLOG
from mlkit.web.metrics import Counters
from mlkit.web.protocol import Clock, ConnectionLimits, LimitedProtocol

_SWEEP = 0.5
logger = logging.getLogger("mlkit.web")


class _Server(uvicorn.Server):
    """uvicorn without its handling of signals, which would end the process by the signal."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Accept nothing more, finish the requests in flight, and return from `serve`."""
        self.should_exit = True


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run the event loop of a serving process until its work is done."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    uvloop.run(work())  # type: ignore[arg-type]


async def serve(
    application: Application,
    listener: socket.socket,
    counters: Counters,
    *,
    parent: int,
    limits: ConnectionLimits,
    drain_timeout: float,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until SIGTERM, or until the supervisor is gone.

    Args:
        application: Answers them.
        listener: The socket that connections come from.
        counters: Where requests are counted that do not reach the application.
        parent: The read end of the parent-death pipe.
        limits: What a connection may take.
        drain_timeout: Seconds to finish the requests in flight.
        on_stop: Called when the stop begins, perhaps again.
    """
    clock = Clock()
    clock.now = asyncio.get_running_loop().time()
    protocol = partial(
        DirectProtocol,
        direct=DirectAnswers(application.direct_operations()),
        limits=limits,
        clock=clock,
        on_refusal=lambda status: counters.request(OTHER, status, 0.0),
    )
    server = _Server(_configuration(application, protocol, limits, drain_timeout))
    _stop_on_signals(server, parent, on_stop)
    sweeping = asyncio.create_task(_sweep(server, clock))
    try:
        await server.serve(sockets=[listener])
    finally:
        sweeping.cancel()


def _configuration(
    application: Application, protocol: Any, limits: ConnectionLimits, drain_timeout: float
) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(limits.idle_seconds),
        timeout_graceful_shutdown=max(1, int(drain_timeout)),
    )


def _stop_on_signals(server: _Server, parent: int, on_stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.stop()
        on_stop()

    def supervisor_gone() -> None:
        loop.remove_reader(parent)
        stop()

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_reader(parent, supervisor_gone)


async def _sweep(server: _Server, clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(_SWEEP)
        clock.now = loop.time()
        for connection in list(server.server_state.connections):
            if isinstance(connection, LimitedProtocol):
                try:
                    connection.sweep()
                except Exception:  # one connection must not end the limits of all others
                    logger.exception("a connection cannot be checked")
