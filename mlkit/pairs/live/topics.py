"""The topics of a run: their names, and what their records hold.

`inputs` is the one that everything follows from: batches of the feed and commands, in the order in
which they count. The others are results; each record is a JSON object with the `time` of its bar.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.feeds.records import PriceRecord
from mlkit.streams import Log, Message, Output, Partition

INPUTS = "inputs"
RESULTS = (
    "bars", "features", "decisions", "orders", "fills", "trades", "account", "ledger",
    "interventions", "events", "promotions",
)  # fmt: skip
TOPICS = (INPUTS, *RESULTS)
MEASURED = ("bars", "features", "fills", "trades", "account")
"""Topics of numbers, one record per time and `TAGS` at most."""
TAGS = ("ticker", "pair", "name")

COMMANDS = ("pause", "resume", "flatten", "kill")


class Input(msgspec.Struct, omit_defaults=True):
    """A record of `inputs`.

    Attributes:
        records: Of the feed.
        position: Where the feed goes on after them.
        rejected: Records that the feed dropped, by reason.
        close_until: Close open bars up to this time, since nothing comes.
        command: What an operator wants: one of `COMMANDS`.
        pair: The pair that it is about, `Y/X`; empty: all of them.
        by: Who wants it.
        at: When, by the clock, in ISO 8601.
        broken: Why the feed broke.
        end: The feed has ended, and the run with it.
    """

    records: list[PriceRecord] = []
    position: Any = None
    rejected: dict[str, int] = {}
    close_until: int | None = None
    command: str = ""
    pair: str = ""
    by: str = ""
    at: str = ""
    broken: str = ""
    end: bool = False


def encode_input(given: Input) -> Message:
    """Return a record for `inputs`."""
    return Message(msgspec.json.encode(given))


_INPUT = msgspec.json.Decoder(Input)


def decode_input(value: bytes) -> Input:
    """Read a record of `inputs`.

    Raises:
        BadData: It is none.
    """
    try:
        return _INPUT.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(f"inputs: {error}") from error


class Results:
    """What some inputs led to: records for topics."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Message]] = {}

    def add(self, topic: str, time: int, document: Mapping[str, Any], key: str = "") -> None:
        """Add a record.

        Args:
            topic: Its topic.
            time: Of its bar, nanoseconds since 1970.
            document: Its content.
            key: Records with the same key keep their order.
        """
        self.add_encoded(topic, time, msgspec.json.encode(document), key)

    def add_encoded(self, topic: str, time: int, value: bytes, key: str = "") -> None:
        """Add a record that is encoded already."""
        self.extend(topic, time, [(value, key)])

    def extend(self, topic: str, time: int, encoded: Iterable[tuple[bytes, str]]) -> None:
        """Add records of one time that are encoded already, each with its key."""
        milliseconds = max(0, time // 10**6)
        self.messages.setdefault(topic, []).extend(
            Message(value, key.encode(), milliseconds) for value, key in encoded
        )

    def output(self, states: Mapping[Partition, bytes]) -> Output:
        """Return all of it for a commit."""
        return Output(self.messages, states)


def plain(record: np.void) -> dict[str, Any]:
    """Return a structured value as a nested dictionary; what is not finite as None."""
    cells: Any = record.item()
    return _named(cells, _names(record.dtype))


def plain_rows(records: NDArray[np.void]) -> list[dict[str, Any]]:
    """Return what `plain` returns of each record of an array."""
    names = _names(records.dtype)
    return [_named(cells, names) for cells in records.tolist()]


_Names = tuple[tuple[str, "_Names | None"], ...]


@lru_cache
def _names(dtype: np.dtype[Any]) -> _Names:
    """Return the names of a structured type's fields, each with those of its own."""
    fields = ((name, dtype[name]) for name in dtype.names or ())
    return tuple((name, _names(inner) if inner.names else None) for name, inner in fields)


def _named(cells: tuple[Any, ...], names: _Names) -> dict[str, Any]:
    return {
        name: _named(cell, inner) if inner is not None else _finite(cell)
        for (name, inner), cell in zip(names, cells, strict=True)
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_all(log: Log, topic: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a topic from its beginning.

    Raises:
        BadData: The first ones are no longer kept.
    """
    for value in read_values(log, topic):
        yield msgspec.json.decode(value)


def read_values(log: Log, topic: str) -> Iterator[bytes]:
    """Yield the records of a topic from its beginning, as bytes.

    Raises:
        BadData: The first ones are no longer kept.
    """
    place = Partition(topic, 0)
    first, end = log.bounds(place)
    if first > 0:
        raise BadData(f"topic '{topic}': its first {first} records are no longer kept")
    offset = 0
    while offset < end and (found := log.read(place, offset, 10_000)):
        for record in found:
            yield record.value
        offset = found[-1].offset + 1
