"""Features for jobs, one call a batch: each value is that of the batch function on all bars so far.

    from mlkit.pairs.jobs import features

    state = {}

    def process(data):
        data["z"] = features.zscore(state, data, 60)
        return data[["time", "ticker", "z"]].dropna()

What a feature has to remember of each ticker is in the `state` that it is given, under its own name
and parameters, so that the job's checkpoint holds it; call one with the same parameters once a
batch. The values do not depend on how records are divided into batches. Rows of a ticker are taken
in the order in which they come. A missing value, or one beyond 1e150, is passed over: its row has
none, and windows are of values that are known. What is not finite, as the return of a price of 0,
is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs.feeds.assembly import Assembler
from mlkit.pairs.feeds.records import LARGEST, PriceRecord, parse
from mlkit.pairs.fit import spread

if TYPE_CHECKING:
    import pandas as pd

State = dict[str, Any]
Series = NDArray[np.float64]
_BAR = ("open", "high", "low", "close", "volume", "dividend", "bid", "ask")


def returns(
    state: State, data: pd.DataFrame, *, log: bool = False, column: str = "close",
    by: str = "ticker",
) -> pd.Series:  # fmt: skip
    """Return the change against the value before, as a share; or of logarithms.

    Args:
        state: The job's state, where the last values are kept.
        data: The new rows.
        log: Take the difference of logarithms.
        column: The column of values.
        by: The column of what has a series of its own.
    """
    name = f"returns:{'log' if log else 'share'}"
    return _windowed(state, name, data, 2, column, by, _log_returns if log else _returns)


def _returns(windows: Series) -> Series:
    return np.asarray(windows[:, 1] / windows[:, 0] - 1.0)


def _log_returns(windows: Series) -> Series:
    return np.asarray(np.log(windows[:, 1]) - np.log(windows[:, 0]))


def rolling_mean(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return the mean of the last `window` values; NaN before there are as many."""
    return _windowed(
        state, f"mean:{window}", data, window, column, by, lambda each: each.mean(axis=1)
    )


