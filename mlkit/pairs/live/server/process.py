"""The process of the page: beside the run, so that neither holds up the other, and ends with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

from mlkit.errors import ConfigurationError
from mlkit.pairs.live.folder import RunFolder
from mlkit.web import listeners, server
from mlkit.web.events import Feed
from mlkit.web.protocol import ConnectionLimits


def require_loopback(host: str) -> None:
    """Refuse addresses that others can reach: the page has no login.

    Raises:
        ConfigurationError: It is one.
    """
    if not listeners.is_loopback(host):
        hint = "leave --host out, and put a proxy with a login before it"
        raise ConfigurationError(f"--host {host}: the page has no login", hint=hint)


class PageProcess:
    """A child that serves the page of a run; it ends with its parent, however that ends.

    Args:
        folder: The run.
        host: The address, a loopback one.
        port: The port; 0 takes a free one.
    """

    def __init__(self, folder: RunFolder, host: str, port: int) -> None:
        require_loopback(host)
        (self._listener,) = listeners.listen(host, port, 1)
        self.url = listeners.url(self._listener)
        self._folder = folder
        self._alive, self._pid = -1, 0

    def start(self) -> None:
        """Start it; the parent has no threads yet, and no lock that a child would inherit."""
        parent, self._alive = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(parent)
            self._listener.close()
            return
        code = 1
        try:
            os.close(self._alive)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            serve(self._folder, self._listener, parent)
            code = 0
        finally:
            os._exit(code)

    def wait(self) -> None:
        """Wait until it ends by itself, as by SIGTERM."""
        os.waitpid(self._pid, 0)
        os.close(self._alive)
        self._pid = 0

    def stop(self) -> None:
        """End it."""
        if self._pid:
            os.close(self._alive)
            os.waitpid(self._pid, 0)
            self._pid = 0


def serve(folder: RunFolder, listener: socket.socket, parent: int) -> None:
    """Answer until SIGTERM, or until the other end of a pipe is closed.

    Args:
        folder: The run.
        listener: Where connections come from.
        parent: The pipe's read end.
    """
    from mlkit.pairs.live.server.application import Server
    from mlkit.pairs.live.server.view import View

    feed = Feed(interval=0.25)
    answering = Server(View(folder), feed)

    async def work() -> None:
        application, counters = answering.application()
        stopped = asyncio.Event()
        following = asyncio.create_task(answering.follow(stopped))

        def stop() -> None:
            stopped.set()
            feed.close()

        await server.serve(
            application, listener, counters, parent=parent, limits=ConnectionLimits(),
            drain_timeout=2.0, on_stop=stop,
        )  # fmt: skip
        stop()
        await following

    server.run(work)
