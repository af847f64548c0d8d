"""The sweep uses the engine's arithmetic, whatever the number of threads."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings as runs
from hypothesis import strategies as st
from pairs.markets import cointegrated

from mlkit.errors import BadData, UsageError
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.backtest import run
from mlkit.pairs.settings import Costs, Limits, Settings, Signal, Sizing
from mlkit.pairs.sweep import Grid, sweep
from mlkit.pairs.windows import GivenPair, given

SETTINGS = Settings(
    costs=Costs(0.01, 1.0, 2.0, 3.0, 4.0, borrow_rate=0.05),
    signal=Signal(lookback=15),
    formation=80,
    cash_rate=0.03,
    bars_per_year=252.0,
)
GRID = Grid((1.0, 1.5, 2.0), (-0.5, 0.0, 0.5), (3.0, float("inf")), (10, 25))


@forall(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.sampled_from([1e4, 3e5]))
@runs(max_examples=15, deadline=None)
def test_each_configuration_equals_its_backtest_bit_for_bit(seed, same_bar, opens, gross):
    market = cointegrated(seed, bars=250, tickers=2)
    if not opens:
        market = replace(market, open=None)
    limits = Limits(initial_margin=0.3, maintenance_margin=0.3)
    settings = replace(SETTINGS, same_bar=same_bar, sizing=Sizing(gross=gross), limits=limits)
    swept = sweep(market, "A", "B", settings, GRID)
    for (rule, lookback), score in zip(swept.configurations, swept.scores, strict=True):
        one = replace(settings, rule=rule, signal=Signal(lookback=lookback))
        result = run(market, given(market, [GivenPair("A", "B")], one), one)
        assert score["equity"] == result.account["equity"][-1]
        assert score["trades"] == len(result.trades)
        assert score["turnover"] == pytest.approx(result.trades["turnover"].sum())
        excess = replace(one, cash_rate=0.0)
        measured = replace_performance(result, excess)
        assert score["sharpe"] * np.sqrt(252.0) == pytest.approx(measured.sharpe or 0.0, abs=1e-9)
        assert score["drawdown"] == pytest.approx(measured.max_drawdown, abs=1e-12)


def replace_performance(result, settings):
    return replace(result, settings=settings).performance


def test_threads_change_nothing():
    market = cointegrated(3, tickers=2)
    one, two = (sweep(market, "A", "B", SETTINGS, GRID, threads=n) for n in (1, 2))
    assert one.scores.tobytes() == two.scores.tobytes()
    assert one.deflated == two.deflated


def test_the_best_of_a_sweep_of_noise_is_deflated():
    rng = np.random.default_rng(7)
    market = cointegrated(7, bars=1000, tickers=2)
    noise = 50.0 * np.exp(np.cumsum(rng.normal(0, 0.01, (1000, 2)), axis=0))
    free = replace(SETTINGS, costs=Costs(0, 0, 0, 0, 0, 0), cash_rate=0.0)
    swept = sweep(replace(market, close=noise, open=None, dividends=None), "A", "B", free, GRID)
    assert swept.deflated.trials == len(swept.configurations)
    assert swept.scores["sharpe"][swept.best] == swept.scores["sharpe"].max()
    assert swept.deflated.probability < 0.95


def test_impossible_grids_and_signals_are_refused():
    market = cointegrated(1, tickers=2)
    with pytest.raises(UsageError, match="no combination"):
        sweep(market, "A", "B", SETTINGS, Grid((1.0,), (2.0,), (9.0,), (20,)))
    with pytest.raises(UsageError, match="lookback"):
        sweep(market, "A", "B", replace(SETTINGS, signal=Signal(zscore="ou")), GRID)
    with pytest.raises(BadData, match="needs 403 bars"):
        sweep(market, "A", "B", replace(SETTINGS, formation=400), GRID)


def test_bad_arrays_are_named():
    with pytest.raises(ValueError, match=r"closes\[1\]"):
        native.sweep(
            closes=np.array([[1.0, -2.0, 3.0], [1.0, 2.0, 3.0]]), opens=None, dividends=None,
            z=np.zeros((1, 3)), beta=np.ones((1, 3)), trade=1, rules=[native.Rule()], rows=[0],
            settings=native.Settings(),
        )  # fmt: skip
