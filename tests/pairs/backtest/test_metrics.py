"""Metrics against hand-made curves and the published examples of their authors."""

import math

import numpy as np
import pytest

from mlkit.pairs.backtest import metrics


def test_performance_of_a_curve_that_can_be_done_by_hand():
    equity = np.array([100.0, 110.0, 99.0, 108.9, 121.0])
    measured = metrics.performance(equity, bars_per_year=4.0)
    returns = np.array([0.1, -0.1, 0.1, 121.0 / 108.9 - 1.0])
    assert measured.total_return == pytest.approx(0.21)
    assert measured.annual_return == pytest.approx(0.21)
    assert measured.volatility == pytest.approx(returns.std(ddof=1) * 2)
    assert measured.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * 2)
    assert measured.sortino == pytest.approx(returns.mean() / math.sqrt(0.01 / 4) * 2)
    assert measured.max_drawdown == pytest.approx(0.1)
    assert measured.calmar == pytest.approx(2.1)
    assert measured.drawdown_bars == 2


def test_a_flat_curve_has_no_ratios():
    measured = metrics.performance(np.full(10, 5.0), bars_per_year=252.0)
    assert measured.sharpe is measured.sortino is measured.calmar is None
    assert measured.probabilistic_sharpe is None
    assert measured.total_return == measured.max_drawdown == 0.0


def test_the_sharpe_ratio_is_in_excess_of_cash():
    returns = np.random.default_rng(4).normal(0.001, 0.01, 500)
    equity = 100.0 * np.cumprod(np.append(1.0, 1.0 + returns))
    measured = metrics.performance(equity, bars_per_year=252.0, cash_rate=0.0252)
    wanted = (returns.mean() - 0.0001) / returns.std(ddof=1) * math.sqrt(252)
    assert measured.sharpe == pytest.approx(wanted)


def test_deflated_sharpe_of_the_authors_example():
    # Bailey and Lopez de Prado (2014), section "A numerical example": 100 trials, variance
    # 1/2 a year, 1,250 daily bars, annual Sharpe 2.5, skewness -3, kurtosis 10.
    benchmark = metrics.expected_best_sharpe(0.5 / 250, 100)
    assert benchmark == pytest.approx(0.1132, abs=5e-5)
    probability = metrics.probabilistic_sharpe(2.5 / math.sqrt(250), benchmark, 1250, -3.0, 10.0)
    assert probability == pytest.approx(0.9004, abs=5e-5)


def test_probabilistic_sharpe_covers_the_truth():
    rng = np.random.default_rng(0)
    true = 0.1
    certain = []
    for _ in range(2000):
        returns = rng.normal(true, 1.0, 250)
        skewness, kurtosis = metrics.shape(returns)
        certain.append(metrics.probabilistic_sharpe(
            metrics.sharpe(returns), true, 250, skewness, kurtosis))  # fmt: skip
    assert np.mean(np.array(certain) < 0.05) == pytest.approx(0.05, abs=0.015)


def test_expected_best_sharpe_is_what_the_best_of_worthless_trials_shows():
    rng = np.random.default_rng(1)
    best = rng.normal(size=(4000, 50)).max(axis=1).mean()
    assert metrics.expected_best_sharpe(1.0, 50) == pytest.approx(best, rel=0.02)


def test_correlated_trials_count_for_less():
    assert metrics.independent_trials(100, 0.0) == 100
    assert metrics.independent_trials(100, 1.0) == 1
    rng = np.random.default_rng(2)
    returns = rng.normal(size=(20, 500)) + 2.0 * rng.normal(size=500)
    matrix = np.corrcoef(returns)
    wanted = matrix[np.triu_indices(20, 1)].mean()
    assert metrics.average_correlation(returns) == pytest.approx(wanted)


def test_trials_made_elsewhere_lower_the_probability():
    rng = np.random.default_rng(3)
    returns = rng.normal(0.05, 1.0, (30, 400))
    sharpes = returns.mean(axis=1) / returns.std(axis=1, ddof=1)
    here = metrics.deflate(returns[0], sharpes, metrics.average_correlation(returns))
    more = metrics.deflate(returns[0], sharpes, 0.0, elsewhere=1000)
    assert (here.trials, more.trials) == (30, 1030)
    assert more.probability < here.probability
    assert here.probability <= here.adjusted_probability
