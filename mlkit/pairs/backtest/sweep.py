"""Many settings of the rule on the same bars, and how much of the best one is luck."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import UsageError
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.backtest import replay
from mlkit.pairs.backtest.calendar import infer_bars_per_year
from mlkit.pairs.backtest.metrics import FLAT, Deflated, average_correlation, deflate
from mlkit.pairs.backtest.replay import Backtest, require_countable
from mlkit.pairs.cluster import Cluster, in_order
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.settings import Rule, Settings
from mlkit.pairs.windows import Window

Matrix = NDArray[np.float64]
Configuration = tuple[Rule, int]

LARGEST = 1_000_000
"""Configurations that one sweep takes at most."""
LARGEST_CURVES = 100_000_000
"""Values of equity curves that a sweep over windows keeps in memory at most (0.8 GB)."""
SCORE = np.dtype(
    [(name, float) for name in ("equity", "sharpe", "drawdown", "turnover")] + [("trades", int)]
)


@dataclass(frozen=True)
class Grid:
    """The values that are combined; combinations without exit < entry < stop are left out.

    Attributes:
        entry: Entry thresholds.
        exit: Exit thresholds.
        stop: Stop thresholds.
        lookback: Bars of the z-score; none for a z-score that has no lookback.
    """

    entry: tuple[float, ...]
    exit: tuple[float, ...]
    stop: tuple[float, ...]
    lookback: tuple[int, ...] = ()

    def configurations(self, max_bars: int = 0) -> list[Configuration]:
        """List the rules with the bars of their z-score (0 if it has none).

        Raises:
            UsageError: None is left, or there are too many.
        """
        lookbacks = self.lookback or (0,)
        sizes = [len(each) for each in (self.entry, self.exit, self.stop, lookbacks)]
        if np.prod(sizes, dtype=float) > LARGEST:
            raise UsageError(f"{np.prod(sizes, dtype=float):.0f} combinations: {LARGEST} at most")
        combined = itertools.product(self.entry, self.exit, self.stop, lookbacks)
        kept = [
            (Rule(entry, leave, stop, max_bars), lookback)
            for entry, leave, stop, lookback in combined
            if leave < entry < stop
        ]
        if not kept:
            raise UsageError("no combination has exit < entry < stop")
        return kept


@dataclass(frozen=True, eq=False)
class WalkForward:
    """What choosing on one window and trading in the next would have earned.

    Attributes:
        chosen: For each window after the first the position of the configuration that had the
            highest Sharpe ratio in the window before it; None, and no trade, while none of
            them has traded.
        promised: The Sharpe ratio a bar that it had there; NaN where `chosen` is None or was
            kept because the window before saw no trade.
        backtest: The backtest of the windows after the first, each with its chosen rule.
    """

    chosen: Sequence[int | None]
    promised: Matrix
    backtest: Backtest


@dataclass(frozen=True, eq=False)
class Sweep:
    """The scores of a grid.

    Attributes:
        prices: What was replayed.
        settings: All that the grid does not vary.
        windows: The windows with their fitted pairs.
        grid: The values that were combined.
        configurations: The rules, and the bars of their z-scores (0 if they have none).
        scores: A structured array, an item a configuration: `equity` at the end, `sharpe` (a
            bar, of returns in excess of cash, not annualised; 0 if nothing was traded),
            `drawdown` (share of the peak), `turnover` (money) and `trades`.
        best: The position of the one with the highest Sharpe ratio.
        deflated: Its Sharpe ratio after the number of trials.
        first: The first bar that all of them were scored on.
        bars_per_year: Bars per year.
        walk: What choosing window by window would have earned, if that was asked for.
    """

    prices: Prices
    settings: Settings
    windows: Sequence[Window]
    grid: Grid
    configurations: Sequence[Configuration]
    scores: NDArray[np.void]
    best: int
    deflated: Deflated
    first: int
    bars_per_year: float
    walk: WalkForward | None = None

    @property
    def bars(self) -> int:
        """Bars that all configurations were scored on."""
        return len(self.prices) - self.first


def sweep(
    prices: Prices,
    windows: Sequence[Window],
    settings: Settings,
    grid: Grid,
    *,
    threads: int = 1,
    trials: int = 0,
    walk_forward: bool = False,
    cluster: Cluster | None = None,
) -> Sweep:
    """Score every configuration of a grid on the same bars.

    The engine's arithmetic is used: a configuration's equity equals that of its backtest.

    Args:
        prices: Bars.
        windows: From `windows.plan`, with settings whose lookback is the grid's longest.
        settings: All that the grid does not vary.
        grid: What is varied.
        threads: Threads; the results do not depend on their number.
        trials: Configurations that were tried before, elsewhere.
        walk_forward: Choose on each window, and trade the choice in the next.
        cluster: Machines that score configurations on windows; the bits are the same. One pair in
            one window is scored here, a million configurations in seconds.

    Raises:
        UsageError: The grid is empty or too large, it varies a lookback that the z-score does
            not have, or there are no two windows to walk through.
        BadData: A configuration lost the account.
    """
    if bool(grid.lookback) != (settings.signal.zscore == "lookback"):
        raise UsageError(f"the z-score '{settings.signal.zscore}' has no lookback to vary")
    if walk_forward and len(windows) < 2:
        raise UsageError(
            "walking forward chooses on one window and trades in the next: there is one window",
            hint="--formation 252 --trading 126",
        )
    configurations = grid.configurations(settings.rule.max_bars)
    require_countable(prices, settings)
    bars_per_year = settings.bars_per_year or infer_bars_per_year(prices, settings.formation)
    job = _Job(prices, windows, settings, configurations, bars_per_year, threads)
    if job.is_one_pair:
        outcome = job.on_one_pair(trials)
    else:
        outcome = job.on_windows(trials, walk_forward, cluster)
    scores, best, deflated, walk = outcome
    return Sweep(
        prices, settings, windows, grid, configurations,
        scores, best, deflated, job.first, bars_per_year, walk,
    )  # fmt: skip


PORTIONS = 8
"""Portions of a sweep for each worker, so that none waits long for the last one."""

Curve = tuple[Matrix, float, int]
Outcome = tuple[NDArray[np.void], int, Deflated, WalkForward | None]


@dataclass(frozen=True, eq=False)
class _Job:
    prices: Prices
    windows: Sequence[Window]
    settings: Settings
    configurations: Sequence[Configuration]
    bars_per_year: float
    threads: int

    @property
    def first(self) -> int:
        return min(window.start for window in self.windows)

    @property
    def is_one_pair(self) -> bool:
        """Whether the kernel can take it: one pair in one window, with a price at each bar."""
        pairs = [(pair.y, pair.x) for window in self.windows for pair in window.pairs]
        if len(self.windows) != 1 or len(pairs) != 1:
            return False
        return not np.isnan(self.prices.select(pairs[0]).close).any()

    @property
    def rate(self) -> float:
        """Interest a bar."""
        return self.settings.cash_rate / self.bars_per_year

    def excess(self, equity: Matrix) -> Matrix:
        """Return returns in excess of cash from equity, along the last axis."""
        return np.asarray(np.diff(equity, axis=-1) / equity[..., :-1] - self.rate)

    def native(self, rule: Rule) -> native.Settings:
        return replace(self.settings, rule=rule).native(self.bars_per_year)

    def on_one_pair(self, trials: int) -> Outcome:
        """Score all configurations in the kernel, which keeps no curves."""
        pair = self.windows[0].pairs[0]
        prices = self.prices.select((pair.y, pair.x))
        arrays: dict[str, Any] = {
            "closes": prices.close.T,
            "opens": None if prices.open is None else prices.open.T,
            "dividends": None if prices.dividends is None else prices.dividends.T,
            "trade": self.first,
        }
        lookbacks = sorted({lookback for _, lookback in self.configurations})
        signals = [pair.with_lookback(n).signal if n else pair.signal for n in lookbacks]
        rows = [
            (rule.entry, rule.exit, rule.stop, lookbacks.index(lookback))
            for rule, lookback in self.configurations
        ]
        scores, correlation = native.sweep(
            **arrays, signals=signals, grid=np.array(rows, dtype=float),
            settings=self.native(self.configurations[0][0]), threads=self.threads,
        )  # fmt: skip
        # The one whose account was lost, if there is any, else the best.
        worst = int(np.argmax(scores["drawdown"]))
        best = int(np.argmax(scores["sharpe"]))
        for number in (worst, best):
            rule, lookback = self.configurations[number]
            equity = native.equity(
                **arrays, signal=signals[lookbacks.index(lookback)], settings=self.native(rule)
            )
            replay.require_equity(self.prices, equity)
        deflated = deflate(self.excess(equity), scores["sharpe"], correlation, trials)
        return scores, best, deflated, None

    def on_windows(self, trials: int, walk_forward: bool, cluster: Cluster | None) -> Outcome:
        """Run the engine once for each configuration, on all windows."""
        size = len(self.configurations) * (len(self.prices) - self.first + 1)
        if size > LARGEST_CURVES:
            raise UsageError(
                f"{len(self.configurations)} configurations on {len(self.prices)} bars: too many",
                hint="take a coarser grid, or a shorter period with --start and --stop",
            )
        found = self.runs_here() if cluster is None else self.runs_on(cluster)
        equity = np.array([curve for curve, _, _ in found])
        returns = self.excess(equity)
        scores = np.zeros(len(found), SCORE)
        scores["equity"], scores["sharpe"] = equity[:, -1], sharpes(returns)
        scores["drawdown"] = np.max(1.0 - equity / np.maximum.accumulate(equity, axis=1), axis=1)
        scores["turnover"] = [turnover for _, turnover, _ in found]
        scores["trades"] = [trades for _, _, trades in found]
        best = int(np.argmax(scores["sharpe"]))
        deflated = deflate(returns[best], scores["sharpe"], average_correlation(returns), trials)
        walk = self.walk_forward(returns) if walk_forward else None
        return scores, best, deflated, walk

    def runs_here(self) -> list[Curve]:
        from concurrent.futures import ThreadPoolExecutor

        _ = self.plans  # once, before the threads
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.run, self.configurations))

    def runs_on(self, cluster: Cluster) -> list[Curve]:
        """Score the configurations in portions, some for each worker: a bar takes little time."""
        size = max(1, len(self.configurations) // (PORTIONS * cluster.workers))
        places = range(0, len(self.configurations), size)
        portions = [self.configurations[place : place + size] for place in places]
        common = self.prices, self.windows, self.settings, self.bars_per_year
        return [each for some in in_order(cluster.work(_runs, common, portions)) for each in some]

    def run(self, configuration: Configuration) -> Curve:
        """Return a configuration's equity, its turnover, and the number of its trades."""
        rule, lookback = configuration
        engine = native.Engine(len(self.prices.tickers), self.native(rule))
        replay.replay(engine, self.prices, self.plans[lookback])
        engine.finish()
        trades = engine.trades()
        equity = engine.rows()["equity"][max(self.first - 1, 0) :]
        replay.require_equity(self.prices, equity)
        return equity.copy(), float(trades["turnover"].sum()), len(trades)

    @cached_property
    def plans(self) -> dict[int, list[Any]]:
        """The pairs of all windows in the engine's form, for each lookback."""
        return {
            lookback: replay.plan(self.prices, self.with_lookback(lookback))
            for lookback in {lookback for _, lookback in self.configurations}
        }

    def with_lookback(self, lookback: int) -> Sequence[Window]:
        if not lookback:
            return self.windows
        return [
            replace(each, pairs=tuple(pair.with_lookback(lookback) for pair in each.pairs))
            for each in self.windows
        ]

    def walk_forward(self, returns: Matrix) -> WalkForward:
        """Choose by the returns of each window, and trade the next one."""
        chosen: list[int | None] = []
        promised, choice = np.full(len(self.windows) - 1, np.nan), None
        for number, window in enumerate(self.windows[:-1]):
            seen = sharpes(returns[:, window.start - self.first : window.stop - self.first])
            if seen.any():
                choice = int(np.argmax(seen))
                promised[number] = seen[choice]
            chosen.append(choice)
        traded = [
            self.with_choice(window, choice)
            for window, choice in zip(self.windows[1:], chosen, strict=True)
        ]
        return WalkForward(chosen, promised, replay.run(self.prices, traded, self.settings))

    def with_choice(self, window: Window, choice: int | None) -> Window:
        if choice is None:
            return replace(window, pairs=())
        rule, lookback = self.configurations[choice]
        pairs = [pair.with_lookback(lookback) if lookback else pair for pair in window.pairs]
        return replace(window, pairs=tuple(pairs), rule=rule)


def _runs(
    prices: Prices,
    windows: Sequence[Window],
    settings: Settings,
    bars_per_year: float,
    configurations: Sequence[Configuration],
) -> list[Curve]:
    job = _Job(prices, windows, settings, configurations, bars_per_year, threads=1)
    return [job.run(each) for each in configurations]


def sharpes(returns: Matrix) -> Matrix:
    """Return the Sharpe ratio a bar of each row; 0 where the returns do not vary."""
    deviation = returns.std(axis=1, ddof=1)
    moves = deviation > FLAT
    return np.where(moves, returns.mean(axis=1) / np.where(moves, deviation, 1.0), 0.0)
