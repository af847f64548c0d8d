"""Records of topics as rows for a job, and what a job returns as records.

A record is a JSON object with `time`, the key by which a job's topics are partitioned (`ticker`),
and any other fields. Rows have their time as nanoseconds since 1970. A field that is unknown is
left out of a record, and is NaN in a data frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mlkit.errors import BadData
from mlkit.pairs.feeds.records import iso, moment
from mlkit.streams import Message, Record

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
_TIMES = ("date", "datetime", "timestamp")


def read(record: Record, key: str, *, shared: bool) -> Row | None:
    """Return the row of a record; None if it is not a JSON object with a time and a key.

    Args:
        record: What the topic holds.
        key: The field that the job is keyed by.
        shared: Whether the topic has several partitions.

    Raises:
        BadData: The partitions are by something else than the key: no member of a group would
            see all records of a key.
    """
    try:
        found = msgspec.json.decode(record.value)
        row = _normal(found, key)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadData):
        return None
    if shared and record.key != row[key].encode():
        raise BadData(
            f"topic '{record.partition.topic}', offset {record.offset}: the message's key is "
            f"{record.key.decode(errors='replace')!r}, not the {key} '{row[key]}'",
            hint=f"write the topic with {key} as the key of its messages",
        )
    return row


def _normal(found: Any, key: str) -> Row:
    if not isinstance(found, dict):
        raise BadData("no JSON object")
    time = next((name for name in ("time", *_TIMES) if name in found), "time")
    alias = key == "ticker" and key not in found
    value = found.pop("symbol" if alias else key, None)
    if not isinstance(value, str) or not value:
        raise BadData(f"no {key}")
    return {"time": moment(found.pop(time, None)), key: value, **found}


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as a data frame with `time` in UTC."""
    import pandas as pd

    made = pd.DataFrame.from_records(rows)
    made["time"] = pd.to_datetime(made["time"], utc=True)
    return made


def single(row: Row) -> Row:
    """Return a row as a job gets it that takes one record a call."""
    import pandas as pd

    return {**row, "time": pd.Timestamp(row["time"], tz="UTC")}


def of_frame(made: pd.DataFrame, key: str) -> list[Row]:
    """Return the rows of a data frame that a job returned.

    Raises:
        BadData: A row has no time or no key, or a value is not a value of a record.
    """
    made = _without_index(made, key)
    names = list(made.columns)
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        raise BadData("columns need distinct names")
    for needed in ("time", key):
        if needed not in names:
            raise BadData(f"no column '{needed}'")
    columns = [_times(made["time"]) if name == "time" else made[name].tolist() for name in names]
    return [
        _row(zip(names, cells, strict=True), key, number)
        for number, cells in enumerate(zip(*columns, strict=True))
    ]


def _without_index(made: pd.DataFrame, key: str) -> pd.DataFrame:
    levels = [name for name in made.index.names if name in ("time", key)]
    levels = [name for name in levels if name not in made.columns]
    return made.reset_index(levels) if levels else made


def _times(column: pd.Series) -> list[Any]:
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(column.dtype):
        return list(column.tolist())
    # Not integers: of those the size would decide about the unit.
    return list(pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy("datetime64[ns]"))


def of_mapping(made: Mapping[str, Any], key: str, number: int = 0) -> Row:
    """Return the row of a dictionary that a job returned.

    Raises:
        BadData: See `of_frame`.
    """
    if not all(isinstance(name, str) for name in made):
        raise BadData("the names of fields are text")
    for needed in ("time", key):
        if needed not in made:
            raise BadData(f"no field '{needed}'")
    return _row(made.items(), key, number)


def _row(cells: Iterable[tuple[str, Any]], key: str, number: int) -> Row:
    row: Row = {}
    for name, cell in cells:
        value = _time(cell, number) if name == "time" else _value(cell, name, number)
        if value is not None:
            row[name] = value
    if not isinstance(row.get(key), str) or not row[key]:
        raise BadData(f"row {number}: '{key}' is not text")
    return row


def _time(cell: Any, number: int) -> int:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return moment(cell)
    if _is_unknown(cell):
        raise BadData(f"row {number}: 'time' is missing")
    try:
        return _nanoseconds(cell)
    except BadData as error:
        raise BadData(f"row {number}: 'time' is not a time: {cell!r}") from error


def _nanoseconds(cell: Any) -> int:
    import pandas as pd

    if isinstance(cell, pd.Timestamp):
        return int(cell.as_unit("ns").value)
    return moment(cell)


def _value(cell: Any, name: str, number: int) -> Any:
    if isinstance(cell, np.generic) and not isinstance(cell, np.datetime64):
        cell = cell.item()
    if _is_unknown(cell):
        return None
    if isinstance(cell, float) and math.isinf(cell):
        raise BadData(f"row {number}: '{name}' is infinite")
    if isinstance(cell, datetime | np.datetime64):
        return iso(_nanoseconds(cell))
    if isinstance(cell, dict):
        return {str(inner): _value(each, name, number) for inner, each in cell.items()}
    if isinstance(cell, list | tuple):
        return [_value(each, name, number) for each in cell]
    if not isinstance(cell, bool | int | float | str):
        kind = type(cell).__qualname__
        raise BadData(f"row {number}: '{name}' is a {kind}, which a record cannot hold")
    return cell


def _is_unknown(cell: Any) -> bool:
    import pandas as pd

    return cell is None or cell is pd.NA or cell is pd.NaT or (
        isinstance(cell, float | np.datetime64) and bool(cell != cell)
    )  # fmt: skip


def document(row: Row) -> Row:
    """Return a row as topics hold it."""
    return {**row, "time": iso(row["time"])}


def message(row: Row, key: str) -> Message:
    """Return a row as the message of a topic.

    Raises:
        BadData: A number is too large for JSON's readers.
    """
    try:
        value = msgspec.json.encode(document(row))
    except (msgspec.MsgspecError, OverflowError, ValueError) as error:
        raise BadData(f"a record that is not JSON: {error}") from error
    return Message(value, row[key].encode(), max(0, row["time"] // 10**6))
