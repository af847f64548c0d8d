"""How `mlkit pairs fit` shows a fitted pair."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mlkit.cli.output import Output, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from mlkit.pairs.fit.pair import PairFit


def show(fit: PairFit) -> None:
    """Print the tables."""
    Output.result(_hedge_ratios(fit))
    Output.result(_spread(fit))
    Output.result(_unit_root_tests(fit))
    Output.result(_johansen(fit))
    Output.result(f"screening p (better direction, simulated null): {fit.p_value:.3g}")


def document(fit: PairFit) -> dict[str, Any]:
    """Return the fit as fields of a JSON document; series are given by their last value."""
    fields = asdict(fit)
    fields["spread"] = {"last": float(fit.spread[-1]), "bars": fit.bars}
    fields["rolling"] = {"window": fields.pop("window"), "last": _finite(fit.rolling[-1])}
    fields["kalman"] = {
        "hedge_ratio": float(fit.kalman.hedge_ratio[-1]),
        "deviation": float(fit.kalman.deviation[-1]),
        "intercept": float(fit.kalman.intercept[-1]),
    }
    return fields


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    from rich.table import Table

    first, *rest = columns
    table = Table(title=plain(title), title_justify="left")
    table.add_column(first)
    for name in rest:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*map(plain, row))
    return table


def _hedge_ratios(fit: PairFit) -> Table:
    import numpy as np

    line, kalman = fit.least_squares, fit.kalman
    low, high = np.nanmin(fit.rolling), np.nanmax(fit.rolling)
    rows = [
        ["least squares", f"{line.hedge_ratio:.4f}", f"s.e. {line.hedge_ratio_error:.4f}"],
        [f"last {fit.window} bars", f"{fit.rolling[-1]:.4f}", f"{low:.4f} to {high:.4f}"],
        ["Kalman filter", f"{kalman.hedge_ratio[-1]:.4f}", f"s.d. {kalman.deviation[-1]:.4f}"],
    ]
    title = f"{fit.y} on {fit.x}, {fit.bars} bars"
    return _table(title, ["hedge ratio", "value", ""], rows)


def _spread(fit: PairFit) -> Table:
    process = fit.process
    rows = []
    if process is not None:
        for name in ("half_life", "speed", "mean", "volatility"):
            each = getattr(process, name)
            low, high = each.interval()
            cells = f"{each.value:.5g}", f"{each.error:.2g}", f"{low:.4g} to {high:.4g}"
            rows.append([name.replace("_", "-"), *cells])
        rows.append(["standard deviation", f"{process.deviation:.5g}", "", ""])
    else:
        rows.append(["does not revert", "", "", ""])
    rows.append(["Hurst exponent", f"{fit.hurst:.3f}", "", ""])
    if fit.thresholds is not None:
        best = fit.thresholds
        rows.append(["Bertram: entry and exit at mean -/+", f"{best.distance:.5g}", "", ""])
        rows.append(["Bertram: return per bar", f"{best.return_rate:.3g}", "", ""])
        rows.append(["Bertram: bars per cycle", f"{best.cycle_time:.4g}", "", ""])
    return _table("spread (Ornstein-Uhlenbeck)", ["", "value", "s.e.", "95 %"], rows)


def _unit_root_tests(fit: PairFit) -> Table:
    tests = [("Engle-Granger", each) for each in fit.engle_granger]
    tests += [("Dickey-Fuller", each) for each in fit.unit_roots]
    rows = [
        [kind, each.name, f"{each.statistic:.3f}", str(each.lags), f"{each.p_value:.3g}"]
        + [f"{value:.3f}" for value in each.critical]
        for kind, each in tests
    ]
    columns = ["test", "series", "statistic", "lags", "p", "1 %", "5 %", "10 %"]
    return _table("unit roots", columns, rows)


def _johansen(fit: PairFit) -> Table:
    rows = [
        [
            f"at most {each.rank}",
            f"{each.eigenvalue:.4f}",
            f"{each.trace:.2f}",
            _five_percent(each.trace_critical),
            f"{each.maximum:.2f}",
            _five_percent(each.maximum_critical),
        ]
        for each in fit.johansen
    ]
    columns = ["relations", "eigenvalue", "trace", "5 %", "maximum eigenvalue", "5 %"]
    return _table("Johansen", columns, rows)


def _five_percent(critical: tuple[float, float, float] | None) -> str:
    return "" if critical is None else f"{critical[1]:.2f}"
