"""Server-sent events: what changes, for a browser or a program that watches."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from mlkit.web.application import Scope, Send
from mlkit.web.bodies import Receive, wait_for_disconnect
from mlkit.web.errors import Headers

_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_ALIVE = 15.0
_MOST_A_SECOND = 1000
"""Updates that all watchers together are sent a second: what a crowd watches has to get on."""
_MOST_BEHIND = 20


class Feed:
    """What watchers get: topics that have changed, gathered.

    A change is sent at once where there was none for a while, and else at most so often: the newest
    of each topic. All who watch the same are sent the same bytes, so that a watcher costs
    little more than its connection. All methods run in the event loop's thread.

    Args:
        interval: Seconds between two updates, or more where very many watch.
    """

    def __init__(self, interval: float = 0.5) -> None:
        self._interval = interval
        self._watchers: dict[str, set[Watcher]] = {}
        self._news: dict[str, Any] = {}
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._alive: asyncio.TimerHandle | None = None
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
        self._next = loop.time() + max(self._interval, len(self) / _MOST_A_SECOND)
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
                each.leave()

    def stream(self, topic: str, headers: Headers = ()) -> EventStream:
        """Return the answer of a watcher of a topic; of all topics if it is empty."""
        return EventStream(self, topic, headers)

    @contextlib.contextmanager
    def watch(self, topic: str) -> Iterator[Watcher]:
        """Return who is notified of a topic within the block; of all topics if it is empty."""
        watcher = Watcher()
        if self._closed:
            watcher.leave()
        self._watchers.setdefault(topic, set()).add(watcher)
        if self._alive is None:
            loop = asyncio.get_running_loop()
            self._alive = loop.call_later(_ALIVE, self._keep_alive, loop)
        try:
            yield watcher
        finally:
            self._watchers[topic].discard(watcher)
            if not self._watchers[topic]:
                del self._watchers[topic]

    def _keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send all something now and then, or what is between cuts a silent connection."""
        for watchers in self._watchers.values():
            for each in watchers:
                each.add(b": still here\n\n")
        self._alive = loop.call_later(_ALIVE, self._keep_alive, loop) if self._watchers else None


class Watcher:
    """What one watcher has not been sent yet; one that falls behind has to begin again."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._has_left = False
        self._texts: deque[bytes] = deque()

    def add(self, text: bytes) -> None:
        """Have a text sent."""
        if len(self._texts) >= _MOST_BEHIND:
            self._has_left = True
        else:
            self._texts.append(text)
        self._news.set()

    def leave(self) -> None:
        """End its stream."""
        self._has_left = True
        self._news.set()

    async def next(self) -> bytes:
        """Wait for what is to be sent next, and return it; nothing if the stream is to end."""
        await self._news.wait()
        self._news.clear()
        text = b"" if self._has_left else b"".join(self._texts)
        self._texts.clear()
        return text


class EventStream:
    """An answer that goes on until the client leaves or the feed ends.

    Args:
        feed: What is sent.
        topic: What is watched.
        headers: More headers of the answer.
    """

    status = 200

    def __init__(self, feed: Feed, topic: str, headers: Headers) -> None:
        self._feed = feed
        self._topic = topic
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        headers = [*_HEADERS, *self._headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if scope["method"] != "HEAD":
            with self._feed.watch(self._topic) as watcher:
                leaving = asyncio.ensure_future(wait_for_disconnect(scope, receive))
                leaving.add_done_callback(lambda _: watcher.leave())
                try:
                    text = b"retry: 2000\n\n"
                    while text:
                        body = {"type": "http.response.body", "body": text, "more_body": True}
                        await send(body)
                        text = await watcher.next()
                finally:
                    leaving.cancel()
        await send({"type": "http.response.body", "body": b""})
