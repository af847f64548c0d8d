"""The first tickers of a feed that does not say which ones it has."""

from __future__ import annotations

from collections.abc import Iterator

from mlkit.errors import UsageError
from mlkit.pairs.feeds.feed import Batch, Feed, Position

MOST = 1_000_000
"""Records in which the tickers have to come: they are kept until the run takes them."""


class BegunFeed:
    """A feed of which some has been read, which it yields again.

    Args:
        feed: The feed.
        kept: What has been read.
        rest: What follows.
    """

    def __init__(self, feed: Feed, kept: list[Batch], rest: Iterator[Batch]) -> None:
        self.name, self.is_replay = feed.name, feed.is_replay
        self._feed, self._kept = feed, kept
        self._rest: Iterator[Batch] | None = rest

    def read(self, position: Position) -> Iterator[Batch]:
        """Yield what has been read and what follows, once; see `Feed.read`."""
        if self._rest is None:
            yield from self._feed.read(position)
            return
        kept, rest = self._kept, self._rest
        self._kept, self._rest = [], None
        yield from kept
        yield from rest


def first_tickers(feed: Feed, count: int) -> tuple[tuple[str, ...], BegunFeed]:
    """Wait for the first tickers of a feed; return them, fewer if it ends, and the whole feed.

    Raises:
        UsageError: A million records have fewer tickers.
        MlkitError: The feed broke, or is not there.
    """
    found: dict[str, None] = {}
    kept, records = [], 0
    rest = feed.read(None)
    for batch in rest:
        kept.append(batch)
        records += len(batch.records)
        found |= dict.fromkeys(each.ticker for each in batch.records)
        if len(found) >= count:
            break
        if records > MOST:
            came = f"{feed.name}: {records:,} records have {len(found):,} tickers"
            raise UsageError(came, hint=f"--universe {max(2, len(found))}, or --tickers A,B,...")
    return tuple(found)[:count], BegunFeed(feed, kept, rest)
