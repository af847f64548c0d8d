"""A job over recorded data, without a log: history as Parquet, or a price file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlkit.errors import BadData, InputMissing
from mlkit.pairs.feeds.records import document, moment
from mlkit.pairs.feeds.replay import ReplayFeed
from mlkit.pairs.jobs.file import JobFile
from mlkit.pairs.jobs.rows import Row


def run(file: JobFile, data: Path, batch: int = 1000) -> Iterator[Row]:
    """Yield what a job returns for recorded data, all of it in one copy of the file.

    The state is encoded at the end, so that a test finds what a checkpoint would refuse.

    Args:
        file: The job.
        data: A folder of Parquet files, as `mlkit pairs live history` writes it, or a price file.
        batch: The rows of a call; for a job of one record a call they matter nothing.

    Raises:
        InputMissing: The data cannot be read.
        BadData: They have no time or key, or the job returned what is no records.
        JobRaised: A function of the job raised.
    """
    found = _history(data, file.key) if data.is_dir() else _prices(data)
    with contextlib.closing(file):
        task = file.start()
        for some in _batches(found, batch):
            yield from task.process(some)
        task.state()


def _batches(found: Iterator[Row], batch: int) -> Iterator[list[Row]]:
    some: list[Row] = []
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
        yield from sorted(_rows(file, key), key=lambda row: row["time"])


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
            raise BadData(f"{file}: '{key}' is no text in a row")
        yield {"time": time, **{name: each for name, each in row.items() if each is not None}}


def _nanoseconds(column: Any, file: Path) -> list[int]:
    import pyarrow as pa

    if column.null_count:
        raise BadData(f"{file}: 'time' is missing in a row")
    if pa.types.is_timestamp(column.type):
        whole: list[int] = column.cast(pa.timestamp("ns", column.type.tz)).cast("int64").to_pylist()
        return whole
    return [moment(each) for each in column.to_pylist()]
