"""Topics of a run as Parquet, one file per day: for pandas, DuckDB and `mlkit pairs backtest`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlkit.errors import InputMissing, UsageError
from mlkit.files import make_folder, replacing
from mlkit.pairs.feeds.records import moment
from mlkit.pairs.live.topics import RESULTS
from mlkit.streams import Log, Partition

if TYPE_CHECKING:
    import pyarrow as pa

BAR = ("open", "high", "low", "close", "volume", "dividend", "bid", "ask")


def write(log: Log, topic: str, folder: Path, since: str | None = None) -> dict[str, int]:
    """Write a topic, a file for each day of its records' times; a day's file is replaced whole.

    Args:
        log: The log of a run.
        topic: One of `topics.RESULTS`.
        folder: Where `DAY.parquet` goes.
        since: The first moment, in ISO 8601; None: all that is kept.

    Returns:
        The records of each day.

    Raises:
        UsageError: There is no such topic, or the moment is none.
        InputMissing: The folder cannot be written.
    """
    import pyarrow.parquet

    written: dict[str, int] = {}
    try:
        make_folder(folder)
    except OSError as error:
        raise InputMissing(f"{folder}: cannot be written: {error.strerror}") from error
    for day, records in _days(read(log, topic, since)):
        with replacing(folder / f"{day}.parquet") as file:
            pyarrow.parquet.write_table(table(topic, records), file)
        written[day] = len(records)
    return written


def read(log: Log, topic: str, since: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a topic from a day on; a day is never cut.

    Raises:
        UsageError: There is no such topic, or the moment is none.
    """
    if topic not in RESULTS or topic not in log.topics():
        raise UsageError(f"no topic '{topic}'", hint="one of " + ", ".join(RESULTS))
    place = Partition(topic, 0)
    offset, end = log.bounds(place)
    if since is not None:
        day = 86_400 * 10**9
        offset = max(offset, log.offset_at(place, moment(since) // day * day // 10**6))
    while offset < end and (found := log.read(place, offset, 10_000)):
        for record in found:
            yield msgspec.json.decode(record.value)
        offset = found[-1].offset + 1


def _days(records: Iterator[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Group records, whose days rise, by their day."""
    day, some = "", list[dict[str, Any]]()
    for record in records:
        if record["time"][:10] != day:
            if some:
                yield day, some
            day, some = record["time"][:10], []
        some.append(record)
    if some:
        yield day, some


def table(topic: str, records: list[dict[str, Any]]) -> pa.Table:
    """Return records as a table; nested fields become columns such as `ledger.borrow`."""
    import pyarrow as pa

    rows = [dict(_flat(each)) for each in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    times = [moment(text) for text in columns.pop("time")]
    cells: dict[str, Any] = {"time": pa.array(times, pa.timestamp("ns", "UTC"))}
    if topic == "bars":
        cells["ticker"] = pa.array(columns["ticker"])
        known = [name for name in BAR if name in columns]
        return pa.table(cells | {name: pa.array(columns[name], pa.float64()) for name in known})
    return pa.table(cells | {name: pa.array(each) for name, each in columns.items()})


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if prefix == "" and name in ("legs", "shares", "prices", "pairs", "figures"):
            yield name, msgspec.json.encode(value).decode()  # its names are tickers: no columns
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
