"""Records of a batch as columns, all at once: a fast way for plain ones, with the same outcome.

A plain record is a JSON object of numbers and ASCII text. A batch with any other record, and a data
frame with any other value, goes through `mlkit.pairs.jobs.rows`, which also reports what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlkit.pairs._record_columns import decode, encode
from mlkit.streams import Message, Record

if TYPE_CHECKING:
    import pandas as pd


def frame(records: Sequence[Record], key: str, *, shared: bool) -> pd.DataFrame | None:
    """Return the data frame of plain records, as `rows.frame` makes it of rows; None for others.

    Args:
        records: What the topic holds.
        key: The field that the job is keyed by.
        shared: Whether the topic has several partitions, so that the key has to be the message's.
    """
    import pandas as pd

    if key == "time":
        return None
    keys = [each.key for each in records] if shared else None
    columns = decode([each.value for each in records], key, keys)
    if columns is None:
        return None
    (time, moments), *others = columns
    times = pd.DatetimeIndex(np.asarray(moments).view("datetime64[ns]")).tz_localize("UTC")
    return pd.DataFrame({time: times, **dict(others)})


def messages(made: pd.DataFrame, key: str) -> list[Message] | None:
    """Return the rows of a data frame as messages, as `rows` makes them.

    None where a column or a value is not plain.

    Args:
        made: What a job returned.
        key: The field that the job is keyed by.
    """
    names = list(made.columns)
    if len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
        return None
    if not {"time", key} <= set(names) or key == "time":
        return None
    columns = [(name, _plain(made[name], is_time=name == "time")) for name in names]
    if any(values is None for _, values in columns):
        return None
    encoded = encode(columns, key, len(made))
    if encoded is None:
        return None
    moments = next(values for name, values in columns if name == "time")
    times: list[int] = np.maximum(moments // 10**6, 0).tolist()
    return list(map(Message, *encoded, times))


def _plain(column: pd.Series, *, is_time: bool) -> Any:
    """Return the values of a column that records hold as they are; None for others."""
    import pandas as pd

    if is_time:
        return _moments(column)
    if isinstance(column.dtype, pd.StringDtype) or column.dtype == object:
        return column.tolist()
    if not isinstance(column.dtype, np.dtype) or column.dtype.kind not in "fib":
        return None
    if column.dtype.kind != "f":
        return np.ascontiguousarray(column, dtype=bool if column.dtype.kind == "b" else np.int64)
    values = np.ascontiguousarray(column, dtype=np.float64)
    return None if np.isinf(values).any() else values


def _moments(column: pd.Series) -> Any:
    """Return times as nanoseconds since 1970; None if one is missing, or in another form."""
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(column.dtype) or column.hasnans:
        return None
    zoneless = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    return np.ascontiguousarray(zoneless.to_numpy("datetime64[ns]").view(np.int64))
