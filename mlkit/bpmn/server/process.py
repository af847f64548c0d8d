"""The processes of a server: a supervisor, and one process with the engine and the interface."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlkit.bpmn.mail.sender import SenderThread
from mlkit.bpmn.runtime.deployment import Starter
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.hosted import ServiceThreads
from mlkit.bpmn.runtime.retention import RetentionThread
from mlkit.bpmn.runtime.scheduler import Scheduler
from mlkit.bpmn.runtime.session import Session
from mlkit.bpmn.server.application import application
from mlkit.bpmn.server.changes import Changes
from mlkit.bpmn.server.context import Context
from mlkit.bpmn.server.following import follow
from mlkit.bpmn.server.logouts import Logouts
from mlkit.bpmn.server.people import People
from mlkit.bpmn.server.settings import Settings
from mlkit.bpmn.server.telemetry import exporting
from mlkit.bpmn.server.watching import watch
from mlkit.web import listeners, server
from mlkit.web.events import Feed
from mlkit.web.pages import Pages
from mlkit.web.protocol import ConnectionLimits
from mlkit.web.supervisor import Process, Role, Supervisor

_SWITCH_INTERVAL = 0.0005
PAGES = Path(__file__).parent / "pages"
_MARGIN = 5.0
"""Seconds beyond the drain timeout in which the process writes and leaves what it has."""


def serve(settings: Settings, on_ready: Callable[[str], None]) -> int:
    """Run a server until a signal.

    Args:
        settings: Its settings.
        on_ready: Called with the URL when requests are answered.

    Returns:
        The exit code: 128 + the signal's number.

    Raises:
        MlkitError: The server could not start; no process of it is left.
    """
    settings.require_sound()
    (listener,) = listeners.listen(settings.host, settings.port, 1)
    url = listeners.url(listener)
    supervisor = Supervisor(
        [Role("server", lambda process: _be_server(settings, listener, process), stops_last=True)],
        drain_timeout=settings.drain_timeout + _MARGIN,
        on_ready=lambda: on_ready(url),
        on_stop=listener.close,
        on_restart=lambda: None,
    )
    return supervisor.run()


def _be_server(settings: Settings, listener: socket.socket, process: Process) -> None:
    # The engine waits for the disk and for workers again and again, and must not wait as long for
    # the event loop to let go of the interpreter.
    sys.setswitchinterval(_SWITCH_INTERVAL)
    feed = Feed()
    telemetry = None if settings.otlp is None else exporting(settings.otlp)
    changes = Changes(feed, telemetry)
    host = Host(settings.state, settings.scripts, settings.drain_timeout, changes.note)
    host.on_lease = changes.count_leases
    host.start(on_failure=lambda: os.kill(os.getpid(), signal.SIGTERM))
    people = settings.people()
    threads = ServiceThreads(host, people=lambda: people.file.directory)
    base_url = (settings.base_url or listeners.url(listener)).rstrip("/")
    starter = Starter(settings.state, settings.scripts, {})
    mail = _mail(settings, base_url, people)
    login = settings.login(people, base_url)
    logouts = None if login is None else Logouts(threads, login.sessions.ended)
    context = Context(
        settings, base_url, host, threads, feed, starter, people, Pages(PAGES),
        settings.access(people, login), login,
    )  # fmt: skip
    scheduler = Scheduler(host, starter)
    scheduler.start()
    retention = _retention(settings, threads)
    try:
        if logouts is not None:
            logouts.read()
        server.run(lambda: _answer(context, listener, process, changes, logouts))
    finally:
        scheduler.stop()
        if retention is not None:
            retention.stop()
        if mail is not None:
            mail.stop(_MARGIN)
        if logouts is not None:
            logouts.close()
        threads.close()
        if login is not None:
            login.close()
        host.join()
        if telemetry is not None:
            telemetry.close()


def _retention(settings: Settings, threads: ServiceThreads) -> RetentionThread | None:
    """Start what removes old instances, where they are not kept for ever."""
    if settings.keep is None:
        return None
    thread = RetentionThread(
        lambda work: threads.run(lambda service: work(service.session), "retention"), settings.keep
    )
    thread.start()
    return thread


def _mail(settings: Settings, base_url: str, people: People) -> SenderThread | None:
    """Start what sends mail, where there is a mail server."""
    if settings.smtp is None:
        return None
    links = people.links if people.open_links else None
    mail = replace(settings.mail, base_url=base_url, links=links)
    thread = SenderThread(
        lambda: Session(settings.state, settings.scripts), people.file, settings.smtp, mail
    )
    thread.start()
    return thread


async def _answer(
    context: Context,
    listener: socket.socket,
    process: Process,
    changes: Changes,
    logouts: Logouts | None,
) -> None:
    made, counters = application(context)
    loop = asyncio.get_running_loop()
    changes.tell(loop, counters)
    folder = context.settings.watch
    following = [loop.create_task(follow(context, changes))]
    if folder is not None:
        following.append(loop.create_task(watch(context, folder)))
    if logouts is not None:
        following.append(loop.create_task(logouts.follow()))

    def stop() -> None:
        context.feed.close()
        context.host.stop()

    loop.call_soon(process.report_ready)
    await server.serve(
        made,
        listener,
        counters,
        parent=process.parent,
        limits=ConnectionLimits(),
        drain_timeout=context.settings.drain_timeout,
        on_stop=stop,
    )
    for each in following:
        each.cancel()
