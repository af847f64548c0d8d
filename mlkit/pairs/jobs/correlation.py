"""The rolling correlation of pairs, for jobs: bars of two tickers meet by their time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import UsageError
from mlkit.pairs.jobs.series import Series, State, by_key, nanoseconds, numbers, require

if TYPE_CHECKING:
    import pandas as pd

MOST_WAITING = 10_000
"""Bars of a ticker that wait for the other one's, at most."""
_NEVER = -(2**63)


class Bars(NamedTuple):
    """Values of one ticker; times in nanoseconds since 1970 increase."""

    times: NDArray[np.int64]
    values: Series


_NONE = Bars(np.zeros(0, dtype=np.int64), np.zeros(0))


def correlation(
    state: State, data: pd.DataFrame, window: int, pairs: Sequence[Sequence[str]], *,
    column: str = "close", by: str = "ticker",
) -> pd.DataFrame:  # fmt: skip
    """Return the correlation of the last `window` log returns of pairs, 2 at least.

    Returns are those between bars that both have; a value comes with the later one of the two bars
    of a time, so both tickers have to be in one partition of the topic. Passed over are bars that
    do not come after the ticker's last one, values that are not positive, and bars that the other
    ticker lacks: once it has a later one, or when 10,000 newer ones wait for it.

    Args:
        state: The job's state, where the last values are kept.
        data: The new bars.
        window: The number of returns.
        pairs: The tickers, in twos.
        column: The column of prices.
        by: The column of tickers.

    Returns:
        Rows by time and pair: time, `by` (such as "KO/PEP") and correlation; none where there are
        not enough returns, or one of the two does not move.

    Raises:
        UsageError: The window is too short, or a pair is not two different tickers.
    """
    import pandas as pd

    require(window, 2)
    named = [_name(pair) for pair in pairs]
    memory = state.setdefault(f"correlation:{window}:{column}:{by}", {})
    new = _bars(memory.setdefault("last", {}), data, column, by)
    known = memory.setdefault("pairs", {})
    found = [
        _correlate(known.setdefault(name, {}), new.get(y, _NONE), new.get(x, _NONE), window)
        for name, (y, x) in zip(named, pairs, strict=True)
    ]
    times = np.concatenate([_NONE.times, *(each.times for each in found)]).view("datetime64[ns]")
    made = pd.DataFrame({"time": pd.DatetimeIndex(times).tz_localize("UTC")})
    made[by] = np.repeat(np.array(named, dtype=object), [len(each.times) for each in found])
    made["correlation"] = np.concatenate([_NONE.values, *(each.values for each in found)])
    return made.sort_values(["time", by], kind="stable", ignore_index=True)


def _name(pair: Sequence[str]) -> str:
    if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
        raise UsageError(f"not a pair: {pair!r}", hint='two tickers: ("KO", "PEP")')
    return "/".join(pair)


def _bars(last: dict[str, int], data: pd.DataFrame, column: str, by: str) -> Mapping[str, Bars]:
    """Return the new bars of each ticker, without those that do not come after its last one."""
    times, values = nanoseconds(data), numbers(data, column)
    found = {}
    for key, places, some in by_key(data, np.where(values > 0.0, values, np.nan), by):
        moments = times[places]
        before = np.maximum.accumulate([last.get(key, _NEVER), *moments.tolist()])
        later = moments > before[:-1]
        found[key] = Bars(moments[later], some[later])
        last[key] = int(before[-1])
    return found


def _correlate(memory: dict[str, Any], y: Bars, x: Bars, window: int) -> Bars:
    """Match the new bars of two tickers with those that wait; return times and correlations."""
    y, x = _join(memory.get("y"), y), _join(memory.get("x"), x)
    times, in_y, in_x = np.intersect1d(y.times, x.times, assume_unique=True, return_indices=True)
    memory["y"], memory["x"] = _waiting(y, x), _waiting(x, y)
    both = np.column_stack([y.values[in_y], x.values[in_x]])
    prices = np.concatenate([memory.get("prices", both[:0]), both])
    memory["prices"] = prices[-window:].copy()
    if len(prices) <= window or not len(times):
        return _NONE
    found = _of_windows(np.diff(np.log(prices), axis=0), window)
    known = np.isfinite(found)
    return Bars(times[-len(found) :][known], found[known])


def _join(waiting: tuple[NDArray[np.int64], Series] | None, new: Bars) -> Bars:
    if waiting is None:
        return new
    return Bars(*(np.concatenate(each) for each in zip(waiting, new, strict=True)))


def _waiting(own: Bars, other: Bars) -> tuple[NDArray[np.int64], Series]:
    """Return the bars that the other ticker may still have."""
    begin = 0 if not len(other.times) else np.searchsorted(own.times, other.times[-1], side="right")
    begin = max(int(begin), len(own.times) - MOST_WAITING)
    return own.times[begin:].copy(), own.values[begin:].copy()


def _of_windows(returns: Series, window: int) -> Series:
    """Return the correlation of each window of two columns, NaN where one does not move."""
    views = np.lib.stride_tricks.sliding_window_view(returns, window, axis=0)
    # Contiguous windows: each is summed in the same order, however many there are.
    y, x = (np.ascontiguousarray(views[:, column]) for column in (0, 1))
    moves = (np.ptp(y, axis=1) > 0.0) & (np.ptp(x, axis=1) > 0.0)
    y, x = y - y.mean(axis=1, keepdims=True), x - x.mean(axis=1, keepdims=True)
    scale = np.sqrt((y * y).sum(axis=1)) * np.sqrt((x * x).sum(axis=1))
    found = np.full(len(y), np.nan)
    np.divide((y * x).sum(axis=1), scale, out=found, where=moves & (scale > 0.0))
    return np.asarray(np.clip(found, -1.0, 1.0))
