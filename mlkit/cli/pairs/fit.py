"""`mlkit pairs fit`: one pair in depth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, of, plain
from mlkit.cli.pairs.source import NOT_RAW, Levels, PricesFiles, Source, load, with_source
from mlkit.cli.report import ReportOption
from mlkit.pairs.defaults import COST
from mlkit.pairs.settings import TREND, Signal, Trend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from mlkit.pairs.fit.pair import PairFit


@examples(
    "mlkit pairs fit examples/pairs/us_large_caps.csv.gz KO PEP "
    "--start 2015-01-01 --stop 2020-01-01",
    "mlkit pairs fit prices.csv XOM CVX --levels --window 60 --report fit.html",
)
@partial(with_source, without=NOT_RAW)
def fit(
    context: typer.Context,
    prices: PricesFiles,
    reading: Mapping[str, Any],
    y: Annotated[str, typer.Argument(metavar="Y", help="The dependent ticker.")],
    x: Annotated[str, typer.Argument(metavar="X", help="The independent ticker.")],
    levels: Levels = False,
    trend: Annotated[
        Trend,
        typer.Option(
            help=(
                "Deterministic terms of the regression: constant (c), linear trend "
                "(ct), quadratic trend (ctt)."
            )
        ),
    ] = TREND,
    window: Annotated[
        int | None,
        typer.Option(min=3, max=MOST, help="Window of the rolling hedge ratio, in bars."),
    ] = None,
    drift: Annotated[
        float,
        typer.Option(
            help=("State noise variance of the Kalman hedge ratio, per bar, between 0 and 1.")
        ),
    ] = Signal.drift,
    cost: Annotated[
        float,
        typer.Option(
            min=0.0,
            help=("Cost of a round trip for Bertram's thresholds, as a fraction of y's leg."),
        ),
    ] = COST,
    johansen_lags: Annotated[
        int, typer.Option(min=0, max=MOST, help="Number of lagged differences in Johansen's test.")
    ] = 1,
    restricted_constant: Annotated[
        bool,
        typer.Option(
            "--restricted-constant",
            help=(
                "Restrict the constant of Johansen's test to the cointegrating "
                "relations: prices without drift."
            ),
        ),
    ] = False,
    report: ReportOption = None,
    json: Json = False,
) -> None:
    """Fit one pair: hedge ratios, the spread's process, and tests of cointegration."""
    from mlkit.pairs.fit.pair import fit_pair

    universe = load(of(context), Source.of(prices, reading), tickers=[y, x], signed=levels)
    found = fit_pair(
        universe,
        y,
        x,
        levels=levels,
        trend=trend,
        window=window,
        drift=drift,
        cost=cost,
        johansen_lags=johansen_lags,
        restricted_constant=restricted_constant,
    )
    if report is not None:
        from mlkit.pairs.report import fit as page

        options = {
            "scale": "levels" if levels else "log",
            "trend": trend,
            "window": found.window,
            "drift": drift,
            "cost": cost,
            "johansen_lags": johansen_lags,
            "restricted_constant": restricted_constant,
        }
        page.write(report, universe, found, options)
        of(context).wrote(report)
    if json:
        Output.document("pairs.fit", 1, document(found))
    else:
        show(found)


def show(pair: PairFit) -> None:
    """Print the tables."""
    Output.result(_hedge_ratios(pair))
    Output.result(_spread(pair))
    Output.result(_unit_root_tests(pair))
    Output.result(_johansen(pair))
    Output.result(f"screening p (better direction, simulated null): {pair.p_value:.3g}")


def document(pair: PairFit) -> dict[str, Any]:
    """Return the fit as fields of a JSON document; series are given by their last value."""
    fields = asdict(pair)
    fields["spread"] = {"last": float(pair.spread[-1]), "bars": pair.bars}
    fields["rolling"] = {"window": fields.pop("window"), "last": _finite(pair.rolling[-1])}
    fields["kalman"] = {
        "hedge_ratio": float(pair.kalman.hedge_ratio[-1]),
        "deviation": float(pair.kalman.deviation[-1]),
        "intercept": float(pair.kalman.intercept[-1]),
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


def _hedge_ratios(pair: PairFit) -> Table:
    import numpy as np

    line, kalman = pair.least_squares, pair.kalman
    low, high = np.nanmin(pair.rolling), np.nanmax(pair.rolling)
    rows = [
        ["least squares", f"{line.hedge_ratio:.4f}", f"s.e. {line.hedge_ratio_error:.4f}"],
        [f"last {pair.window} bars", f"{pair.rolling[-1]:.4f}", f"{low:.4f} to {high:.4f}"],
        ["Kalman filter", f"{kalman.hedge_ratio[-1]:.4f}", f"s.d. {kalman.deviation[-1]:.4f}"],
    ]
    title = f"{pair.y} on {pair.x}, {pair.bars:,} bars"
    return _table(title, ["hedge ratio", "value", ""], rows)


_UNITS = {
    "half_life": "half-life, bars",
    "speed": "speed, per bar",
    "volatility": "volatility, per root of a bar",
}


def _spread(pair: PairFit) -> Table:
    process = pair.process
    rows = []
    if process is not None:
        for name in ("half_life", "speed", "mean", "volatility"):
            each = getattr(process, name)
            low, high = each.interval()
            cells = f"{each.value:.5g}", f"{each.error:.2g}", f"{low:.4g} to {high:.4g}"
            rows.append([_UNITS.get(name, name), *cells])
        rows.append(["standard deviation", f"{process.deviation:.5g}", "", ""])
    else:
        rows.append(["does not revert", "", "", ""])
    rows.append(["Hurst exponent", f"{pair.hurst:.3f}", "", ""])
    if pair.thresholds is not None:
        best = pair.thresholds
        rows.append(["Bertram: entry, exit (mean -/+)", f"{best.distance:.5g}", "", ""])
        rows.append(["Bertram: return per bar", f"{best.return_rate:.3g}", "", ""])
        rows.append(["Bertram: bars per cycle", f"{best.cycle_time:.4g}", "", ""])
    return _table("spread (Ornstein-Uhlenbeck)", ["", "value", "s.e.", "95 %"], rows)


def _unit_root_tests(pair: PairFit) -> Table:
    tests = [("Engle-Granger", each) for each in pair.engle_granger]
    tests += [("Dickey-Fuller", each) for each in pair.unit_roots]
    rows = [
        [kind, each.name, f"{each.statistic:.3f}", str(each.lags), f"{each.p_value:.3g}"]
        + [f"{value:.2f}" for value in each.critical]
        for kind, each in tests
    ]
    columns = ["test", "series", "statistic", "lags", "p", "1 %", "5 %", "10 %"]
    return _table("unit roots", columns, rows)


def _johansen(pair: PairFit) -> Table:
    rows = [
        [
            f"at most {each.rank}",
            f"{each.eigenvalue:.4f}",
            f"{each.trace:.2f}",
            _five_percent(each.trace_critical),
            f"{each.maximum:.2f}",
            _five_percent(each.maximum_critical),
        ]
        for each in pair.johansen
    ]
    columns = ["relations", "eigenvalue", "trace", "5 %", "maximum eigenvalue", "5 %"]
    return _table("Johansen", columns, rows)


def _five_percent(critical: tuple[float, float, float] | None) -> str:
    return "" if critical is None else f"{critical[1]:.2f}"
