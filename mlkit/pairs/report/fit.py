"""The report of `mlkit pairs fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mlkit.drawing import (
    Panel,
    Vector,
    date_ticks,
    log_ticks,
    number_ticks,
    picture,
    responsive,
)
from mlkit.pairs.fit.ornstein_uhlenbeck import OrnsteinUhlenbeck
from mlkit.pairs.fit.pair import PairFit
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.report import page

LAGS = 40
"""Lags at which autocorrelations are drawn, if there are bars enough."""


def write(path: Path, prices: Prices, fit: PairFit, options: dict[str, Any]) -> None:
    """Write one page about a fitted pair.

    Args:
        path: The page.
        prices: What it was fitted on.
        fit: What was found.
        options: The arguments of `fit_pair`, as the page lists them.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    page.write(path, "fit.html", context(prices, fit, options))


def context(prices: Prices, fit: PairFit, options: dict[str, Any]) -> dict[str, Any]:
    """Return all that the template shows."""
    both = prices.select([fit.y, fit.x])
    kept = ~np.isnan(both.close).any(axis=1)
    dates = both.zoned[kept]
    score = rolling_score(fit.spread, fit.window)
    return {
        "fit": fit,
        "first": str(dates[0]),
        "last": str(dates[-1]),
        "universe": page.universe(prices),
        "settings": {"fit": options},
        "score": float(score[-1]) if np.isfinite(score[-1]) else None,
        "rebased": _rebasable(both.close[kept]),
        "pictures": {
            "prices": _prices(both.close[kept], dates),
            "spread": _spread(fit, dates),
            "score": _score(score, dates),
            "hedge": _hedge(fit, dates),
            "spread_memory": _memory(fit.spread, fit.process),
            "residual_memory": _memory(residuals(fit.spread), None),
        },
    }


def rolling_score(spread: Vector, window: int) -> Vector:
    """Return each bar's distance from the mean of the last `window` bars, in their deviations.

    Returns:
        Shape (length,); NaN before the first full window.
    """
    views = np.lib.stride_tricks.sliding_window_view(spread, window)
    with np.errstate(divide="ignore", invalid="ignore"):
        known = (spread[window - 1 :] - views.mean(axis=1)) / views.std(axis=1, ddof=1)
    return np.concatenate([np.full(window - 1, np.nan), known])


def residuals(spread: Vector) -> Vector:
    """Return what a first-order autoregression of the spread leaves, shape (length - 1,)."""
    before, after = spread[:-1] - spread[:-1].mean(), spread[1:] - spread[1:].mean()
    return np.asarray(after - before * (before @ after) / (before @ before))


def autocorrelation(series: Vector, lags: int) -> Vector:
    """Return the autocorrelations at lags 1, 2, ..., shape (lags,)."""
    centred = series - series.mean()
    square = centred @ centred
    return np.array([centred[lag:] @ centred[:-lag] / square for lag in range(1, lags + 1)])


def _over_time(panel: Panel, dates: NDArray[np.str_]) -> Markup:
    span = (0.0, len(dates) - 1.0)
    return responsive(lambda width: picture([panel], span, date_ticks(dates, width), width))


def _rebasable(close: Vector) -> bool:
    return bool((close > 0.0).all())


def _prices(close: Vector, dates: NDArray[np.str_]) -> Markup:
    """Draw both prices: on a common logarithmic scale, or unchanged if one is not positive."""
    drawn, panel = close, Panel(200.0)
    if _rebasable(close):
        drawn = np.log(100.0 * close / close[0])
        panel = Panel(200.0, ticks=log_ticks(float(drawn.min()), float(drawn.max())))
    panel.line(drawn[:, 0], "first")
    panel.line(drawn[:, 1], "second")
    return _over_time(panel, dates)


def _spread(fit: PairFit, dates: NDArray[np.str_]) -> Markup:
    panel, end = Panel(200.0), fit.bars - 1.0
    mean, deviation = float(fit.spread.mean()), float(fit.spread.std(ddof=1))
    if fit.process is not None:
        mean, deviation = fit.process.mean.value, fit.process.deviation
    for times in (2.0, 1.0):
        low, high = mean - times * deviation, mean + times * deviation
        panel.area(np.full(fit.bars, low), np.full(fit.bars, high), "first faint")
    panel.level(mean, end, "muted thin dash")
    if fit.thresholds is not None:
        for distance in (-fit.thresholds.distance, fit.thresholds.distance):
            panel.level(mean + distance, end, "third thin dash")
    panel.line(fit.spread, "first")
    return _over_time(panel, dates)


def _score(score: Vector, dates: NDArray[np.str_]) -> Markup:
    panel, end = Panel(150.0), len(dates) - 1.0
    panel.include(-2.0, 2.0)
    for level, style in ((0.0, "muted thin"), (2.0, "muted thin dash"), (-2.0, "muted thin dash")):
        panel.level(level, end, style)
    panel.line(score, "first")
    return _over_time(panel, dates)


def _hedge(fit: PairFit, dates: NDArray[np.str_]) -> Markup:
    """Draw the three hedge ratios; the filter's from where its diffuse start is forgotten."""
    ratio, deviation = fit.kalman.hedge_ratio.copy(), fit.kalman.deviation
    start = int(np.argmax(deviation < 4.0 * np.median(deviation)))
    panel = Panel(180.0)
    panel.area(ratio - 2.0 * deviation, ratio + 2.0 * deviation, "second faint", start)
    ratio[:start] = np.nan
    panel.level(fit.least_squares.hedge_ratio, fit.bars - 1.0, "muted dash")
    panel.line(fit.rolling, "first")
    panel.line(ratio, "second")
    return _over_time(panel, dates)


def _memory(series: Vector, process: OrnsteinUhlenbeck | None) -> Markup:
    lags = min(LAGS, len(series) // 4)
    values = autocorrelation(series, lags)
    edges = np.arange(0.5, lags + 1.0)
    panel = Panel(130.0)
    panel.include(-0.1, 0.1)
    panel.columns(edges, values, "first")
    bound = 1.96 / np.sqrt(len(series))
    for level in (-bound, bound):
        panel.level(level, edges[-1], "muted thin dash", edges[0])
    if process is not None:
        at = np.arange(1.0, lags + 1.0)
        panel.curve(at, np.exp(-process.speed.value * at), "second bold")
    span = (float(edges[0]), float(edges[-1]))
    return picture([panel], span, number_ticks(*span, 400.0), 400.0)
