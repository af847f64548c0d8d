"""What watchers are told: gathered, the same bytes for all, and an end."""

from __future__ import annotations

import asyncio
import json

from mlkit.web.events import Feed


async def start(feed: Feed, topic: str = ""):
    events = feed._events(topic)
    assert await anext(events) == b"retry: 2000\n\n"
    return events


def changes(text: bytes) -> list[object]:
    lines = [each for each in text.splitlines() if each.startswith(b"data: ")]
    return [change for each in lines for change in json.loads(each.removeprefix(b"data: "))]


def test_news_are_told_at_once_and_then_gathered():
    async def play():
        feed = Feed(interval=0.05)
        everything, one = await start(feed), await start(feed, "a")
        assert len(feed) == 2
        feed.publish("a", 1)
        assert changes(await anext(everything)) == [1]
        assert changes(await anext(one)) == [1]
        for number in range(2, 6):
            feed.publish("a", number)
            feed.publish("b", -number)
        assert changes(await anext(everything)) == [5, -5]
        assert changes(await anext(one)) == [5]
        feed.close()
        assert [each async for each in everything] == []
        await one.aclose()
        assert len(feed) == 0

    asyncio.run(play())


def test_who_does_not_read_is_let_go():
    async def play():
        feed = Feed(interval=0.0)
        slow = await start(feed)
        waiting = asyncio.ensure_future(anext(slow))
        feed.publish("a", 0)
        await waiting
        for number in range(100):
            feed.publish("a", number)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        rest = [each async for each in slow]
        assert len(rest) <= 1
        assert len(feed) == 0

    asyncio.run(play())
