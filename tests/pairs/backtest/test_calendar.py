"""The bars per year of markets, read off their dates."""

from __future__ import annotations

import numpy as np
import pytest

from mlkit.errors import BadData
from mlkit.pairs.backtest.calendar import infer_bars_per_year
from mlkit.pairs.prices import Prices


def prices(moments, timezone=None):
    moments = np.asarray(moments, "datetime64[ns]")
    return Prices(("A",), moments, timezone, np.ones((len(moments), 1)))


START = np.datetime64("2024-01-01T00:00", "m")
DAYS = START + np.arange(400) * np.timedelta64(1, "D")
WEEKDAY = (DAYS.astype("datetime64[D]").astype(int) + 3) % 7


def grid(days, minutes):
    return (days[:, None] + np.asarray(minutes) * np.timedelta64(1, "m")).reshape(-1)


@pytest.mark.parametrize(
    ("moments", "bars"),
    [
        (DAYS, 365),
        (DAYS[WEEKDAY < 5], 252),
        (DAYS[(WEEKDAY < 4) | (WEEKDAY == 6)], 252),  # Sunday to Thursday
        (DAYS[WEEKDAY != 5], 313),
        (DAYS[::2], 182.5),
        (DAYS[::7], 52),
        (DAYS[::30], 12),
        (DAYS[::91], 4),
        (grid(DAYS[:60], range(0, 1440, 60)), 8760),
        (grid(DAYS[:20], range(0, 1440, 1)), 525_600),
        (grid(DAYS[:60], range(0, 1440, 720)), 730),
        (grid(DAYS[WEEKDAY < 5][:60], range(570, 960, 30)), 252 * 13),
        # Currencies: from Sunday evening to Friday evening.
        (grid(DAYS[:60], range(0, 1440, 60))[
            [not (d == 5 or (d == 6 and h < 22) or (d == 4 and h > 21))
             for d in WEEKDAY[:60] for h in range(24)]], 252 * 24),
    ],
)  # fmt: skip
@pytest.mark.parametrize("formation", [0, 100])
def test_bars_per_year(moments, bars, formation):
    assert infer_bars_per_year(prices(moments), formation) == bars


@pytest.mark.parametrize("first", range(7))
def test_a_week_of_currencies_may_begin_on_any_day(first):
    days, weekday = DAYS[first : first + 60], WEEKDAY[first : first + 60]
    known = [
        not (d == 5 or (d == 6 and h < 22) or (d == 4 and h > 21))
        for d in weekday
        for h in range(24)
    ]
    assert infer_bars_per_year(prices(grid(days, range(0, 1440, 60))[known]), 100) == 252 * 24


def test_days_are_those_of_the_market():
    local = grid(DAYS[WEEKDAY < 5][:60], range(540, 1080, 60))
    moments = local + np.timedelta64(20, "h")  # a session that crosses midnight in UTC
    assert infer_bars_per_year(prices(moments, "-20:00"), 100) == 252 * 9


def test_what_shows_no_frequency():
    with pytest.raises(BadData, match="2 bars do not show a frequency"):
        infer_bars_per_year(prices(DAYS[:2]), 10)
    with pytest.raises(BadData, match="bars of 50 days"):
        infer_bars_per_year(prices(DAYS[::50]), 10)
