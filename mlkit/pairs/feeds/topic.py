"""Records from a topic of a log: that of a broker of the Kafka protocol, or an embedded one."""

from __future__ import annotations

import time
from collections.abc import Iterator

from mlkit import streams
from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.pairs.feeds.feed import Batch, Position
from mlkit.pairs.feeds.records import PriceRecord, decode
from mlkit.streams import Log, Partition

RECORDS = 2000
_PAUSE = 0.02


class TopicFeed:
    """Reads a topic from the offsets that the run has taken, without a group of its own.

    Args:
        url: Its log, as `streams.open` takes it.
        topic: Its topic, of JSON records.
    """

    is_replay = False

    def __init__(self, url: str, topic: str) -> None:
        self.name, self._url, self._topic = f"{url}/{topic}", url, topic

    @classmethod
    def of_url(cls, url: str) -> TopicFeed:
        """Read `kafka://HOST:PORT/TOPIC` or `log://FOLDER/TOPIC`.

        Raises:
            UsageError: The topic is missing.
        """
        scheme, _, rest = url.partition("://")
        place, _, topic = rest.rpartition("/")
        if not place or not topic:
            raise UsageError(f"{url}: no topic", hint=f"{scheme}://PLACE/TOPIC")
        return cls(f"kafka://{place}" if scheme == "kafka" else place, topic)

    def read(self, position: Position) -> Iterator[Batch]:
        """Yield what the topic holds and gets; see `Feed.read`.

        Raises:
            InputMissing: There is no such topic.
            ServiceUnavailable: The broker is away.
        """
        log = streams.open(self._url)
        try:
            yield from self._read(log, {int(n): each for n, each in (position or {}).items()})
        finally:
            log.close()

    def _read(self, log: Log, offsets: dict[int, int]) -> Iterator[Batch]:
        count = log.topics().get(self._topic)
        if count is None:
            raise InputMissing(f"{self._url}: no topic '{self._topic}'")
        while True:
            idle = True
            for number in range(count):
                batch = self._some(log, number, offsets)
                if batch is not None:
                    idle = False
                    yield batch
            if idle:
                time.sleep(_PAUSE)

    def _some(self, log: Log, number: int, offsets: dict[int, int]) -> Batch | None:
        place = Partition(self._topic, number)
        first, end = log.bounds(place)
        start = max(offsets.get(number, first), first)
        if start >= end:
            return None
        lost = start - offsets.get(number, start)
        found = log.read(place, start, RECORDS)
        if not found:
            return None
        records, rejected = _decode([each.value for each in found])
        offsets[number] = found[-1].offset + 1
        if lost:
            rejected["lost"] = lost
        return Batch(records, {str(n): each for n, each in sorted(offsets.items())}, rejected)


def _decode(values: list[bytes]) -> tuple[list[PriceRecord], dict[str, int]]:
    records, unreadable = [], 0
    for value in values:
        try:
            records.append(decode(value))
        except BadData:
            unreadable += 1
    return records, {"unreadable": unreadable} if unreadable else {}
