"""Many settings of the rule on one pair, and how much of the best one is luck."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.backtest import infer_bars_per_year
from mlkit.pairs.formation import Formation, fit
from mlkit.pairs.metrics import Deflated, deflate
from mlkit.pairs.prices import Prices
from mlkit.pairs.settings import Rule, Settings
from mlkit.pairs.windows import complete

LARGEST = 100_000
"""Configurations that one sweep takes at most: their equity curves are kept in memory."""


@dataclass(frozen=True)
class Grid:
    """The values that are combined; combinations with exit >= entry are left out.

    Attributes:
        entry: Entry thresholds.
        exit: Exit thresholds.
        stop: Stop thresholds.
        lookback: Bars of the z-score.
    """

    entry: tuple[float, ...]
    exit: tuple[float, ...]
    stop: tuple[float, ...]
    lookback: tuple[int, ...]

    def configurations(self, max_bars: int = 0) -> list[tuple[Rule, int]]:
        """List the rules with the position of their lookback.

        Raises:
            UsageError: None is left, or there are too many.
        """
        combined = itertools.product(self.entry, self.exit, self.stop, range(len(self.lookback)))
        kept = [
            (Rule(entry, leave, stop, max_bars), row)
            for entry, leave, stop, row in combined
            if leave < entry < stop
        ]
        if not kept:
            raise UsageError("no combination has exit < entry < stop")
        if len(kept) > LARGEST:
            raise UsageError(f"{len(kept)} combinations: at most {LARGEST} fit a sweep")
        return kept


@dataclass(frozen=True, eq=False)
class Sweep:
    """The scores of a grid.

    Attributes:
        pair: The pair, as its formation period fitted it.
        configurations: The rules, and the bars of their z-scores.
        scores: For each of them final equity, Sharpe ratio a bar, drawdown, turnover, trades.
        best: The position of the one with the highest Sharpe ratio.
        deflated: Its Sharpe ratio after the number of trials.
        bars: Bars that all of them were scored on.
        bars_per_year: What a year is.
    """

    pair: Formation
    configurations: Sequence[tuple[Rule, int]]
    scores: NDArray[np.void]
    best: int
    deflated: Deflated
    bars: int
    bars_per_year: float


def sweep(
    prices: Prices, y: str, x: str, settings: Settings, grid: Grid,
    *, threads: int = 1, trials: int = 0,
) -> Sweep:  # fmt: skip
    """Score every configuration of a grid on the bars after the formation period.

    The pair is fitted once, on `settings.formation` bars that are not scored. The engine's
    arithmetic is used: a configuration's equity equals that of its backtest.

    Args:
        prices: Bars.
        y: First ticker.
        x: Second ticker.
        settings: All that the grid does not vary.
        grid: What is varied.
        threads: Threads.
        trials: Configurations that were tried before, elsewhere.

    Raises:
        UsageError: The signal has no lookback, or the grid is empty.
        BadData: The pair has missing prices, or too few.
    """
    if settings.signal.zscore != "lookback":
        raise UsageError("a sweep varies the lookback z-score", hint="drop --zscore and --hedge")
    if settings.trading or settings.carry:
        raise UsageError("a sweep has one window: --trading and --carry do not apply")
    pair = prices.select((y, x))
    start = settings.formation
    if len(pair) < start + 3 or complete(pair).tickers != (y, x):
        raise BadData(
            f"{prices.source}: {y}/{x}: a sweep needs {start + 3} bars with both prices",
            hint="shorten --formation, or cut the file with --start and --stop",
        )
    configurations = grid.configurations(settings.rule.max_bars)
    formations = [_formation(pair, settings, lookback) for lookback in grid.lookback]
    bars_per_year = settings.bars_per_year or infer_bars_per_year(prices, start)
    equity = np.empty((len(configurations), len(pair) - start + 1))
    scores = _scores(pair, settings, configurations, formations, bars_per_year, threads, equity)
    best = int(np.argmax(scores["sharpe"]))
    returns = np.diff(equity, axis=1) / equity[:, :-1]
    return Sweep(
        pair=formations[0],
        configurations=[(rule, grid.lookback[row]) for rule, row in configurations],
        scores=scores,
        best=best,
        deflated=deflate(returns[best], scores["sharpe"], returns, trials),
        bars=len(pair) - start,
        bars_per_year=bars_per_year,
    )


def _formation(pair: Prices, settings: Settings, lookback: int) -> Formation:
    y, x = pair.close[: settings.formation].T
    signal = replace(settings.signal, lookback=lookback)
    return fit(y, x, (pair.tickers[0], pair.tickers[1]), signal)


def _scores(
    pair: Prices,
    settings: Settings,
    configurations: Sequence[tuple[Rule, int]],
    formations: Sequence[Formation],
    bars_per_year: float,
    threads: int,
    equity: NDArray[np.float64],
) -> NDArray[np.void]:
    """Compute the features of each lookback once, then score the configurations on them."""
    y, x = np.ascontiguousarray(pair.close.T)
    features = [native.features(y, x, each.signal) for each in formations]
    rows = [None if each is None else each.T for each in (pair.open, pair.dividends)]
    return native.sweep(
        closes=pair.close.T,
        opens=rows[0],
        dividends=rows[1],
        z=np.array([z for _, _, z in features]),
        beta=np.array([beta for beta, _, _ in features]),
        trade=settings.formation,
        rules=[native.Rule(**asdict(rule)) for rule, _ in configurations],
        rows=[row for _, row in configurations],
        settings=settings.native(bars_per_year),
        threads=threads,
        equity=equity,
    )
