"""Topics of any log as Parquet, one file per day of their records' times, and read back.

Records of a topic come by partition, and late ones after others: they are sorted into files of
days first, and each day is then read, put in the order of time and written, so that memory holds
one day.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.files import make_folder, replacing
from mlkit.pairs.feeds.records import moment
from mlkit.streams import Log, Partition

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 10_000
_DAY = 86_400 * 10**9

Row = dict[str, Any]
"""A record; its `time` in nanoseconds since 1970."""


@dataclass(frozen=True)
class Written:
    """What has been written.

    Attributes:
        days: The records of each day.
        unreadable: Records that were passed over: no JSON object, or without a time.
        kept: Days whose file has more records than the log still holds, and stays.
    """

    days: dict[str, int]
    unreadable: int
    kept: tuple[str, ...]


def write(log: Log, topic: str, folder: Path, since: str | None = None) -> Written:
    """Write a topic, a file for each day in UTC; the file of a day is replaced whole.

    Args:
        log: The log.
        topic: Its topic.
        folder: Where `DAY.parquet` goes.
        since: A moment of the first day, in ISO 8601; None: all that is kept.

    Raises:
        InputMissing: There is no such topic, or the folder cannot be written.
        UsageError: The moment is none.
    """
    unreadable: Counter[str] = Counter()
    records = read(log, topic, since, unreadable)
    days, kept = dict[str, int](), list[str]()
    try:
        make_folder(folder)
        spool = tempfile.TemporaryDirectory(dir=folder, prefix=".days-")
    except OSError as error:
        raise InputMissing(f"{folder}: cannot be written: {error.strerror}") from error
    with spool as place:
        _sort_out(records, Path(place))
        for day in sorted(Path(place).iterdir()):
            rows = _rows(day)
            days[day.name] = len(rows)
            if not _replace(folder / f"{day.name}.parquet", rows):
                kept.append(day.name)
    return Written(days, unreadable["unreadable"], tuple(kept))


def read(
    log: Log, topic: str, since: str | None = None, counts: Counter[str] | None = None
) -> Iterator[Row]:
    """Return the records of a topic from a day on, by partition; a day is never cut.

    Args:
        log: The log.
        topic: Its topic.
        since: A moment of the first day, in ISO 8601; None: all that is kept.
        counts: Where records that cannot be read are counted, as `unreadable`.

    Raises:
        InputMissing: There is no such topic.
        UsageError: The moment is none.
    """
    there = log.topics()
    if topic not in there:
        hint = f"its topics: {', '.join(sorted(there)) or 'none'}"
        raise InputMissing(f"no topic '{topic}' in the log", hint=hint)
    least = None if since is None else _since(since)
    places = [Partition(topic, number) for number in range(there[topic])]
    found = (value for place in places for value in _values(log, place, least))
    return _readable(found, least, Counter() if counts is None else counts)


def _since(text: str) -> int:
    try:
        return moment(text) // _DAY * _DAY
    except BadData as error:
        raise UsageError(f"--since {text}: not a time", hint="2024-01-31, in UTC") from error


def _values(log: Log, place: Partition, least: int | None) -> Iterator[bytes]:
    offset, end = log.bounds(place)
    if least is not None:
        offset = max(offset, log.offset_at(place, max(least // 10**6, 0)))
    while offset < end and (found := log.read(place, offset, BATCH)):
        yield from (each.value for each in found if each.offset < end)
        offset = found[-1].offset + 1


def _readable(values: Iterator[bytes], least: int | None, counts: Counter[str]) -> Iterator[Row]:
    for value in values:
        try:
            row = msgspec.json.decode(value, type=dict[str, Any])
            row["time"] = moment(row.get("time"))
        except (msgspec.MsgspecError, UnicodeError, BadData, RecursionError):
            counts["unreadable"] += 1
            continue
        if least is None or row["time"] >= least:
            yield row


def _day(row: Row) -> str:
    return str(np.datetime64(row["time"], "ns").astype("datetime64[D]"))


def _sort_out(records: Iterator[Row], folder: Path) -> None:
    """Append records to a file for each day."""
    for day, rows in groupby(records, _day):
        with (folder / day).open("ab") as file:
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")


def _rows(file: Path) -> list[Row]:
    with file.open("rb") as lines:
        rows: list[Row] = [msgspec.json.decode(line) for line in lines]
    return sorted(rows, key=lambda row: row["time"])


def _replace(file: Path, rows: list[Row]) -> bool:
    """Write a day, unless its file has more: the log has deleted some of its records since."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        if file.exists() and pyarrow.parquet.read_metadata(file).num_rows > len(rows):
            return False
    except pa.ArrowException:
        pass  # a damaged file is replaced
    with replacing(file) as target:
        pyarrow.parquet.write_table(table(rows), target)
    return True


def table(rows: list[Row]) -> pa.Table:
    """Return records as a table; nested fields become columns such as `news.score`.

    A column of values that have no common type, as of numbers and text, holds their JSON.
    """
    import pyarrow as pa

    flat = [dict(_flat(each)) for each in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    columns = {name: _column([row.get(name) for row in flat]) for name in names}
    times = pa.array([row["time"] for row in rows], pa.timestamp("ns", "UTC"))
    return pa.table({"time": times} | {name: columns[name] for name in names if name != "time"})


def _column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError):
        return pa.array(
            [None if each is None else msgspec.json.encode(each).decode() for each in values]
        )


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
