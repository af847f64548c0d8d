"""The report of `mlkit pairs sweep`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from mlkit.pairs.prices import Prices
from mlkit.pairs.report import page
from mlkit.pairs.report.drawing import Panel, Vector, number_ticks, picture, responsive
from mlkit.pairs.settings import Settings
from mlkit.pairs.sweep import Sweep

MOST = 10
"""Configurations that are listed, the best first."""


def write(path: Path, prices: Prices, settings: Settings, result: Sweep) -> None:
    """Write one page about a sweep.

    Args:
        path: The page.
        prices: What was traded.
        settings: All that the grid did not vary.
        result: What it shows.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    page.write(path, "sweep.html", context(prices, settings, result))


def context(prices: Prices, settings: Settings, result: Sweep) -> dict[str, Any]:
    """Give all that the template shows."""
    year = math.sqrt(result.bars_per_year)
    sharpes = result.scores["sharpe"] * year
    order = np.argsort(-sharpes, kind="stable")[:MOST]
    return {
        "result": result,
        "rows": [_row(result, int(place), year) for place in order],
        "grids": _grids(result, sharpes),
        "most": float(np.abs(sharpes).max()),
        "share_positive": float((sharpes > 0.0).mean()),
        "benchmark": result.deflated.benchmark * year,
        "adjusted_benchmark": result.deflated.adjusted_benchmark * year,
        "histogram": _histogram(sharpes, result.deflated.benchmark * year),
        "universe": page.universe(prices),
        "settings": _fixed(settings),
    }


def _row(result: Sweep, place: int, year: float) -> dict[str, Any]:
    rule, lookback = result.configurations[place]
    score = result.scores[place]
    return {
        "entry": rule.entry,
        "exit": rule.exit,
        "stop": rule.stop if math.isfinite(rule.stop) else None,
        "lookback": lookback,
        "sharpe": float(score["sharpe"]) * year,
        "drawdown": float(score["drawdown"]),
        "turnover": float(score["turnover"]),
        "trades": int(score["trades"]),
        "equity": float(score["equity"]),
    }


def _grids(result: Sweep, sharpes: Vector) -> list[dict[str, Any]]:
    """Give a table of Sharpe ratios for each lookback and stop: entries down, exits across."""
    cells: dict[tuple[int, float], dict[tuple[float, float], int]] = {}
    for place, (rule, lookback) in enumerate(result.configurations):
        cells.setdefault((lookback, rule.stop), {})[rule.entry, rule.exit] = place
    exits = sorted({rule.exit for rule, _ in result.configurations})
    return [
        {
            "lookback": lookback,
            "stop": stop if math.isfinite(stop) else None,
            "exits": exits,
            "rows": {
                entry: [_cell(places.get((entry, leave)), sharpes, result.best) for leave in exits]
                for entry in sorted({entry for entry, _ in places})
            },
        }
        for (lookback, stop), places in sorted(cells.items())
    ]


def _cell(place: int | None, sharpes: Vector, best: int) -> dict[str, Any] | None:
    return None if place is None else {"sharpe": float(sharpes[place]), "best": place == best}


def _histogram(sharpes: Vector, benchmark: float) -> Markup:
    """Draw how the Sharpe ratios are distributed, and where the best of as much luck lies."""
    low = min(float(sharpes.min()), 0.0)
    high = max(float(sharpes.max()), benchmark)
    edges = np.linspace(low, high + 1e-9 + 0.02 * (high - low), 41)
    panel = Panel(140.0, most=4)
    panel.columns(edges, np.histogram(sharpes, edges)[0].astype(float), "first")
    panel.rules(np.array([benchmark]), "second bold")
    panel.rules(np.array([sharpes.max()]), "ink dash")
    span = (float(edges[0]), float(edges[-1]))
    return responsive(lambda width: picture([panel], span, number_ticks(*span, width), width))


def _fixed(settings: Settings) -> dict[str, Any]:
    """Leave out what the grid varies and what a sweep does not use."""
    document = settings.document()
    for name in ("entry", "exit", "stop"):
        del document["rule"][name]
    for name in ("lookback", "zscore", "hedge", "hedge_window", "drift"):
        del document["signal"][name]
    return {
        name: part
        for name, part in document.items()
        if name not in ("selection", "trading", "carry", "limits")
    }
