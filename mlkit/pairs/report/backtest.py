"""The report of `mlkit pairs backtest`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlkit.pairs import summary
from mlkit.pairs.backtest import COSTS, REASONS, Backtest
from mlkit.pairs.report import page
from mlkit.pairs.report.drawing import Album, Draw, Ink, Vector, area, date_ticks, line, most_ticks
from mlkit.pairs.report.pair_charts import pair_charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXTREMES = 5
"""Trades that are listed, of the best and of the worst."""


def write(path: Path, result: Backtest, warnings: Sequence[str] = ()) -> None:
    """Write one page about a backtest.

    Args:
        path: The page.
        result: What it shows.
        warnings: What a reader has to know beyond what the result itself tells.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    page.write(path, "backtest.html", context(result, warnings))


def context(result: Backtest, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Give all that the template shows."""
    album = Album()
    document = summary.document(result)
    document["warnings"] = [*warnings, *document["warnings"]]
    charts = pair_charts(album, result)
    places = {(chart.y, chart.x): number for number, chart in enumerate(charts, start=1)}
    for row in document["pairs"]:
        row["chart"] = places[row["y"], row["x"]]
    return {
        **document,
        "universe": _universe(result),
        "settings": result.settings.document(),
        "paid_bps": _paid(document["money"]),
        "costs": cost_steps(document["money"]),
        "months": monthly(result),
        "years": yearly(result),
        "equity": album.responsive(_equity(result), 400, left=58),
        "distributions": _distributions(album, result),
        "extremes": extremes(result),
        "charts": charts,
    }


def _universe(result: Backtest) -> dict[str, Any]:
    prices = result.prices
    return {
        "source": prices.source,
        "sha256": prices.content_hash,
        "tickers": prices.tickers,
        "bars": len(prices),
        "first": str(prices.zoned[0]),
        "last": str(prices.zoned[-1]),
        "repairs": [str(each) for each in prices.repairs],
        "fills": "next open" if prices.open is not None else "next close",
    }


def _paid(money: dict[str, Any]) -> float | None:
    """Give what commission, slippage and spread cost, in basis points of the turnover."""
    costs = sum(money[name] for name in COSTS if name != "borrow")
    return 1e4 * costs / money["turnover"] if money["turnover"] > 0.0 else None


def cost_steps(money: dict[str, Any]) -> list[dict[str, Any]]:
    """Break the change of equity into steps, each from where the one before has ended.

    `start` and `width` are shares of the steps' whole range, for a bar beside each number.
    """
    parts = [("gross result", money["gross_result"])]
    parts += [(name.replace("_", " "), -money[name]) for name in COSTS]
    parts += [(name, money[name]) for name in ("dividends", "interest")]
    ends = np.cumsum([amount for _, amount in parts])
    starts = np.concatenate(([0.0], ends[:-1]))
    parts.append(("change of equity", float(ends[-1])))
    starts, ends = np.append(starts, 0.0), np.append(ends, ends[-1])
    low = min(0.0, float(ends.min()))
    span = (max(0.0, float(ends.max())) - low) or 1.0
    return [
        {
            "name": name,
            "amount": amount,
            "start": (min(start, end) - low) / span,
            "width": abs(end - start) / span,
        }
        for (name, amount), start, end in zip(parts, starts, ends, strict=True)
    ]


def monthly(result: Backtest) -> dict[str, Any]:
    """Give the return of each month that was traded: a row a year, None where there is none."""
    equity = result.equity
    texts = np.asarray(result.prices.zoned[-len(equity) + 1 :]).astype("U7")
    last = np.flatnonzero(np.append(texts[1:] != texts[:-1], True)) + 1
    returns = equity[last] / equity[np.concatenate(([0], last[:-1]))] - 1.0
    years = range(int(texts[0][:4]), int(texts[-1][:4]) + 1)
    cells: dict[int, list[float | None]] = {year: [None] * 12 for year in years}
    for text, each in zip(texts[last - 1], returns, strict=True):
        cells[int(text[:4])][int(text[5:]) - 1] = float(each)
    return {"cells": cells, "most": float(np.quantile(np.abs(returns), 0.95))}


def yearly(result: Backtest) -> dict[int, dict[str, Any]]:
    """Give each calendar year's return, closed trades and their net result."""
    closed = result.prices.zoned[result.trades["closed"]].astype("U4").astype(int)
    net = result.net_results()
    return {
        row["year"]: {
            "return": row["return"],
            "trades": int((closed == row["year"]).sum()),
            "net_result": float(net[closed == row["year"]].sum()),
        }
        for row in summary.by_year(result)
    }


def extremes(result: Backtest) -> list[dict[str, Any]]:
    """List the best and the worst trades, the best first."""
    net, times = result.net_results(), result.prices.zoned
    order = np.argsort(-net, kind="stable")
    if len(order) > 2 * EXTREMES:
        order = np.concatenate([order[:EXTREMES], order[-EXTREMES:]])
    rows = []
    for place in order:
        trade = result.trades[place]
        y, x = result.pair_names(int(trade["pair"]))
        rows.append(
            {
                "y": y,
                "x": x,
                "side": "long" if trade["side"] > 0 else "short",
                "entered": str(times[trade["entered"]]),
                "closed": str(times[trade["closed"]]),
                "bars": int(trade["closed"] - trade["entered"]),
                "reason": REASONS[trade["reason"]],
                "net_result": float(net[place]),
            }
        )
    return rows


def _equity(result: Backtest) -> Draw:
    """Draw equity with and without costs, drawdown, and gross exposure."""
    equity = result.equity
    account = result.account[-len(equity) :]
    before = equity + sum(account["ledger"][name] for name in COSTS)
    dates = result.prices.zoned[-len(equity) :]

    def draw(figure: Figure) -> None:
        top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[4, 1.6, 1.2])
        line(top, before, Ink.SECOND, linewidth=1.0)
        line(top, equity, Ink.FIRST, linewidth=1.4)
        top.yaxis.set_major_formatter("{x:,.0f}")
        below = equity / np.maximum.accumulate(equity) - 1.0
        area(middle, below, np.zeros_like(below), Ink.LOSS, 0.35)
        area(bottom, np.zeros_like(equity), account["gross"] / equity, Ink.MUTED, 0.45)
        for axes in (middle, bottom):
            axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
            axes.locator_params(axis="y", nbins=3)
        middle.margins(y=0.02)
        bottom.set_ylim(0.0)
        for axes in (top, middle):
            axes.tick_params(bottom=False)
        date_ticks(bottom, dates, most_ticks(figure))

    return draw


