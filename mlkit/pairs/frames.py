"""Data frames in and out: prices of pandas' objects, and results as frames.

pandas is imported when one of these functions is called, not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlkit.errors import BadData, UsageError
from mlkit.pairs.prices import files
from mlkit.pairs.prices.prices import Prices, of_rows
from mlkit.pairs.prices.reading import Reading, Sheet
from mlkit.pairs.settings import Align

if TYPE_CHECKING:
    import pandas as pd

    from mlkit.pairs.backtest.replay import Backtest
    from mlkit.pairs.backtest.sweep import Sweep
    from mlkit.pairs.screen.screening import Screen


def prices(
    data: pd.DataFrame | pd.Series | Mapping[str, pd.DataFrame | pd.Series],
    *,
    align: Align | None = None,
    tickers: Iterable[str] | None = None,
    raw: bool = False,
    signed: bool = False,
    allow_jumps: bool = False,
    reading: Reading | None = None,
    source: str = "data frame",
) -> Prices:
    """Take prices from pandas, checked as those of a file are.

    Args:
        data: A frame in any layout that a file may have: a column per ticker on an index of
            dates, two levels of columns (field and ticker, as yfinance returns them), or rows
            of date, ticker and close, in columns or in a MultiIndex. A named Series is one
            ticker. A mapping has a Series of closes, or a frame of bars, for each ticker.
        align: See `prices.read`, as for the arguments after it.
        tickers: The tickers to keep.
        raw: Closes as they were paid.
        signed: Prices may be zero or negative.
        allow_jumps: Raw closes may move like an unknown split.
        reading: What the frame alone leaves open.
        source: The name that errors give the data.

    Raises:
        BadData: Something in it is wrong or ambiguous; the message names row and ticker.
        UsageError: It is not a frame, Series or mapping of them, or a ticker is not in it.
    """
    sheets = [_sheet(each, source, name) for name, each in _parts(data)]
    rows = files.parse_sheets(sheets, reading or Reading(), source)
    return of_rows(rows, align, tickers, raw=raw, signed=signed, allow_jumps=allow_jumps)


def _parts(data: Any) -> list[tuple[str, Any]]:
    import pandas as pd

    if isinstance(data, Mapping):
        return [(str(name), _frame(each, "close")) for name, each in data.items()]
    if isinstance(data, pd.Series) and data.name is None and data.index.nlevels == 1:
        raise UsageError("a Series of prices without a name", hint="name it by its ticker")
    name = "close" if isinstance(data, pd.Series) and data.index.nlevels > 1 else None
    return [("", _frame(data, name))]


def _frame(data: Any, name: str | None) -> pd.DataFrame:
    import pandas as pd

    if isinstance(data, pd.Series):
        return data.to_frame(name) if name else data.to_frame()
    if not isinstance(data, pd.DataFrame):
        raise UsageError(f"prices of type {type(data).__name__}", hint="a data frame or a Series")
    return data


def _sheet(frame: pd.DataFrame, source: str, stem: str) -> Sheet:
    """Return a frame as a sheet, its index as the first columns."""
    import pandas as pd

    header: list[tuple[str, ...]] = []
    columns = []
    if not isinstance(frame.index, pd.RangeIndex):
        for level, name in enumerate(frame.index.names):
            values = frame.index.get_level_values(level)
            dates = isinstance(values, pd.DatetimeIndex | pd.PeriodIndex)
            header.append(("date" if dates else "" if name is None else str(name),))
            columns.append(_column(values.to_series(), source, str(name)))
    for position, name in enumerate(frame.columns):
        levels = name if isinstance(name, tuple) else (name,)
        header.append(tuple(str(each) for each in levels))
        columns.append(_column(frame.iloc[:, position], source, str(name)))
    return Sheet(source, stem, header, columns, 0)


def _column(values: pd.Series, source: str, name: str) -> Any:
    import pandas as pd

    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    try:
        column = pa.Array.from_pandas(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BadData(f"{source}: column '{name}': {error}") from error
    column = pa.chunked_array(column) if isinstance(column, pa.Array) else column
    return files.plain_text(column)


def _index(times: Prices) -> pd.DatetimeIndex:
    import pandas as pd

    index = pd.DatetimeIndex(times.timestamps, name="date")
    return index if times.timezone is None else index.tz_localize("UTC").tz_convert(times.timezone)


def of_prices(data: Prices, field: str = "close") -> pd.DataFrame:
    """Return a field of prices: a row per bar, a column per ticker.

    Raises:
        UsageError: There is no such field.
    """
    import pandas as pd

    values = getattr(data, field, None)
    if not isinstance(values, np.ndarray) or values.shape != data.close.shape:
        raise UsageError(f"no field '{field}' in {data.source}")
    return pd.DataFrame(values, _index(data), pd.Index(data.tickers, name="ticker"))


def trades(result: Backtest) -> pd.DataFrame:
    """Return the closed trades of a backtest, in the order of closing; times as timestamps."""
    from mlkit.pairs.backtest import records

    frame = records.trades(result).to_pandas()
    index = _index(result.prices)
    for name in ("decided", "entered", "closed"):
        frame[name] = index[result.trades[name]]
    return frame


def positions(result: Backtest) -> pd.DataFrame:
    """Return the shares held after each bar, a row per bar, pair and leg."""
    from mlkit.pairs.backtest import records

    frame = records.positions(result).to_pandas()
    bars = {text: bar for bar, text in enumerate(result.prices.zoned.tolist())}
    frame["date"] = _index(result.prices)[[bars[text] for text in frame["date"]]]
    return frame


def equity(result: Backtest) -> pd.DataFrame:
    """Return the account at each close, on an index of timestamps."""
    from mlkit.pairs.backtest import records

    frame = records.equity(result).to_pandas()
    return frame.drop(columns="date").set_index(_index(result.prices))


def pairs(found: Screen) -> pd.DataFrame:
    """Return the pairs of a screen, the best first."""
    from dataclasses import asdict, fields

    import pandas as pd

    from mlkit.pairs.screen.screening import Pair

    names = [each.name for each in fields(Pair)]
    return pd.DataFrame([asdict(pair) for pair in found.pairs], columns=names)


def configurations(result: Sweep) -> pd.DataFrame:
    """Return the configurations of a sweep with their scores; Sharpe ratios per year."""
    import pandas as pd

    frame = pd.DataFrame(
        [{**vars(rule), "lookback": lookback} for rule, lookback in result.configurations]
    )
    for name in result.scores.dtype.names or ():
        frame[name] = result.scores[name]
    frame["sharpe"] *= result.bars_per_year**0.5
    return frame
