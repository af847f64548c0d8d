"""Each traded pair's spread and z-score, with its entries and exits."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from mlkit.drawing import Panel, Ticks, Vector, date_ticks, picture, responsive
from mlkit.pairs import _pair_strategy as native
from mlkit.pairs.backtest.replay import Backtest
from mlkit.pairs.report import page
from mlkit.pairs.settings import Rule


@dataclass(frozen=True, eq=False)
class Stretch:
    """A pair in one of its windows.

    Attributes:
        first: The bar of the prices that the stretch begins at.
        spread: At each close, shape (bars,).
        z: Its z-score, shape (bars,).
        trades: The trades of the pair in this window.
        rule: Its thresholds.
    """

    first: int
    spread: Vector
    z: Vector
    trades: NDArray[np.void]
    rule: Rule


@dataclass(frozen=True)
class PairChart:
    """A picture and what is shown beside it."""

    y: str
    x: str
    windows: int
    betas: tuple[float, float]
    trades: int
    net_result: float
    broad: bool
    picture: Markup


def pair_charts(result: Backtest) -> list[PairChart]:
    """Draw each pair that was traded, the best first; its windows stand side by side."""
    by_name: dict[tuple[str, str], list[int]] = defaultdict(list)
    traded = set(result.trades["pair"].tolist())
    for number in range(len(result.numbers)):
        by_name[result.pair_names(number)].append(number)
    net, dates = result.net_results(), result.prices.zoned
    charts = [
        _chart(result, names, numbers, net, dates)
        for names, numbers in by_name.items()
        if traded & set(numbers)
    ]
    return sorted(charts, key=lambda chart: -chart.net_result)


def _chart(
    result: Backtest,
    names: tuple[str, str],
    numbers: list[int],
    net: Vector,
    dates: NDArray[np.str_],
) -> PairChart:
    mine = np.isin(result.trades["pair"], numbers)
    places = [result.numbers[number] for number in numbers]
    betas = [result.windows[window].pairs[place].beta for window, place in places]
    stretches = [_stretch(result, number) for number in numbers]
    return PairChart(
        *names,
        windows=len(numbers),
        betas=(min(betas), max(betas)),
        trades=int(mine.sum()),
        net_result=float(net[mine].sum()),
        broad=len(numbers) > CROWDED,
        picture=_spread_and_score(stretches, dates),
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
    warm_up = min(pair.warm_up_bars, window.start - window.formation)
    y, x = np.ascontiguousarray(closes[window.start - window.formation - warm_up :].T)
    _, spread, z = native.features(y, x, pair.signal)
    rule = window.rule or result.settings.rule
    return Stretch(window.start, spread[warm_up:], z[warm_up:], trades, rule)


CARD = 400.0
"""Width of a picture shown beside another, in points."""

CROWDED = 12
"""Windows of a pair above which its picture takes the page's whole width."""


def _spread_and_score(stretches: list[Stretch], dates: NDArray[np.str_]) -> Markup:
    gap = 0 if len(stretches) == 1 else max(1, sum(len(each.z) for each in stretches) // 150)
    offsets = np.cumsum([0, *(len(each.z) + gap for each in stretches)])

    def draw(width: float) -> Markup:
        panels = _panels(stretches, offsets, gap, buckets=int(0.42 * width))
        ticks = _ticks(stretches, offsets, dates, width)
        return picture(panels, (0.0, float(offsets[-1] - gap)), ticks, width)

    return responsive(draw) if len(stretches) > CROWDED else draw(CARD)


def _panels(
    stretches: list[Stretch], offsets: NDArray[np.intp], gap: int, buckets: int
) -> list[Panel]:
    """Draw the spread above its z-score."""
    panels = []
    for name, height in (("spread", 100.0), ("z", 84.0)):
        panel = Panel(height, most=5)
        panel.rules(np.asarray(offsets[1:-1] - gap / 2.0, dtype=float), "rule")
        _tint(panel, stretches, offsets)
        joined = [np.append(getattr(each, name), np.full(gap, np.nan)) for each in stretches]
        panel.line(np.concatenate(joined), "first thin", buckets)
        _mark(panel, stretches, offsets, name)
        panels.append(panel)
    _thresholds(panels[1], stretches, offsets)
    return panels


def _thresholds(panel: Panel, stretches: list[Stretch], offsets: NDArray[np.intp]) -> None:
    """Draw entry, exit and stop, of each window if their rules differ."""
    ends = [
        float(offset) + len(each.z) - 1.0
        for each, offset in zip(stretches, offsets[:-1], strict=True)
    ]
    if len({each.rule for each in stretches}) == 1:
        stretches, offsets, ends = stretches[:1], offsets[:2], ends[-1:]
    for stretch, start, end in zip(stretches, offsets[:-1], ends, strict=True):
        rule = stretch.rule
        for level, style in ((rule.entry, "dash"), (rule.exit, "dot"), (rule.stop, "dash-dot")):
            for each in {level, -level} if math.isfinite(level) else ():
                panel.level(each, end, "muted thin " + style, float(start))


SIDES = ((1, "gain", "up"), (-1, "loss", "down"))
"""Side of a trade, its colour, its mark."""


def _tint(panel: Panel, stretches: list[Stretch], offsets: NDArray[np.intp]) -> None:
    """Tint the bars that a position was held."""
    for side, style, _ in SIDES:
        starts, _ = _fills(stretches, offsets, side, "entered", "z")
        ends, _ = _fills(stretches, offsets, side, "closed", "z")
        panel.bands(starts, ends, style + " faint")


def _mark(panel: Panel, stretches: list[Stretch], offsets: NDArray[np.intp], name: str) -> None:
    """Mark the bars at which entries and exits filled."""
    for side, style, shape in SIDES:
        for field, mark in (("entered", shape), ("closed", "dot")):
            bars, values = _fills(stretches, offsets, side, field, name)
            known = np.isfinite(values)
            panel.marks(bars[known], values[known], mark, style)


def _fills(
    stretches: list[Stretch], offsets: NDArray[np.intp], side: int, field: str, name: str
) -> tuple[Vector, Vector]:
    """Return the places of one side's fills on the x axis, and the curve's values there."""
    places, values = [], []
    for stretch, offset in zip(stretches, offsets[:-1], strict=True):
        mine = stretch.trades[stretch.trades["side"] == side]
        curve = getattr(stretch, name)
        bars = np.minimum(mine[field] - stretch.first, len(curve) - 1)
        places.append(bars + float(offset))
        values.append(curve[bars])
    return np.concatenate(places), np.concatenate(values)


def _ticks(
    stretches: list[Stretch],
    offsets: NDArray[np.intp],
    dates: NDArray[np.str_],
    width: float,
) -> Ticks:
    if len(stretches) == 1:
        first = stretches[0].first
        return date_ticks(dates[first : first + len(stretches[0].z)], width)
    step = math.ceil(len(stretches) / (width / 80.0))
    starts = [str(dates[each.first]) for each in stretches[::step]]
    labels = [page.moment(text)[:7] for text in starts]
    if len(set(labels)) < len(labels):
        labels = [page.moment(text)[:10] for text in starts]
    return list(zip(offsets[:-1:step].astype(float).tolist(), labels, strict=True))
