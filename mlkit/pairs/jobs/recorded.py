"""A job over recorded data, without a log: history as Parquet, or a price file."""

from __future__ import annotations

import contextlib
import glob
import heapq
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlkit.errors import BadData, InputMissing
from mlkit.pairs.defaults import RECORDED_BATCH
from mlkit.pairs.feeds.records import document, moment
from mlkit.pairs.feeds.replay import ReplayFeed
from mlkit.pairs.jobs import copies
from mlkit.pairs.jobs.file import JobFile
from mlkit.pairs.jobs.join import JoinPlan, Late
from mlkit.pairs.jobs.rows import Row

Given = tuple[str, Row]


def run(
    file: JobFile, data: Path, batch: int = RECORDED_BATCH, plan: JoinPlan | None = None,
    late: Callable[[Late], None] = lambda _: None,
) -> Iterator[Row]:  # fmt: skip
    """Yield what a job returns for recorded data, all of it in one copy of the file.

    The state is encoded at the end, so that a test finds what a checkpoint would refuse.

    Args:
        file: The job.
        data: A folder of Parquet files, as `mlkit pairs live history` writes it, or a price file;
            for a join a folder with such a folder or file for each topic, by its name.
        batch: The rows of a call; for a job of one record a call they matter nothing.
        plan: How topics are joined.
        late: Called with records that are so far out of order that they cannot be joined.

    Raises:
        InputMissing: The data cannot be read.
        BadData: They have no time or key, or the job returned what is not records.
        JobRaised: A function of the job raised.
    """
    with contextlib.closing(file):
        found = _read_given(data, file.key, plan)
        copy = copies.start(file, plan, None)
        for some in _batches(found, batch):
            made = copy.take(some, ())
            for each in made.late:
                late(each)
            yield from made.rows
        yield from copy.finish().rows
        copy.state()


def _read_given(data: Path, key: str, plan: JoinPlan | None) -> Iterator[tuple[str, Row]]:
    """Return the records with their topics; those of several topics by time."""
    if plan is None:
        return (("", row) for row in _read_recorded(data, key))
    topics = [_of_topic(data, topic, key) for topic in plan.topics]
    return heapq.merge(*topics, key=lambda given: given[1]["time"])


def _of_topic(folder: Path, topic: str, key: str) -> Iterator[tuple[str, Row]]:
    found = [folder / topic, *sorted(folder.glob(f"{glob.escape(topic)}.*"))]
    path = next((each for each in found if each.exists()), None)
    if path is None:
        raise InputMissing(f"{folder}: no folder or file '{topic}'", hint="one for each of --in")
    rows = _day(path, key) if path.suffix == ".parquet" else _read_recorded(path, key)
    return ((topic, row) for row in rows)


def _read_recorded(data: Path, key: str) -> Iterator[Row]:
    return _history(data, key) if data.is_dir() else _prices(data)


def _batches(found: Iterator[Given], batch: int) -> Iterator[list[Given]]:
    some: list[Given] = []
    for row in found:
        some.append(row)
        if len(some) == batch:
            yield some
            some = []
    if some:
        yield some


def _prices(path: Path) -> Iterator[Row]:
    from mlkit.pairs.prices import prices

    for batch in ReplayFeed(prices.read([path])).read(None):
        for record in batch.records:
            yield {**document(record), "time": record.time}


def _history(folder: Path, key: str) -> Iterator[Row]:
    """Yield the rows of a folder by their time, a file after the other by their names."""
    files = sorted(folder.glob("**/*.parquet"))
    if not files:
        raise InputMissing(f"{folder}: no Parquet files", hint="mlkit pairs live history -o DIR")
    for file in files:
        yield from _day(file, key)


def _day(file: Path, key: str) -> list[Row]:
    return sorted(_rows(file, key), key=lambda row: row["time"])


def _rows(file: Path, key: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(file, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise BadData(f"{file}: cannot be read as Parquet: {error}") from error
    for needed in ("time", key):
        if needed not in table.column_names:
            raise BadData(f"{file}: no column '{needed}'", hint="--key NAME names another key")
    times = _nanoseconds(table["time"], file)
    cells = table.drop_columns("time").to_pylist()
    for time, row in zip(times, cells, strict=True):
        if not isinstance(row[key], str) or not row[key]:
            raise BadData(f"{file}: '{key}' is not text in a row")
        yield {"time": time, **{name: each for name, each in row.items() if each is not None}}


def _nanoseconds(column: Any, file: Path) -> list[int]:
    import pyarrow as pa

    if column.null_count:
        raise BadData(f"{file}: 'time' is missing in a row")
    if pa.types.is_timestamp(column.type):
        whole: list[int] = column.cast(pa.timestamp("ns", column.type.tz)).cast("int64").to_pylist()
        return whole
    return [moment(each) for each in column.to_pylist()]
