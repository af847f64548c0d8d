"""What watchers are told: gathered, the same bytes for all, and an end."""

from __future__ import annotations

import asyncio
import json

import pytest

from mlkit.web import events
from mlkit.web.events import Feed


def changes(text: bytes) -> list[object]:
    lines = [each for each in text.splitlines() if each.startswith(b"data: ")]
    return [change for each in lines for change in json.loads(each.removeprefix(b"data: "))]


def test_news_are_told_at_once_and_then_gathered():
    async def play():
        feed = Feed(interval=0.05)
        with feed.watch("") as everything, feed.watch("a") as one:
            assert len(feed) == 2
            feed.publish("a", 1)
            assert changes(await everything.next()) == [1]
            assert changes(await one.next()) == [1]
            for number in range(2, 6):
                feed.publish("a", number)
                feed.publish("b", -number)
            assert changes(await everything.next()) == [5, -5]
            assert changes(await one.next()) == [5]
            feed.close()
            assert await everything.next() == b""
        assert len(feed) == 0

    asyncio.run(play())


def test_who_does_not_read_is_let_go(monkeypatch):
    monkeypatch.setattr(events, "_MOST_A_SECOND", 1e9)

    async def play():
        feed = Feed(interval=0.0)
        with feed.watch("a") as slow:
            for number in range(100):
                feed.publish("a", number)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert await slow.next() == b""

    asyncio.run(play())


@pytest.mark.parametrize("most", [1e-3, 1e9])
def test_a_crowd_is_told_less_often(monkeypatch, most):
    monkeypatch.setattr(events, "_MOST_A_SECOND", most)

    async def play():
        feed = Feed(interval=0.0)
        with feed.watch("") as one, feed.watch(""):
            feed.publish("a", 1)
            assert changes(await one.next()) == [1]
            feed.publish("a", 2)
            if most < 1:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(one.next(), 0.1)
            else:
                assert changes(await one.next()) == [2]

    asyncio.run(play())


class Connection:
    """A client of a stream: what it was sent, and when it leaves."""

    def __init__(self) -> None:
        self.sent: list[dict[str, object]] = []
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, object]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, object]) -> None:
        self.sent.append(message)

    def body(self) -> bytes:
        return b"".join(each["body"] for each in self.sent if "body" in each)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("end", ["the client leaves", "the feed ends"])
def test_a_stream_goes_on_until_somebody_ends_it(end):
    async def play():
        feed, client = Feed(interval=0.0), Connection()
        stream = feed.stream("", ((b"x-more", b"1"),))
        task = asyncio.ensure_future(stream({"method": "GET"}, client.receive, client.send))
        await until(lambda: client.body())
        assert (b"x-more", b"1") in client.sent[0]["headers"]
        assert (b"content-type", b"text/event-stream; charset=utf-8") in client.sent[0]["headers"]
        feed.publish("a", {"n": 1})
        await until(lambda: b"data:" in client.body())
        assert client.body() == b'retry: 2000\n\nevent: changed\ndata: [{"n":1}]\n\n'
        if end == "the client leaves":
            client.left.set()
        else:
            feed.close()
        await asyncio.wait_for(task, 60)
        assert not client.sent[-1].get("more_body", False)
        assert len(feed) == 0

    asyncio.run(play())


def test_a_silent_stream_is_kept_alive(monkeypatch):
    monkeypatch.setattr(events, "_ALIVE", 0.01)

    async def play():
        feed, client = Feed(), Connection()
        call = feed.stream("")({"method": "GET"}, client.receive, client.send)
        task = asyncio.ensure_future(call)
        await until(lambda: client.body().count(b": still here\n\n") > 1)
        client.left.set()
        await asyncio.wait_for(task, 60)

    asyncio.run(play())


def test_the_head_of_a_stream_has_no_events():
    async def play():
        client = Connection()
        await Feed().stream("")({"method": "HEAD"}, client.receive, client.send)
        assert client.body() == b""

    asyncio.run(play())
