"""Times of logs: ISO 8601 (without a zone: UTC), timestamps, dates, or seconds since 1970."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

EXPECTED = "ISO 8601 or seconds since 1970"


def seconds_of(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    """Return times as seconds since 1970; NaN where there is none.

    Args:
        column: Text, numbers, timestamps or dates.
    """
    import pandas as pd

    series = pd.Series(column.to_pandas())
    if series.dtype.kind == "M":
        return _seconds(series)
    found = np.array(pd.to_numeric(series, errors="coerce"), dtype=np.float64)
    texts = np.isnan(found)
    if texts.any():
        found[texts] = _seconds(series[texts])
    found[~np.isfinite(found)] = np.nan
    return found


def _seconds(series: pd.Series) -> NDArray[np.float64]:
    import pandas as pd

    moments = pd.to_datetime(series, utc=True, format="ISO8601", errors="coerce")
    moments = pd.Series(moments).dt.tz_localize(None)
    seconds = moments.to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    return np.where(moments.isna(), np.nan, seconds)
