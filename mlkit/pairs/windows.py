"""Formation and trading windows: what trades when, fitted on earlier bars only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData, UsageError
from mlkit.pairs.cluster import Cluster, in_order
from mlkit.pairs.fit.formation import Formation, build_formation, fit, warm_up
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen.criteria import Criteria, Filters
from mlkit.pairs.screen.screening import screen
from mlkit.pairs.settings import Rule, Settings
from mlkit.progress import Progress, silent

END = 2**62
"""The stop of a window that trades to the end of the data, wherever that is."""


@dataclass(frozen=True)
class GivenPair:
    """A pair that the user names; with a `beta` it needs no formation period.

    Attributes:
        y: First ticker.
        x: Second ticker.
        beta: Hedge ratio.
        screened_from: First bar on which the pair was screened, in ISO 8601, if that is known.
        screened_to: The last one.
    """

    y: str
    x: str
    beta: float | None = None
    screened_from: str | None = None
    screened_to: str | None = None


@dataclass(frozen=True)
class Window:
    """Pairs that trade over bars [start, stop), fitted on bars [formation, start).

    Attributes:
        formation: First bar of the formation period.
        start: First bar that is traded.
        stop: The bar after the last one; it may lie beyond the data.
        pairs: The pairs, with what the formation period fixed.
        tested: How many pairs were examined.
        skipped: Chosen pairs that could not be fitted, and why.
        rule: Thresholds of this window; None for those of the settings.
        warnings: What a reader of the results has to know about the choice of the pairs.
    """

    formation: int
    start: int
    stop: int
    pairs: tuple[Formation, ...]
    tested: int
    skipped: tuple[str, ...] = field(default=())
    rule: Rule | None = None
    warnings: tuple[str, ...] = ()


Select = Callable[[Prices, Settings], tuple[list[GivenPair], int]]
"""Chooses pairs from a formation period, best first, and counts those it examined.

