"""How many bars a year has, read off the dates of the first bars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData
from mlkit.pairs.prices.clock import wall_clock
from mlkit.pairs.prices.prices import Prices

TRADING_DAYS = 252.0
"""Days per year of markets that close at weekends and on holidays."""
WEEK = np.timedelta64(8, "D")
LONGER = ((5.0, 10.0, 52.0), (25.0, 35.0, 12.0), (80.0, 100.0, 4.0), (350.0, 380.0, 1.0))
"""Days between bars, from and to, and the bars per year: weeks, months, quarters, years."""


def infer_bars_per_year(prices: Prices, formation: int) -> float:
    """Read the bars per year off the formation period, and at least the first week.

    A market that trades on all seven weekdays has 365 days, one that trades on five 252, and one
    on six 313. Bars of a day count as days; shorter ones are counted per day; weeks give 52,
    months 12, quarters 4.

    Raises:
        BadData: Fewer than three bars, or bars of no known length.
    """
    walls = _walls(prices, formation)
    if len(walls) < 3:
        raise BadData(f"{prices.source}: {len(walls)} bars do not show a frequency",
                      hint="set --bars-per-year")  # fmt: skip
    step = float(np.median(np.diff(walls) / np.timedelta64(1, "D")))
    if step < 5.0:
        return _days_per_year(walls) * _bars_per_day(walls, step)
    for low, high, bars in LONGER:
        if low <= step <= high:
            return bars
    raise BadData(f"{prices.source}: bars of {step:.0f} days", hint="set --bars-per-year")


def _walls(prices: Prices, formation: int) -> NDArray[np.datetime64]:
    """Return the first timestamps as the clocks of their zone show them."""
    moments = prices.timestamps
    first = max(formation, 20)
    if len(moments) > first:
        first = max(first, int(np.searchsorted(moments, moments[0] + WEEK)))
    moments = moments[:first]
    return moments if prices.timezone is None else wall_clock(moments, prices.timezone)


def _bars_per_day(walls: NDArray[np.datetime64], step: float) -> float:
    if step >= 0.8:
        return 1.0 / round(step)
    _, counts = np.unique(walls.astype("datetime64[D]"), return_counts=True)
    # Of two middle ones the longer: a week of currencies begins and ends with part of a day.
    return float(np.quantile(counts, 0.5, method="higher"))


def _days_per_year(walls: NDArray[np.datetime64]) -> float:
    """Count the weekdays that are traded; one with a short session counts in part."""
    days, counts = np.unique(walls.astype("datetime64[D]"), return_counts=True)
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    weeks = max(float((days[-1] - days[0]).astype(np.int64) + 1) / 7.0, 1.0)
    bars = np.bincount(weekday, counts, 7) / weeks
    traded = bars[bars > 0.0]
    share = float(np.minimum(bars / np.median(traded), 1.0).sum())
    if share <= 5.4:
        return TRADING_DAYS
    return 365.0 if share > 6.5 else 313.0
