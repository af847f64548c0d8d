"""Series of values in the records of a batch, by what has one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import UsageError
from mlkit.pairs.feeds.records import LARGEST

if TYPE_CHECKING:
    import pandas as pd

State = dict[str, Any]
Series = NDArray[np.float64]


def numbers(data: pd.DataFrame, column: str) -> Series:
    """Return a column as numbers, NaN where a record has none."""
    if column not in data:
        return np.full(len(data), np.nan)  # no record of this batch has the field
    return np.asarray(data[column].to_numpy(dtype=np.float64, na_value=np.nan))


def by_key(
    data: pd.DataFrame, values: Series, by: str
) -> Iterator[tuple[str, NDArray[np.intp], Series]]:
    """Yield each key with the places of its known values, in their order, and these."""
    for key, places in data.groupby(by, sort=True).indices.items():
        places = places[np.abs(values[places]) <= LARGEST]  # nor NaN
        if len(places):
            yield str(key), places, values[places]


def nanoseconds(data: pd.DataFrame) -> NDArray[np.int64]:
    """Return the times of records, in nanoseconds since 1970."""
    import pandas as pd

    times = pd.to_datetime(data["time"], utc=True).dt.tz_localize(None)
    return np.asarray(times.to_numpy("datetime64[ns]").view(np.int64))


def require(window: int, least: int) -> None:
    """Refuse a window of fewer values than a feature needs.

    Raises:
        UsageError: It is too short.
    """
    if window < least:
        raise UsageError(f"a window of {window} values", hint=f"{least} at least")
