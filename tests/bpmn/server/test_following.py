"""What a server knows of changes that others make."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import msgspec

from mlkit.bpmn.journal.records import Moved
from mlkit.bpmn.server import following
from mlkit.bpmn.server.changes import Changes
from mlkit.web.events import Feed


def test_nothing_is_kept_of_instances_while_nobody_watches(monkeypatch):
    monkeypatch.setattr(following, "INTERVAL", 0.0)
    feed = Feed()
    changes = Changes(feed)
    changes.sequences["ended"] = 7

    async def follow():
        looking = asyncio.create_task(following.follow(SimpleNamespace(feed=feed), changes))
        while changes.sequences:
            await asyncio.sleep(0)
        looking.cancel()

    asyncio.run(asyncio.wait_for(follow(), 60))
    assert changes.sequences == {}


def test_who_watches_all_instances_hears_once_what_other_hosts_have_moved(monkeypatch):
    """The first page and those of definitions watch all."""
    monkeypatch.setattr(following, "INTERVAL", 0.0)
    now = time.time()
    journal = [
        Moved("own", "p", "running", 3, now, None),
        Moved("other", "p", "running", 5, now, None),
    ]
    asked: list[float] = []

    class Attempts:
        def moved_since(self, at: float, limit: int) -> list[Moved]:
            asked.append(at)
            return list(journal)

    service = SimpleNamespace(journal=SimpleNamespace(running_attempts=Attempts()))

    async def call(function):
        return function(service)

    async def watch() -> list[tuple[str, str]]:
        feed = Feed(interval=0.0)
        changes = Changes(feed)
        with feed.watch("") as watcher:
            # What this process has moved was published when it moved.
            changes.sequences["own"] = 3
            context = SimpleNamespace(feed=feed, call=call)
            following_ = asyncio.create_task(following.follow(context, changes))
            first = await watcher.next()
            looks = len(asked)
            while len(asked) < looks + 3:
                await asyncio.sleep(0)
            journal.append(Moved("new", "p", "waiting", 1, now + 1, None))
            journal[1] = journal[1]._replace(sequence=6, status="completed")
            second = await watcher.next()
            while len(asked) < looks + 9:
                await asyncio.sleep(0)
            following_.cancel()
        lines = b"".join([first, second]).splitlines()
        found = [msgspec.json.decode(e[6:]) for e in lines if e.startswith(b"data: ")]
        return [(each["instance"], each["state"]) for news in found for each in news]

    heard = asyncio.run(asyncio.wait_for(watch(), 60))
    assert heard[0] == ("other", "running")
    assert sorted(heard[1:]) == [("new", "waiting"), ("other", "completed")]
    # The clocks of hosts may differ: a look begins before the newest change.
    assert now - 20 < min(asked) <= max(asked) < now + 1