A pair comes with its hedge ratio where least squares might contradict the choice.
"""


def plan(
    prices: Prices,
    pairs: Sequence[GivenPair],
    settings: Settings,
    progress: Progress = silent,
    cluster: Cluster | None = None,
) -> list[Window]:
    """Plan a backtest: given pairs once, given pairs window by window, or screened ones.

    Args:
        prices: Bars.
        pairs: Pairs that the user names; none for the screen.
        settings: With a trading period, windows roll and everything is fitted again in each.
        progress: Called for each window.
        cluster: Machines that select and fit windows that roll; the bits are the same.

    Raises:
        UsageError: There is nothing to trade, or see `given` and `rolling`.
        BadData: See `given` and `rolling`.
    """
    if settings.trading == 0:
        if not pairs:
            hint = "--pair KO,PEP, --pairs FILE, or --formation 252 --trading 126"
            raise UsageError("nothing to trade", hint=hint)
        planned = given(prices, pairs, settings)
    else:
        for pair in pairs:
            _require_tickers(prices, pair)
        select = by_name(pairs) if pairs else by_screen
        planned = rolling(prices, settings, select, progress, cluster)
    warnings = (*_hindsight(prices, pairs, planned), *_near_zero(prices, planned))
    return [replace(planned[0], warnings=warnings), *planned[1:]]


def _hindsight(
    prices: Prices, pairs: Sequence[GivenPair], planned: Sequence[Window]
) -> tuple[str, ...]:
    """Warn of pairs that were screened on bars on which they are traded."""
    starts: dict[tuple[str, str], int] = {}
    for window in planned:
        for each in window.pairs:
            starts.setdefault((each.y, each.x), window.start)
    seen = [
        pair
        for pair in pairs
        if pair.screened_to is not None
        and prices.count_until(pair.screened_to) > starts.get((pair.y, pair.x), len(prices))
    ]
    if not seen:
        return ()
    first = seen[0]
    warning = (
        f"{len(seen)} of {len(pairs)} pairs are traded on bars on which they were screened "
        f"({first.y}/{first.x}: screened up to {first.screened_to}): a result that nobody could "
        "have had; --formation with --trading screens on earlier bars only"
    )
    return (warning,)


def _near_zero(prices: Prices, planned: Sequence[Window]) -> tuple[str, ...]:
    """Warn of traded prices that are not positive: near zero, the same money is many shares."""
    traded = {name for window in planned for pair in window.pairs for name in pair.names}
    found = prices.select(sorted(traded))
    bars = (found.close[planned[0].start :] <= 0.0).sum(axis=0)
    return tuple(
        f"{found.tickers[n]}: {bars[n]} closes are zero or negative: sizes and costs go by the "
        "price's size, and a position that is entered near zero has many shares"
        for n in np.flatnonzero(bars)
    )


def _require_tickers(prices: Prices, pair: GivenPair) -> None:
    if pair.y == pair.x:
        raise UsageError(f"{pair.y}/{pair.x}: a pair needs two different tickers")
    prices.select((pair.y, pair.x))


def by_name(pairs: Sequence[GivenPair]) -> Select:
    """Choose the named pairs wherever both tickers have every bar.

    Raises:
        UsageError: A pair carries its beta, which rolling windows would fit again.
    """
    for pair in pairs:
        if pair.beta is not None:
            raise UsageError(
                f"{pair.y}/{pair.x}: a pair that carries its beta is not fitted in windows",
                hint="drop --trading, or refit the pairs with --refit",
            )

    def select(period: Prices, settings: Settings) -> tuple[list[GivenPair], int]:
        here = [pair for pair in pairs if {pair.y, pair.x} <= set(period.tickers)]
        return here, len(here)

    return select


def given(prices: Prices, pairs: Iterable[GivenPair], settings: Settings) -> list[Window]:
    """Plan pairs that the user names, each from its first common bar on.

    A pair that carries its beta trades as soon as its signal has warmed up; any other is
    fitted on `settings.formation` bars that are not traded.

    Raises:
        UsageError: No pair, an unknown ticker, or a pair without beta and formation period.
        BadData: The prices end before the first traded bar.
    """
    planned = [given_window(prices, pair, settings) for pair in pairs]
    if not planned:
        raise UsageError("no pair is given", hint="name one: --pair KO,PEP")
    return sorted(planned, key=lambda window: window.start)


def require_signal(pair: GivenPair, settings: Settings) -> None:
    """Refuse a pair that carries its beta where the z-score needs a formation period.

    Raises:
        UsageError: See above.
    """
    if pair.beta is not None and settings.signal.zscore != "lookback":
        raise UsageError(
            f"{pair.y}/{pair.x}: a pair that carries its beta has only the lookback z-score",
            hint="drop the beta, and the pair is fitted on --formation bars",
        )


def given_window(prices: Prices, pair: GivenPair, settings: Settings, least: int = 2) -> Window:
    """Plan one pair that the user names; see `given`.

    Args:
        prices: Bars.
        pair: The pair.
        settings: How it trades.
        least: Bars that have to be left after its formation period.

    Raises:
        UsageError: See `given`.
        BadData: See `given`.
    """
    names = (pair.y, pair.x)
    place = "/".join(names)
    _require_tickers(prices, pair)
    require_signal(pair, settings)
    closes = prices.select(names).close
    together = np.flatnonzero(~np.isnan(closes).any(axis=1))
    length = formation_bars(pair, settings)
    start = int(together[length - 1]) + 1 if len(together) >= max(length, 1) else len(closes)
    if start + least > len(closes):
        raise BadData(
            f"{prices.source}: {place}: {len(together)} common bars, and the formation "
            f"period takes {length}",
            hint="shorten --formation, or take a longer file",
        )
    formation = formation_of(pair, closes[together[:length]], settings)
    return Window(int(together[0]), start, END, (formation,), 1)


def formation_bars(pair: GivenPair, settings: Settings) -> int:
    """Count the common bars that a given pair needs before it trades, at least one."""
    return max(settings.formation if pair.beta is None else warm_up(settings.signal), 1)


def formation_of(pair: GivenPair, closes: NDArray[np.float64], settings: Settings) -> Formation:
    """Return what fixes a given pair: its beta, or a fit on its formation period.

    Args:
        pair: The pair.
        closes: Of y and x at their first common bars, shape (bars, 2).
        settings: How it trades.

    Raises:
        BadData: See `fit`.
        UsageError: See `fit`.
    """
    names = (pair.y, pair.x)
    if pair.beta is None:
        return fit(closes[:, 0], closes[:, 1], names, settings.signal)
    return build_formation(names, settings.signal, alpha=0.0, beta=pair.beta)


def rolling(
    prices: Prices,
    settings: Settings,
    select: Select,
    progress: Progress = silent,
    cluster: Cluster | None = None,
) -> list[Window]:
    """Plan windows of `trading` bars, each selected and fitted on the bars before it.

    Raises:
        UsageError: A period is missing.
        BadData: The prices are shorter than one formation period and two bars.
    """
    formation, trading = settings.formation, settings.trading
    if formation < 1 or trading < 1:
        raise UsageError("walking forward needs --formation and --trading bars")
    if len(prices) < formation + 2:
        raise BadData(
            f"{prices.source}: {len(prices)} bars, and the first window needs {formation + 2}",
            hint="shorten --formation, or take a longer file",
        )
    starts = range(formation, len(prices), trading)
    if cluster is not None:
        return in_order(cluster.work(_window, (prices, settings, select), starts, progress))
    windows = []
    for done, start in enumerate(starts):
        progress(done, len(starts))
        windows.append(_window(prices, settings, select, start))
    return windows


def _window(prices: Prices, settings: Settings, select: Select, start: int) -> Window:
    first = start - settings.formation
    return window_after(prices.window(first, start), settings, select, start)


def window_after(period: Prices, settings: Settings, select: Select, start: int) -> Window:
    """Select and fit the pairs of a window on the bars before it.

    Args:
        period: The bars of its formation period.
        settings: How pairs are chosen and traded.
        select: Chooses them.
        start: The window's first bar, as numbered in the whole data.
    """
    period = complete(period)
    chosen, tested = select(period, settings) if len(period.tickers) > 1 else ([], 0)
    fitted, skipped = [], []
    for pair in chosen:
        names = (pair.y, pair.x)
        y, x = period.select(names).close.T
        try:
            fitted.append(fit(y, x, names, settings.signal, pair.beta))
        except BadData as error:
            skipped.append(error.message)
    stop = start + settings.trading
    first = start - settings.formation
    return Window(first, start, stop, tuple(fitted), tested, tuple(skipped))


def complete(period: Prices) -> Prices:
    """Keep the tickers that have every bar of a formation period, and move in it."""
    whole = ~np.isnan(period.close).any(axis=0)
    moving = np.zeros_like(whole)
    moving[whole] = np.ptp(period.close[:, whole], axis=0) > 0.0
    return period.select(np.asarray(period.tickers)[moving].tolist())


def by_screen(period: Prices, settings: Settings) -> tuple[list[GivenPair], int]:
    """Choose pairs by the screen, according to `settings.selection`.

    The sign of a correlation is that of returns, and prices that trend may be regressed to
    the other one; so correlated pairs keep the screen's hedge ratio.
    """
    chosen = settings.selection
    criteria = Criteria(
        method=chosen.method,
        scale="log" if settings.signal.log else "levels",
        fdr=chosen.fdr,
        alpha=chosen.alpha,
        top=chosen.top,
        filters=Filters(
            min_correlation=chosen.min_correlation or None,
            groups=dict(chosen.groups) or None,
            min_price=chosen.min_price or None,
            half_life=(chosen.min_half_life, chosen.max_half_life),
            max_hurst=None if math.isinf(chosen.max_hurst) else chosen.max_hurst,
        ),
    )
    found = screen(period, criteria)
    keeps = chosen.method == "correlation"
    pairs = [GivenPair(each.y, each.x, each.hedge_ratio if keeps else None) for each in found.pairs]
    return pairs, found.tested
