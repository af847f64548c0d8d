"""The report of `mlkit pairs backtest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from mlkit.drawing import (
    Panel,
    Vector,
    date_ticks,
    number_ticks,
    picture,
    responsive,
    shares,
)
from mlkit.pairs.backtest import summary
from mlkit.pairs.backtest.replay import COSTS, REASONS, Backtest
from mlkit.pairs.report import page
from mlkit.pairs.report.pair_charts import pair_charts
from mlkit.pairs.strategy.file import reference

EXTREMES = 5
"""Trades that are listed, of the best and of the worst."""


def write(path: Path, result: Backtest, statement: dict[str, Any] | None = None) -> None:
    """Write one page about a backtest.

    Args:
        path: Where to.
        result: The backtest.
        statement: What to say of the last day of a live run, whose replay the backtest is.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    page.write(path, "backtest.html", context(result) | {"statement": statement})


def context(result: Backtest) -> dict[str, Any]:
    """Return all that the template shows."""
    document = summary.document(result)
    charts = pair_charts(result)
    places = {(chart.y, chart.x): number for number, chart in enumerate(charts, start=1)}
    for row in document["pairs"]:
        row["chart"] = places[row["y"], row["x"]]
    return {
        **document,
        "universe": page.universe(result.prices),
        "fills": "next open" if result.prices.open is not None else "next close",
        "settings": result.settings.document(),
        "strategy": result.strategy and reference(result.strategy),
        "paid_bps": _compute_cost(document["money"]),
        "costs": cost_steps(document["money"]),
        "months": monthly(result),
        "years": yearly(result),
        "equity": equity_picture(result),
        "distributions": _distributions(result),
        "extremes": extremes(result),
        "charts": charts,
    }


def _compute_cost(money: dict[str, Any]) -> float | None:
    """Return what commission, slippage and spread cost, in basis points of the turnover."""
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
    """Return the return of each month traded: one row per year, None where there is none."""
    equity = result.equity
    texts = np.asarray(result.prices.zoned[-len(equity) + 1 :]).astype("U7")
    last = np.flatnonzero(np.append(texts[1:] != texts[:-1], True)) + 1
    returns = equity[last] / equity[np.concatenate(([0], last[:-1]))] - 1.0
    years = range(int(texts[0][:4]), int(texts[-1][:4]) + 1)
    cells: dict[int, list[float | None]] = {year: [None] * 12 for year in years}
    for text, each in zip(texts[last - 1], returns, strict=True):
        cells[int(text[:4])][int(text[5:]) - 1] = float(each)
    moved = np.abs(returns[returns != 0.0])
    return {"cells": cells, "most": float(np.quantile(moved, 0.95)) if len(moved) else 0.0}


def yearly(result: Backtest) -> dict[int, dict[str, Any]]:
    """Return each calendar year's return, closed trades and their net result."""
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


def equity_picture(result: Backtest) -> Markup:
    """Draw equity with and without costs, drawdown, and gross exposure."""
    equity = result.equity
    account = result.account[-len(equity) :]
    before = equity + sum(account["ledger"][name] for name in COSTS)
    top = Panel(230.0)
    top.line(before, "second")
    top.line(equity, "first bold")
    middle = Panel(80.0, most=3, form=shares)
    below = equity / np.maximum.accumulate(equity) - 1.0
    middle.area(below, np.zeros_like(below), "loss")
    bottom = Panel(60.0, most=3, form=shares)
    bottom.area(np.zeros_like(equity), account["gross"] / equity, "muted")
    dates = result.prices.zoned[-len(equity) :]
    span = (0.0, len(equity) - 1.0)
    return responsive(
        lambda width: picture(
            [top, middle, bottom], span, date_ticks(dates, width), width, left=58.0
        )
    )


def _distributions(result: Backtest) -> dict[str, Any] | None:
    """Draw how net results and holding times are distributed; None without a trade."""
    net = result.net_results()
    if not len(net):
        return None
    bars = (result.trades["closed"] - result.trades["entered"]).astype(float)
    return {
        "net": _histogram(net, _edges(net)),
        "bars": _histogram(bars, _whole_edges(bars)),
        "mean": float(net.mean()),
        "median": float(np.median(net)),
        "deviation": float(net.std(ddof=1)) if len(net) > 1 else None,
        "median_bars": float(np.median(bars)),
    }


def _histogram(values: Vector, edges: Vector) -> Markup:
    counts = np.histogram(values, edges)[0].astype(float)
    panel = Panel(150.0, most=4, step=1.0)
    losses = edges[:-1] < 0.0
    for style, kept in (("loss", losses), ("first", ~losses)):
        panel.columns(edges, np.where(kept, counts, 0.0), style)
    panel.rules(np.array([values.mean()]), "ink dash")
    low, high = float(edges[0]), float(edges[-1])
    return picture([panel], (low, high), number_ticks(low, high, 400.0), 400.0)


def _edges(values: Vector) -> Vector:
    """Divide a range into up to 40 bins, none of which holds gains and losses."""
    low, high = float(values.min()), float(values.max())
    width = (high - low) / histogram_bins(values) or 1.0
    return _steps(low, high, width)


def _whole_edges(values: Vector) -> Vector:
    """Divide a range of counts into up to 40 bins that begin at whole numbers."""
    low, high = float(values.min()), float(values.max())
    return _steps(low, high, max(1.0, np.ceil((high - low) / histogram_bins(values))))


def histogram_bins(values: Vector) -> int:
    """Return a number of bins that suits this number of values."""
    return min(40, max(8, int(2.0 * np.sqrt(len(values)))))


def _steps(low: float, high: float, width: float) -> Vector:
    return np.arange(np.floor(low / width), np.floor(high / width) + 2) * width
