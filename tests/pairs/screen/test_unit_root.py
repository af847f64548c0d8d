"""The Dickey-Fuller test equals that of statsmodels."""

import numpy as np
import pytest
from statsmodels.tsa.stattools import adfuller

from mlkit.pairs.screen.unit_root import dickey_fuller


def walk(seed, length, speed, start=0.0):
    rng = np.random.default_rng(seed)
    series, shocks = np.zeros(length), rng.normal(size=length)
    for t in range(1, length):
        series[t] = (1.0 - speed) * series[t - 1] + shocks[t] - 0.5 * shocks[t - 1]
    return start + series


@pytest.mark.parametrize("length", [21, 40, 100, 252, 1260])
@pytest.mark.parametrize("speed", [0.0, 0.05, 0.7])
@pytest.mark.parametrize("start", [0.0, 1e4])
@pytest.mark.parametrize("seeds", [2, pytest.param(6, marks=pytest.mark.nightly)])
def test_statistic_and_lags_are_those_of_statsmodels(length, speed, start, seeds):
    for seed in range(seeds if length < 500 else 1):
        series = walk(seed, length, speed, start)
        theirs = adfuller(series, autolag="AIC", result_object=True)
        statistic, lags = dickey_fuller(series)
        assert lags == theirs.lags
        assert statistic == pytest.approx(float(theirs.statistic), rel=1e-7)


def test_the_unit_does_not_matter():
    series = walk(1, 300, 0.02)
    statistic, lags = dickey_fuller(series)
    scaled, scaled_lags = dickey_fuller(1e6 * series)
    assert scaled_lags == lags
    assert scaled == pytest.approx(statistic, rel=1e-9)
