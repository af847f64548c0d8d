"""What a server knows of changes that others make."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from mlkit.bpmn.server import following
from mlkit.bpmn.server.changes import Changes
from mlkit.web.events import Feed


def test_nothing_is_kept_of_instances_while_only_the_stream_of_all_is_watched(monkeypatch):
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
