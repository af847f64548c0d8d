"""Each traded pair's spread and z-score, with its entries and exits."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.backtest import Backtest
from mlkit.pairs.report.drawing import Album, Draw, Ink, Vector, date_ticks, line
from mlkit.pairs.settings import Rule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Stretch:
    """A pair in one of its windows.

    Attributes:
        first: The bar of the prices that the stretch begins at.
        spread: At each close, shape (bars,).
        z: Its z-score, shape (bars,).
        trades: The trades of the pair in this window.
    """

    first: int
    spread: Vector
    z: Vector
    trades: NDArray[np.void]


@dataclass(frozen=True)
class PairChart:
    """A picture and what stands beside it."""

    y: str
    x: str
    windows: int
    betas: tuple[float, float]
    trades: int
    net_result: float
    picture: Markup


def pair_charts(album: Album, result: Backtest) -> list[PairChart]:
    """Draw each pair that was traded, the best first; its windows stand side by side."""
    by_name: dict[tuple[str, str], list[int]] = defaultdict(list)
    traded = set(result.trades["pair"].tolist())
    for number in range(len(result.numbers)):
        by_name[result.pair_names(number)].append(number)
    net = result.net_results()
    charts = [
        _chart(album, result, names, numbers, net)
        for names, numbers in by_name.items()
        if traded & set(numbers)
    ]
    return sorted(charts, key=lambda chart: -chart.net_result)


def _chart(
    album: Album, result: Backtest, names: tuple[str, str], numbers: list[int], net: Vector
) -> PairChart:
    mine = np.isin(result.trades["pair"], numbers)
    betas = [result.windows[w].pairs[place].beta for w, place in map(result.numbers.__getitem__, numbers)]
    stretches = [_stretch(result, number) for number in numbers]
    draw = _spread_and_score(stretches, result.prices.zoned, result.settings.rule)
    return PairChart(
        *names,
        windows=len(numbers),
        betas=(min(betas), max(betas)),
        trades=int(mine.sum()),
        net_result=float(net[mine].sum()),
        picture=album.picture(draw, 400, 230, left=40),
    )


def _stretch(result: Backtest, number: int) -> Stretch:
    """Compute what the engine saw of a pair, from its window's start to its last bar."""
    index, place = result.numbers[number]
    window = result.windows[index]
    pair = window.pairs[place]
    trades = result.trades[result.trades["pair"] == number]
    stop = max(min(window.stop, len(result.prices)), trades["closed"].max(initial=-1) + 1)
    columns = [result.prices.tickers.index(name) for name in (pair.y, pair.x)]
    closes = result.prices.close[window.formation : stop, columns]
    closes = closes[: int(np.flatnonzero(~np.isnan(closes).any(axis=1))[-1]) + 1]
    warm = window.start - window.formation
    begin = 0 if pair.signal.warms_up else warm
    y, x = np.ascontiguousarray(closes[begin:].T)
    _, spread, z = native.features(y, x, pair.signal)
    return Stretch(window.start, spread[warm - begin :], z[warm - begin :], trades)


def _spread_and_score(stretches: list[Stretch], dates: NDArray[np.str_], rule: Rule) -> Draw:
    gap = 0 if len(stretches) == 1 else max(1, sum(len(each.z) for each in stretches) // 150)
    offsets = np.cumsum([0, *(len(each.z) + gap for each in stretches)])

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
        blank = np.full(gap, np.nan)
        for axes, name in ((upper, "spread"), (lower, "z")):
            joined = np.concatenate([np.append(getattr(each, name), blank) for each in stretches])
            _trades(axes, stretches, offsets, name)
            line(axes, joined, Ink.FIRST, linewidth=0.8)
            axes.locator_params(axis="y", nbins=5)
        _thresholds(lower, rule)
        upper.tick_params(bottom=False)
        if len(stretches) == 1:
            first = stretches[0].first
            date_ticks(lower, dates[first : first + len(stretches[0].z)], 5)
        else:
            _window_ticks((upper, lower), stretches, offsets, dates)

    return draw


def _thresholds(axes: Axes, rule: Rule) -> None:
    for level, style in ((rule.entry, "--"), (rule.exit, ":"), (rule.stop, "-.")):
        if math.isfinite(level):
            for each in {level, -level}:
                axes.axhline(each, color=Ink.MUTED.value, linewidth=0.8, linestyle=style)


def _trades(axes: Axes, stretches: list[Stretch], offsets: NDArray[np.intp], name: str) -> None:
    """Tint the bars that a position was held, and mark its fills."""
    for side, ink, marker in ((1, Ink.GAIN, "^"), (-1, Ink.LOSS, "v")):
        entries, exits = [], []
        for stretch, offset in zip(stretches, offsets[:-1], strict=True):
            mine = stretch.trades[stretch.trades["side"] == side]
            values = getattr(stretch, name)
            for places, field in ((entries, "entered"), (exits, "closed")):
                bars = np.minimum(mine[field] - stretch.first, len(values) - 1)
                places.append(np.array([bars + offset, values[bars]]))
        (start, at), (end, left) = np.hstack(entries), np.hstack(exits)
        spans = np.column_stack([start, end - start])
        axes.broken_barh(
            spans.tolist(), (0, 1), transform=axes.get_xaxis_transform(), color=ink.value, alpha=0.18
        )
        style = {"linestyle": "", "color": ink.value, "markeredgewidth": 0.0, "zorder": 3}
        axes.plot(start, at, marker=marker, markersize=5.5, **style)
        axes.plot(end, left, marker="o", markersize=3.5, **style)


def _window_ticks(
    panels: tuple[Axes, Axes],
    stretches: list[Stretch],
    offsets: NDArray[np.intp],
    dates: NDArray[np.str_],
) -> None:
    step = math.ceil(len(stretches) / 5)
    labels = [str(dates[each.first])[:7] for each in stretches[::step]]
    panels[1].set_xticks(offsets[:-1:step], labels, ha="left")
    for axes in panels:
        for offset in offsets[:-1]:
            axes.axvline(offset, color=Ink.GRID.value, linewidth=0.8)
