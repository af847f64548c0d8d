"""What a feed is, how one is opened by its name, and how a broken one is taken up again."""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, NamedTuple, Protocol

from msgspec.structs import asdict, replace

from mlkit.errors import BadData, InputMissing, MlkitError, PackageMissing, UsageError
from mlkit.pairs.feeds.records import PriceRecord, parse

GROUP = "mlkit.pairs.feeds"
"""The entry point group of feeds that packages bring."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0

Position = Any
"""Where a feed goes on: what JSON can hold."""


class Batch(NamedTuple):
    """Some records of a feed, in their order.

    Attributes:
        records: The records.
        position: Where the feed goes on after them.
        rejected: How many were dropped before, by reason.
    """

    records: list[PriceRecord]
    position: Position = None
    rejected: Mapping[str, int] = {}


class Broken(NamedTuple):
    """A feed broke, and is tried again.

    Attributes:
        problem: Why.
        wait: Seconds until then.
    """

    problem: str
    wait: float


class Feed(Protocol):
    """A source of records.

    Attributes:
        name: How messages call it.
        is_replay: Whether it replays what is over: it ends, and the run with it.
    """

    name: str
    is_replay: bool

    def read(self, position: Position) -> Iterator[Batch]:
        """Yield batches from a position on, from the beginning if it is None.

        Raises:
            MlkitError: The feed broke, or is not there.
        """


def open_feed(name: str) -> Feed:
    """Open a feed by its name, other than a price file.

    Args:
        name: `-`, `kafka://HOST:PORT/TOPIC`, `log://FOLDER/TOPIC`, the name of an entry point of
        the
            group `mlkit.pairs.feeds`, or `MODULE:FUNCTION`.

    Raises:
        InputMissing: There is no such feed.
        UsageError: The name is not complete.
    """
    if name == "-":
        from mlkit.pairs.feeds.lines import LinesFeed

        return LinesFeed.of_standard_input()
    if name.startswith(("kafka://", "log://")):
        from mlkit.pairs.feeds.topic import TopicFeed

        return TopicFeed.of_url(name)
    found = entry_points(group=GROUP, name=name)
    if found:
        return CallableFeed(name, _load(name, next(iter(found)).load))
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        module, function = name.split(":")
        return CallableFeed(
            name, _load(name, lambda: getattr(importlib.import_module(module), function))
        )
    hint = "a price file, -, kafka://HOST:PORT/TOPIC, log://FOLDER/TOPIC or MODULE:FUNCTION"
    raise InputMissing(f"{name}: no such file or feed", hint=hint)


def _load(name: str, load: Callable[[], Any]) -> Callable[..., Any]:
    try:
        found = load()
    except (Exception, SystemExit) as error:
        raise InputMissing(f"{name}: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise UsageError(f"{name}: not a function")
    return found  # type: ignore[no-any-return]


class CallableFeed:
    """A feed of one's own: a function that yields records.

    It is called with the time of the last record that the run has, in nanoseconds since 1970, or
    None, and yields `PriceRecord`s or mappings that `records.parse` reads, later ones than that. It
    may raise: it is called again after a while.
    """

    is_replay = False

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self._function = name, function

    def read(self, position: Position) -> Iterator[Batch]:
        """Yield a batch for each record; see `Feed.read`."""
        for row in self._function(position):
            try:
                record = _of_users(row)
            except (BadData, AttributeError, TypeError):
                yield Batch([], position, {"unreadable": 1})
                continue
            position = record.time if position is None else max(position, record.time)
            yield Batch([record], position)


def _of_users(row: Any) -> PriceRecord:
    """Return a record with plain numbers, whatever kind of number somebody put into it."""
    if not isinstance(row, PriceRecord):
        return parse(row)
    return replace(parse(asdict(row)), time=int(row.time))


def reconnecting(
    feed: Feed, position: Position, sleep: Callable[[float], object] = time.sleep
) -> Iterator[Batch | Broken]:
    """Read a feed, and take it up again with growing waits whenever it breaks.

    The waits double from half a second to a minute, and start again once records came. A replay
    does not break: what is wrong with it stays wrong.

    Raises:
        PackageMissing: The feed needs a package, which no waiting brings.
        MlkitError: A replay failed.
    """
    wait = FIRST_WAIT
    while True:
        try:
            for batch in feed.read(position):
                position, wait = batch.position, FIRST_WAIT
                yield batch
            return
        except MlkitError as error:
            if feed.is_replay or isinstance(error, PackageMissing):
                raise
            problem = error.message
        except (Exception, SystemExit) as error:  # code of users, and of their brokers' clients
            problem = f"{type(error).__name__}: {error}"
        yield Broken(f"{feed.name}: {problem}", wait)
        sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