def _distributions(album: Album, result: Backtest) -> dict[str, Any] | None:
    """Draw how net results and holding times are distributed; None without a trade."""
    net = result.net_results()
    if not len(net):
        return None
    bars = result.trades["closed"] - result.trades["entered"]
    return {
        "net": album.picture(_histogram(net, signed=True), 400, 200),
        "bars": album.picture(_histogram(bars.astype(float), signed=False), 400, 200),
        "mean": float(net.mean()),
        "median": float(np.median(net)),
        "deviation": float(net.std(ddof=1)) if len(net) > 1 else None,
        "median_bars": float(np.median(bars)),
    }


def _histogram(values: Vector, *, signed: bool) -> Draw:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        edges = _edges(values, signed=signed)
        counts, _ = np.histogram(values, edges)
        inks = [Ink.LOSS if signed and left < 0.0 else Ink.FIRST for left in edges[:-1]]
        axes.bar(
            edges[:-1], counts, np.diff(edges), align="edge", color=[ink.value for ink in inks],
            alpha=0.75, edgecolor="none",
        )  # fmt: skip
        axes.axvline(float(values.mean()), color=Ink.TEXT.value, linewidth=1.2, linestyle="--")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.get_major_locator().set_params(integer=True)

    return draw


def _edges(values: Vector, *, signed: bool) -> Vector:
    """Divide a range into up to 40 bins, none of which holds gains and losses."""
    low, high = float(values.min()), float(values.max())
    width = (high - low) / min(40, max(8, int(np.sqrt(len(values)) * 2))) or 1.0
    if not signed:
        low, width = np.floor(low), max(1.0, np.ceil(width))
    first, last = np.floor(low / width), np.floor(high / width) + 1
    return np.asarray(np.arange(first, last + 1) * width)