def rolling_std(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return the sample standard deviation (n - 1) of the last `window` values, 2 at least."""
    _require(window, 2)
    name = f"std:{window}"
    return _windowed(state, name, data, window, column, by, lambda each: each.std(axis=1, ddof=1))


def zscore(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return how many sample deviations a value is from the mean of the last `window` values.

    The value is one of them, as in a backtest with a lookback. NaN where they do not move.
    """
    _require(window, 2)
    return _windowed(state, f"zscore:{window}", data, window, column, by, _scores)


def _scores(windows: Series) -> Series:
    deviation = windows.std(axis=1, ddof=1)
    moves = np.where(np.ptp(windows, axis=1) > 0.0, deviation, np.nan)
    return np.asarray((windows[:, -1] - windows.mean(axis=1)) / moves)


def half_life(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return in how many bars the last `window` values, 3 at least, halve their distance from
    their mean; see `mlkit.pairs.fit.spread.half_life`.

    NaN where they do not come back, which is infinitely long: a record cannot hold infinity.
    """  # noqa: D205
    _require(window, 3)
    estimate = partial(_estimates, spread.half_life)
    return _windowed(state, f"half_life:{window}", data, window, column, by, estimate)


def hurst(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return the Hurst exponent of the last `window` values, 23 at least.

    See `mlkit.pairs.fit.spread.hurst`; NaN where they do not move.
    """
    _require(window, 23)
    estimate = partial(_estimates, spread.hurst)
    return _windowed(state, f"hurst:{window}", data, window, column, by, estimate)


def _estimates(function: Callable[[Series], Series], windows: Series) -> Series:
    """Apply a function to a window after the other: its sums depend on how many it is given."""
    return np.array([function(each[:, None])[0] for each in windows])


def ewma_volatility(
    state: State, data: pd.DataFrame, decay: float = 0.94, *, column: str = "close",
    by: str = "ticker",
) -> pd.Series:  # fmt: skip
    """Return the volatility per bar by exponentially weighted squares of log returns.

    variance = decay * variance + (1 - decay) * return ** 2, from the first return's square on:
    RiskMetrics (J.P. Morgan, 1996), whose decay for days is 0.94.
    """
    if not 0.0 < decay < 1.0:
        raise UsageError(f"a decay of {decay}", hint="above 0 and below 1")
    changes = _windowed(state, f"ewma:{decay}:last", data, 2, column, by, _log_returns)
    memory = state.setdefault(f"ewma:{decay}:{column}:{by}", {})
    out = np.full(len(data), np.nan)
    for key, places, values in _series(data, changes.to_numpy(), by):
        variance = memory.get(key)
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            square = value * value
            variance = square if variance is None else decay * variance + (1.0 - decay) * square
            out[place] = variance
        memory[key] = variance
    return _aligned(np.sqrt(out), data)


def bars(state: State, data: pd.DataFrame, seconds: float) -> pd.DataFrame:
    """Return the bars that ticks have closed: open, high, low, close, volume by ticker.

    Bars of a ticker begin at multiples of their length since 1970, in UTC, and carry their start.
    A bar is returned when the first tick after its end comes; bars without ticks are none. Ticks of
    a bar that has been returned, and impossible prices, are left out and counted in
    `state["bars:SECONDS"][TICKER]["counts"]`, by the rules of `mlkit.pairs.feeds.assembly`.

    Args:
        state: The job's state, where the open bars are kept.
        data: The new ticks: time, ticker, close or price, and what else a record of prices has.
        seconds: The length of a bar.

    Returns:
        Rows by time and ticker: time, ticker and the columns that the ticks give.

    Raises:
        UsageError: The length is not positive.
        BadData: A row is not a record of prices.
    """
    import pandas as pd

    if not 1e-9 <= seconds <= 1e9:
        raise UsageError(f"bars of {seconds} seconds")
    memory = state.setdefault(f"bars:{seconds}", {})
    closed: list[dict[str, Any]] = []
    for ticker, ticks in _ticks(data).items():
        assembler = Assembler([ticker], length=round(seconds * 1e9))
        if ticker in memory:
            assembler.load(memory[ticker])
        for tick in ticks:
            closed += [_bar(each.time, each.records[0]) for each in assembler.take(tick)]
        memory[ticker] = msgspec.to_builtins(assembler.save())
    closed.sort(key=lambda row: (row["time"], row["ticker"]))
    made = pd.DataFrame(closed, columns=["time", "ticker", *_BAR]).dropna(axis=1, how="all")
    if closed:
        made["time"] = pd.to_datetime(made["time"], utc=True)
    return made


def _ticks(data: pd.DataFrame) -> dict[str, list[PriceRecord]]:
    ticks: dict[str, list[PriceRecord]] = {}
    for row in data.to_dict("records"):
        record = parse({**row, "time": row["time"].to_datetime64()})
        ticks.setdefault(record.ticker, []).append(record)
    return ticks


def _bar(time: int, record: PriceRecord | None) -> dict[str, Any]:
    if record is None:  # an assembler of one ticker closes no bar without it
        raise BadData("a bar without ticks")
    return {"time": time, "ticker": record.ticker} | {name: getattr(record, name) for name in _BAR}


def _require(window: int, least: int) -> None:
    if window < least:
        raise UsageError(f"a window of {window} values", hint=f"{least} at least")


def _windowed(
    state: State, name: str, data: pd.DataFrame, window: int, column: str, by: str,
    function: Callable[[Series], Series],
) -> pd.Series:  # fmt: skip
    """Apply a function of windows, shape (windows, window), to those that end at the new rows."""
    _require(window, 1)
    memory = state.setdefault(f"{name}:{column}:{by}", {})
    out = np.full(len(data), np.nan)
    for key, places, values in _series(data, _column(data, column), by):
        known = values if key not in memory else np.concatenate([memory[key], values])
        full = len(known) - window + 1
        if full > 0:
            # Contiguous windows: each is summed in the same order, however many there are.
            views = np.lib.stride_tricks.sliding_window_view(known, window)
            with np.errstate(all="ignore"):
                found = function(np.ascontiguousarray(views))
            out[places[-full:]] = np.where(np.isfinite(found), found, np.nan)
        memory[key] = known[max(0, len(known) - window + 1) :].copy()
    return _aligned(out, data)


def _column(data: pd.DataFrame, column: str) -> Series:
    if column not in data:
        return np.full(len(data), np.nan)  # no record of this batch has the field
    return np.asarray(data[column].to_numpy(dtype=np.float64, na_value=np.nan))


def _series(
    data: pd.DataFrame, values: Series, by: str
) -> Iterator[tuple[str, NDArray[np.intp], Series]]:
    """Yield each key with the places of its known values, in their order, and these."""
    for key, places in data.groupby(by, sort=True).indices.items():
        places = places[np.abs(values[places]) <= LARGEST]  # nor NaN
        if len(places):
            yield str(key), places, values[places]


def _aligned(values: Series, data: pd.DataFrame) -> pd.Series:
    import pandas as pd

    return pd.Series(values, index=data.index)
