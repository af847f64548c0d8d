"""What the routes of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.hosted import ServiceThreads
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.server.settings import Settings
from mlkit.web.events import Feed

T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """What the routes of a server share.

    Attributes:
        settings: The server's settings.
        base_url: How others reach the server.
        host: The engine.
        threads: Where `call` runs.
        feed: Who watches what.
    """

    settings: Settings
    base_url: str
    host: Host
    threads: ServiceThreads
    feed: Feed

    async def call(self, function: Callable[[Service], T]) -> T:
        """Call a function, which may wait, with a service of a thread of its own."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads.executor, self.threads.run, function)

    async def write(self, function: Callable[[Journal], T]) -> T:
        """Let a function write to the journal in the engine's thread; see `Host.write`."""
        return await asyncio.wrap_future(self.host.write(function))
