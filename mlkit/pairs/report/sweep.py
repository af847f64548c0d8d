"""The report of `mlkit pairs sweep`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from mlkit.drawing import Panel, Vector, number_ticks, picture, responsive
from mlkit.pairs.backtest.sweep import Configuration, Sweep, WalkForward
from mlkit.pairs.report import page
from mlkit.pairs.report.backtest import equity_picture, histogram_bins
from mlkit.pairs.settings import Settings

MOST = 10
"""Configurations that are listed, the best first."""


def write(path: Path, result: Sweep) -> None:
    """Write one page about a sweep.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    page.write(path, "sweep.html", context(result))


def context(result: Sweep) -> dict[str, Any]:
    """Return all that the template shows."""
    year = math.sqrt(result.bars_per_year)
    sharpes = result.scores["sharpe"] * year
    order = np.argsort(-sharpes, kind="stable")[:MOST]
    pairs = [pair for window in result.windows for pair in window.pairs]
    return {
        "result": result,
        "pairs": pairs,
        "first": str(result.prices.zoned[result.first]),
        "last": str(result.prices.zoned[-1]),
        "warnings": [each for window in result.windows for each in window.warnings],
        "rows": [_row(result, int(place), year) for place in order],
        "grids": grids(result, sharpes),
        "most": float(np.abs(sharpes).max()),
        "share_positive": float((sharpes > 0.0).mean()),
        "benchmark": result.deflated.benchmark * year,
        "adjusted_benchmark": result.deflated.adjusted_benchmark * year,
        "histogram": _histogram(sharpes, result.deflated.benchmark * year),
        "walk": None if result.walk is None else _walk(result, result.walk, year),
        "universe": page.universe(result.prices),
        "settings": _select_fixed(result.settings),
    }


def _row(result: Sweep, place: int, year: float) -> dict[str, Any]:
    score = result.scores[place]
    return {
        **_thresholds(result.configurations[place]),
        "sharpe": float(score["sharpe"]) * year,
        "drawdown": float(score["drawdown"]),
        "trades": int(score["trades"]),
        "equity": float(score["equity"]),
    }


def _thresholds(configuration: Configuration) -> dict[str, Any]:
    rule, lookback = configuration
    stop = rule.stop if math.isfinite(rule.stop) else None
    return {"entry": rule.entry, "exit": rule.exit, "stop": stop, "lookback": lookback or None}


def grids(result: Sweep, sharpes: Vector) -> list[dict[str, Any]]:
    """Return a table of Sharpe ratios for each lookback and stop: entries down, exits across."""
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
    low, high = min(float(sharpes.min()), 0.0), max(float(sharpes.max()), benchmark)
    edges = np.linspace(low, high + 0.02 * (high - low) + 1e-9, histogram_bins(sharpes) + 1)
    panel = Panel(140.0, most=4, step=1.0)
    panel.columns(edges, np.histogram(sharpes, edges)[0].astype(float), "first")
    panel.rules(np.array([benchmark]), "second bold")
    panel.rules(np.array([sharpes.max()]), "ink dash")
    span = (float(edges[0]), float(edges[-1]))
    return responsive(lambda width: picture([panel], span, number_ticks(*span, width), width))


def _walk(result: Sweep, walk: WalkForward, year: float) -> dict[str, Any]:
    """Return what each window's best promised, and what it earned in the window after it."""
    account, times = walk.backtest.account["equity"], result.prices.zoned
    windows = [
        {
            "first": str(times[window.start]),
            "pairs": len(window.pairs),
            "promised": float(promised) * year,
            "return": float(account[min(window.stop, len(account)) - 1] / account[window.start - 1])
            - 1.0,
            "chosen": None if chosen is None else _thresholds(result.configurations[chosen]),
        }
        for window, chosen, promised in zip(
            result.windows[1:], walk.chosen, walk.promised, strict=True
        )
    ]
    known = walk.promised[np.isfinite(walk.promised)]
    return {
        "windows": windows,
        "promised": float(known.mean()) * year if len(known) else None,
        "performance": walk.backtest.performance,
        "trades": len(walk.backtest.trades),
        "equity": equity_picture(walk.backtest),
    }


def _select_fixed(settings: Settings) -> dict[str, Any]:
    """Leave out what the grid varies."""
    document = settings.document()
    for name in ("entry", "exit", "stop"):
        del document["rule"][name]
    del document["signal"]["lookback"]
    return document
