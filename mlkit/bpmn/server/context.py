"""What the routes of a server share."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.runtime.deployment import Starter
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.hosted import ServiceThreads
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.login import Login
from mlkit.bpmn.server.people import People
from mlkit.bpmn.server.reach import Reach, Tags, reach, require_at
from mlkit.bpmn.server.settings import Settings
from mlkit.web.access import Access
from mlkit.web.application import Request
from mlkit.web.events import Feed
from mlkit.web.metrics import SharedCounters
from mlkit.web.pages import Pages

T = TypeVar("T")


def client(request: Request) -> str:
    """Return where a request comes from."""
    found = request.scope.get("client")
    return str(found[0]) if found else "unknown"


class Handover:
    """Calls that other threads leave for the event loop, many for one wake-up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []

    def call(
        self, loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: Any
    ) -> None:
        """Let the loop call a function, unless it is closed: nobody waits any more then."""
        with self._lock:
            is_first = not self._calls
            self._calls.append(partial(function, *arguments))
        if is_first:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, []
        for each in calls:
            each()


@dataclass
class Context:
    """What the routes of a server share.

    Attributes:
        settings: The server's settings.
        base_url: How others reach the server.
        host: The engine.
        threads: Where `call` runs.
        feed: Who watches what.
        starter: Starts instances.
        people: Who does user tasks, and the links of their mails.
        pages: The templates of pages.
        access: Finds out who calls.
        login: How people log in; None: they do not.
        tags: The tags of deployed definitions.
        counters: Where requests and instances are counted; known once the routes are.
        handover: What the engine's thread has for the event loop.
    """

    settings: Settings
    base_url: str
    host: Host
    threads: ServiceThreads
    feed: Feed
    starter: Starter
    people: People
    pages: Pages
    access: Access
    login: Login | None = None
    tags: Tags = field(default_factory=Tags)
    counters: SharedCounters | None = None
    handover: Handover = field(default_factory=Handover)

    def reach(self, service: Service, request: Request, role: str) -> Reach:
        """Return what the caller of a request reaches in a role."""
        return reach(service, self.tags, request.caller, role)

    async def call(
        self,
        function: Callable[[Service], T],
        request: Request | None = None,
        *,
        uses_store: bool = False,
    ) -> T:
        """Call a function, which may wait, with a service of a thread of its own.

        Args:
            function: What to do.
            request: The request that it is done for, where it changes something.
            uses_store: Whether it reads or writes stored values, for which it may wait long.
        """
        loop = asyncio.get_running_loop()
        source = "server" if request is None else client(request)
        threads = self.threads.store_executor if uses_store else self.threads.executor
        return await loop.run_in_executor(threads, self.threads.run, function, source)

    async def require_at(self, request: Request, role: str, process: str) -> None:
        """Refuse a caller who lacks a role for a definition.

        Raises:
            RequestError: 403.
        """
        if not request.caller.may(role):
            await self.call(lambda it: require_at(it, self.tags, request.caller, role, process))

    async def write(self, function: Callable[[Journal], T]) -> T:
        """Let a function write to the journal in the engine's thread; see `Host.write`."""
        return await asyncio.wrap_future(self.host.write(function))
