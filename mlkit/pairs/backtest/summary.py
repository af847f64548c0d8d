"""The numbers of a backtest that its tables and its JSON document show."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from mlkit.pairs.backtest.replay import COSTS, REASONS, Backtest
from mlkit.pairs.windows import Window


def document(result: Backtest) -> dict[str, Any]:
    """Return all numbers of a backtest as JSON values."""
    return {
        "period": _period(result),
        "performance": asdict(result.performance),
        "trading": trading(result),
        "money": money(result),
        "pairs": by_pair(result),
        "years": by_year(result),
        "windows": windows(result),
        "warnings": warnings(result),
    }


def _period(result: Backtest) -> dict[str, Any]:
    times = result.prices.zoned
    return {
        "first": str(times[result.first]),
        "last": str(times[-1]),
        "bars": len(times) - result.first,
        "bars_per_year": result.bars_per_year,
    }


def trading(result: Backtest) -> dict[str, Any]:
    """Count and rate the trades; turnover is money traded per year over the mean equity."""
    net = result.net_results()
    account = result.account[result.first :]
    years = len(account) / result.bars_per_year
    lost = -float(net[net < 0.0].sum())
    bars = result.trades["closed"] - result.trades["entered"]
    reasons = np.bincount(result.trades["reason"], minlength=len(REASONS))
    traded = float(result.trades["turnover"].sum())
    return {
        "trades": len(net),
        "refused_entries": int((result.choices["accepted"] == 0).sum()),
        "win_rate": float((net > 0.0).mean()) if len(net) else None,
        "profit_factor": float(net[net > 0.0].sum()) / lost if lost > 0.0 else None,
        "average_bars": float(bars.mean()) if len(net) else None,
        "turnover": traded / years / float(account["equity"].mean()),
        "exposure": float((account["gross"] / account["equity"]).mean()),
        "reasons": {name: int(n) for name, n in zip(REASONS, reasons, strict=True) if n},
    }


def money(result: Backtest) -> dict[str, Any]:
    """Break the change of equity down; the break-even cost is in basis points of turnover.

    It is what commission, slippage and spread together may cost before nothing is left of the
    trades' gross result, after borrow fees and dividends and without interest.
    """
    ledger = result.account["ledger"][-1]
    gross = float(result.results().sum())
    traded = float(result.trades["turnover"].sum())
    costs = {name: float(ledger[name]) for name in COSTS}
    dividends = float(ledger["dividends"])
    before = gross - costs["borrow"] + dividends
    return {
        "capital": result.settings.sizing.capital,
        "gross_result": gross,
        **costs,
        "dividends": dividends,
        "interest": float(result.account["interest"][-1]),
        "equity": float(result.account["equity"][-1]),
        "turnover": traded,
        "break_even_bps": 1e4 * before / traded if traded > 0.0 else None,
    }


def by_pair(result: Backtest) -> list[dict[str, Any]]:
    """Sum the results of each pair of tickers, the best first."""
    groups: dict[tuple[str, str], list[float]] = {}
    for number, net in zip(result.trades["pair"], result.net_results(), strict=True):
        groups.setdefault(result.pair_names(int(number)), []).append(float(net))
    rows = [
        {
            "y": y, "x": x, "trades": len(each),
            "win_rate": sum(net > 0.0 for net in each) / len(each), "net_result": sum(each),
        }
        for (y, x), each in sorted(groups.items())
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row["net_result"])


def by_year(result: Backtest) -> list[dict[str, Any]]:
    """Return the return of each calendar year of the traded period."""
    equity = result.equity
    years = np.array([text[:4] for text in result.prices.zoned[-len(equity) + 1 :]])
    ends = [np.flatnonzero(years == year)[-1] + 1 for year in np.unique(years)]
    starts = [0, *ends[:-1]]
    return [
        {"year": int(year), "return": float(equity[end] / equity[start] - 1.0)}
        for year, start, end in zip(np.unique(years), starts, ends, strict=True)
    ]


def windows(result: Backtest) -> dict[str, Any]:
    """Count the windows, and those in which no pair passed and only cash was held."""
    counts = np.array([len(window.pairs) for window in result.windows])
    return {
        "windows": len(counts),
        "without_pairs": int((counts == 0).sum()),
        "pairs": int(counts.sum()),
        "tested": sum(window.tested for window in result.windows),
        "skipped": [reason for window in result.windows for reason in window.skipped],
        "each": [_window(result, window) for window in result.windows],
    }


def _window(result: Backtest, window: Window) -> dict[str, Any]:
    times = result.prices.zoned
    return {
        "formed": str(times[window.formation]),
        "first": str(times[window.start]),
        "last": str(times[min(window.stop, len(times)) - 1]),
        "tested": window.tested,
        "pairs": [{"y": pair.y, "x": pair.x, "hedge_ratio": pair.beta} for pair in window.pairs],
    }


def warnings(result: Backtest) -> list[str]:
    """List what a reader of the numbers has to know."""
    said = [warning for window in result.windows for warning in window.warnings]
    empty = windows(result)["without_pairs"]
    if empty:
        said.append(f"{empty} of {len(result.windows)} windows had no pair and held cash")
    if result.settings.same_bar:
        said.append("filled at the close of the decision, which nobody can do")
    if any(window.formation == window.start for window in result.windows):
        said.append("a pair trades on the bars that it was fitted on")
    return said
