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

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mlkit.errors import UsageError
from mlkit.pairs.fit import spread
from mlkit.pairs.jobs.bars import bars
from mlkit.pairs.jobs.correlation import correlation
from mlkit.pairs.jobs.series import Series, State, by_key, numbers, require
from mlkit.pairs.jobs.sessions import Session

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Session", "bars", "correlation", "ewma_volatility", "half_life", "hurst", "returns",
    "rolling_mean", "rolling_std", "zscore",
]  # fmt: skip


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
    return _apply_windows(state, name, data, 2, column, by, _log_returns if log else _returns)


def _returns(windows: Series) -> Series:
    return np.asarray(windows[:, 1] / windows[:, 0] - 1.0)


def _log_returns(windows: Series) -> Series:
    return np.asarray(np.log(windows[:, 1]) - np.log(windows[:, 0]))


def rolling_mean(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return the mean of the last `window` values; NaN before there are as many."""
    return _apply_windows(
        state, f"mean:{window}", data, window, column, by, lambda each: each.mean(axis=1)
    )


def rolling_std(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return the sample standard deviation (n - 1) of the last `window` values, 2 at least."""
    require(window, 2)
    name = f"std:{window}"
    return _apply_windows(
        state, name, data, window, column, by, lambda each: each.std(axis=1, ddof=1)
    )


def zscore(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return how many sample deviations a value is from the mean of the last `window` values.

    The value is one of them, as in a backtest with a lookback. NaN where they do not move.
    """
    require(window, 2)
    return _apply_windows(state, f"zscore:{window}", data, window, column, by, _scores)


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
    require(window, 3)
    estimate = partial(_estimates, spread.half_life)
    return _apply_windows(state, f"half_life:{window}", data, window, column, by, estimate)


def hurst(
    state: State, data: pd.DataFrame, window: int, *, column: str = "close", by: str = "ticker"
) -> pd.Series:
    """Return the Hurst exponent of the last `window` values, 23 at least.

    See `mlkit.pairs.fit.spread.hurst`; NaN where they do not move.
    """
    require(window, 23)
    estimate = partial(_estimates, spread.hurst)
    return _apply_windows(state, f"hurst:{window}", data, window, column, by, estimate)


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
    changes = _apply_windows(state, f"ewma:{decay}:last", data, 2, column, by, _log_returns)
    memory = state.setdefault(f"ewma:{decay}:{column}:{by}", {})
    out = np.full(len(data), np.nan)
    for key, places, values in by_key(data, changes.to_numpy(), by):
        variance = memory.get(key)
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            square = value * value
            variance = square if variance is None else decay * variance + (1.0 - decay) * square
            out[place] = variance
        memory[key] = variance
    return _align(np.sqrt(out), data)


def _apply_windows(
    state: State, name: str, data: pd.DataFrame, window: int, column: str, by: str,
    function: Callable[[Series], Series],
) -> pd.Series:  # fmt: skip
    """Apply a function of windows, shape (windows, window), to those that end at the new rows."""
    require(window, 1)
    memory = state.setdefault(f"{name}:{column}:{by}", {})
    out = np.full(len(data), np.nan)
    for key, places, values in by_key(data, numbers(data, column), by):
        known = values if key not in memory else np.concatenate([memory[key], values])
        full = len(known) - window + 1
        if full > 0:
            # Contiguous windows: each is summed in the same order, however many there are.
            views = np.lib.stride_tricks.sliding_window_view(known, window)
            with np.errstate(all="ignore"):
                found = function(np.ascontiguousarray(views))
            out[places[-full:]] = np.where(np.isfinite(found), found, np.nan)
        memory[key] = known[max(0, len(known) - window + 1) :].copy()
    return _align(out, data)


def _align(values: Series, data: pd.DataFrame) -> pd.Series:
    import pandas as pd

    return pd.Series(values, index=data.index)
