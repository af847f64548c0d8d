"""Server-sent events: what changes, for a browser or a program that watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Send as StarletteSend

from mlkit.web.application import Scope, Send
from mlkit.web.bodies import Receive
from mlkit.web.errors import Headers

_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_ALIVE = 15.0


class Feed:
    """What watchers are told: topics that have changed, gathered.

    A watcher hears of a topic at most so often, and then of everything that has changed since.
    All methods run in the event loop's thread.

    Args:
        interval: Seconds between two updates of one watcher.
    """

    def __init__(self, interval: float = 0.5) -> None:
        self._interval = interval
        self._watchers: set[_Watcher] = set()
        self._closed = False

    def __len__(self) -> int:
        """Return how many watch."""
        return len(self._watchers)

    def publish(self, topic: str, change: Any) -> None:
        """Tell all watchers of a topic, and of all topics, that it has changed to this."""
        for each in self._watchers:
            if each.topic in ("", topic):
                each.tell(topic, change)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for each in self._watchers:
            each.news.set()

    def stream(self, topic: str, headers: Headers = ()) -> EventStream:
        """Return the answer of a watcher of a topic; of all topics if it is empty."""
        return EventStream(self._events(_Watcher(topic)), headers)

    async def _events(self, watcher: _Watcher) -> AsyncIterator[bytes]:
        self._watchers.add(watcher)
        try:
            yield b"retry: 2000\n\n"
            while not self._closed:
                try:
                    await asyncio.wait_for(watcher.news.wait(), _ALIVE)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                changes = watcher.take()
                if changes:
                    yield b"event: changed\ndata: " + msgspec.json.encode(changes) + b"\n\n"
                    await asyncio.sleep(self._interval)
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    """What one watcher has not been told yet: the newest change of each topic."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.news = asyncio.Event()
        self._changes: dict[str, Any] = {}

    def tell(self, topic: str, change: Any) -> None:
        self._changes[topic] = change
        self.news.set()

    def take(self) -> list[Any]:
        self.news.clear()
        changes, self._changes = self._changes, {}
        return list(changes.values())


class EventStream:
    """An answer that goes on until the client leaves or the feed ends."""

    status = 200

    def __init__(self, events: AsyncIterator[bytes], headers: Headers) -> None:
        self._events = events
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        more = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}
        response = StreamingResponse(
            self._events, headers=_HEADERS | more, media_type="text/event-stream"
        )
        await response(scope, receive, cast(StarletteSend, send))
