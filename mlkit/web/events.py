"""Server-sent events: what changes, for a browser or a program that watches."""

from __future__ import annotations

import asyncio
from collections import deque
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
_MOST_BEHIND = 20


class Feed:
    """What watchers get: topics that have changed, gathered.

    A change is sent at once where there was none for a while, and else at most so often: the newest
    of each topic. All who watch the same are sent the same bytes, so that a watcher costs
    little more than its connection. All methods run in the event loop's thread.

    Args:
        interval: Seconds between two updates.
    """

    def __init__(self, interval: float = 0.5) -> None:
        self._interval = interval
        self._watchers: dict[str, set[_Watcher]] = {}
        self._news: dict[str, Any] = {}
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        """Return how many watch."""
        return sum(map(len, self._watchers.values()))

    def topics(self) -> list[str]:
        """Return the topics that somebody watches, but for all of them."""
        return [each for each in self._watchers if each]

    @property
    def watches_all(self) -> bool:
        """Return whether somebody watches all topics."""
        return "" in self._watchers

    def publish(self, topic: str, change: Any) -> None:
        """Notify all watchers of a topic, and of all topics, that it has changed to this."""
        self._news[topic] = change
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(self._next, loop.time()), self._tell, loop)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._next = loop.time() + self._interval
        news, self._news = self._news, {}
        self._send("", list(news.values()))
        if len(self._watchers) > ("" in self._watchers):
            for topic, change in news.items():
                self._send(topic, [change])

    def _send(self, topic: str, changes: list[Any]) -> None:
        watchers = self._watchers.get(topic)
        if watchers:
            text = b"event: changed\ndata: " + msgspec.json.encode(changes) + b"\n\n"
            for each in watchers:
                each.add(text)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for watchers in self._watchers.values():
            for each in watchers:
                each.news.set()

    def stream(self, topic: str, headers: Headers = ()) -> EventStream:
        """Return the answer of a watcher of a topic; of all topics if it is empty."""
        return EventStream(self._events(topic), headers)

    async def _events(self, topic: str) -> AsyncIterator[bytes]:
        watcher = _Watcher()
        self._watchers.setdefault(topic, set()).add(watcher)
        try:
            yield b"retry: 2000\n\n"
            while not (self._closed or watcher.is_behind):
                try:
                    await asyncio.wait_for(watcher.news.wait(), _ALIVE)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if text := watcher.take():
                    yield text
        finally:
            self._watchers[topic].discard(watcher)
            if not self._watchers[topic]:
                del self._watchers[topic]


class _Watcher:
    """What one watcher has not been sent yet; one that falls behind has to begin anew."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.is_behind = False
        self._texts: deque[bytes] = deque()

    def add(self, text: bytes) -> None:
        self.is_behind = len(self._texts) >= _MOST_BEHIND
        if not self.is_behind:
            self._texts.append(text)
        self.news.set()

    def take(self) -> bytes:
        self.news.clear()
        text = b"".join(self._texts)
        self._texts.clear()
        return text


class EventStream:
    """An answer that goes on until the client leaves or the feed ends."""

    status = 200

    def __init__(self, events: AsyncIterator[bytes], headers: Headers) -> None:
        self._events = events
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        more = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}
        events = _nothing() if scope["method"] == "HEAD" else self._events
        response = StreamingResponse(
            events, headers=_HEADERS | more, media_type="text/event-stream"
        )
        await response(scope, receive, cast(StarletteSend, send))


async def _nothing() -> AsyncIterator[bytes]:
    for text in list[bytes]():
        yield text
