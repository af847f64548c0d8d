"""`mlkit pairs screen`: rank the pairs of a universe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, MOST_THREADS, Json
from mlkit.cli.output import Output, of, plain
from mlkit.cli.pairs.cluster import ClusterOption, spread_over
from mlkit.cli.pairs.source import NOT_RAW, Levels, PricesFiles, Source, load, with_source
from mlkit.pairs.settings import FDR, PRIOR, TREND, Method, Prior, Selection, Trend

if TYPE_CHECKING:
    from rich.table import Table

    from mlkit.pairs.prices.prices import Prices
    from mlkit.pairs.screen.criteria import Criteria, Filters
    from mlkit.pairs.screen.power import Power
    from mlkit.pairs.screen.screening import Pair, Screen


@examples(
    "mlkit pairs screen examples/pairs/us_large_caps.csv.gz --start 2015-01-01 -o pairs.csv",
    "mlkit pairs screen prices.parquet --method distance --groups sectors.csv --top 20 --json",
)
@partial(with_source, without=NOT_RAW)
def screen(
    context: typer.Context,
    prices: PricesFiles,
    reading: Mapping[str, Any],
    tickers: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Keep only these tickers.")
    ] = None,
    levels: Levels = False,
    method: Annotated[Method, typer.Option(help="How pairs are ranked.")] = Selection.method,
    trend: Annotated[
        Trend,
        typer.Option(
            help=(
                "Deterministic terms of the regression: constant (c), linear trend "
                "(ct), quadratic trend (ctt)."
            )
        ),
    ] = TREND,
    lags: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST,
            help=("Number of lagged differences in the test (default: chosen by AIC)."),
        ),
    ] = None,
    fdr: Annotated[
        FDR,
        typer.Option(
            help=("False discovery control: Benjamini-Yekutieli, Benjamini-Hochberg, or none.")
        ),
    ] = Selection.fdr,
    alpha: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Accepted false discovery rate.")
    ] = Selection.alpha,
    prior: Annotated[
        Prior,
        typer.Option(
            help=(
                "What pairs are weighted by before the tests: the correlation of their "
                "price changes, or groups."
            )
        ),
    ] = PRIOR,
    keep_stationary: Annotated[
        bool,
        typer.Option("--keep-stationary", help="Keep tickers that have no unit root themselves."),
    ] = False,
    top: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Maximum number of pairs to return.")
    ] = None,
    min_half_life: Annotated[
        float, typer.Option(help="Minimum half-life of the spread, in bars.")
    ] = 0.0,
    max_half_life: Annotated[
        float | None,
        typer.Option(help=("Maximum half-life of the spread, in bars (default: no limit).")),
    ] = None,
    max_hurst: Annotated[
        float | None,
        typer.Option(help=("Upper bound of the spread's Hurst exponent (default: no limit).")),
    ] = None,
    min_correlation: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Minimum absolute correlation of returns."),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=("CSV file with the columns ticker,group; only pairs within a group count."),
        ),
    ] = None,
    min_price: Annotated[float | None, typer.Option(help="Minimum close in the window.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="Number of threads (default: one per core)."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help=("Directory of checkpoints, from which the same screen resumes.")
        ),
    ] = None,
    cluster: ClusterOption = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="CSV file to write the pairs to."),
    ] = None,
    json: Json = False,
) -> None:
    """Rank all pairs of a universe, and keep those that pass false discovery control."""
    from mlkit.pairs.screen import screening
    from mlkit.pairs.screen.criteria import Criteria
    from mlkit.pairs.screen.pair_files import write_pairs

    out = of(context)
    half_life = _range(min_half_life, max_half_life)
    chosen = tickers.split(",") if tickers else None
    # Distances are relative to the first price, and correlations are those of log returns.
    signed = levels and method == "cointegration" and min_correlation is None
    universe = load(out, Source.of(prices, reading), tickers=chosen, signed=signed)
    criteria = Criteria(
        method=method,
        scale="levels" if levels else "log",
        trend=trend,
        lags=lags,
        fdr=fdr,
        alpha=alpha,
        prior=prior,
        keep_stationary=keep_stationary,
        top=top,
        filters=_filters(half_life, max_hurst, min_correlation, groups, min_price),
    )
    with spread_over(out, cluster) as machines, out.progress("screening") as progress:
        found = screening.screen(
            universe,
            criteria,
            threads=threads or _cores(),
            checkpoint=checkpoint,
            cluster=machines,
            progress=progress,
        )
    if output is not None:
        period = str(universe.zoned[0]), str(universe.zoned[-1])
        write_pairs(found.pairs, output, period)
        out.wrote(output)
    if json:
        Output.document("pairs.screen", 1, _document(found, universe))
    elif output != "-":
        _show(out, found, universe)


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0))


def _filters(
    half_life: tuple[float, float],
    max_hurst: float | None,
    min_correlation: float | None,
    groups: Path | None,
    min_price: float | None,
) -> Filters:
    from mlkit.pairs.screen.criteria import Filters
    from mlkit.pairs.screen.pair_files import read_groups

    return Filters(
        min_correlation=min_correlation,
        groups=None if groups is None else read_groups(groups),
        min_price=min_price,
        half_life=half_life,
        max_hurst=max_hurst,
    )


def _range(low: float, high: float | None) -> tuple[float, float]:
    from mlkit.errors import UsageError

    bounds = low, float("inf") if high is None else high
    if not 0.0 <= bounds[0] <= bounds[1]:
        raise UsageError(f"--min-half-life {low:g} and --max-half-life {bounds[1]:g}: no range")
    return bounds


def _document(found: Screen, prices: Prices) -> dict[str, object]:
    from dataclasses import asdict

    from mlkit.pairs.screen.pair_files import record

    criteria = asdict(found.criteria)
    low, high = found.criteria.filters.half_life
    criteria["filters"]["half_life"] = [low, None if high == float("inf") else high]
    return {
        "source": prices.source,
        "content_hash": prices.content_hash,
        "repairs": [asdict(each) for each in prices.repairs],
        "notes": list(prices.notes),
        "currency": prices.currency,
        "window": [str(prices.zoned[0]), str(prices.zoned[-1])],
        "bars": found.bars,
        "criteria": criteria,
        "tickers": found.tickers,
        "left_out": found.left_out,
        "considered": found.considered,
        "filtered": found.filtered,
        "near_collinear": [list(each) for each in found.near_collinear],
        "tested": found.tested,
        "best_adjusted_p": found.best_adjusted_p,
        "power": [asdict(each) for each in _power(found)],
        "pairs": [record(pair) | {"hedges_little": pair.hedges_little} for pair in found.pairs],
    }


def _show(out: Output, found: Screen, prices: Prices) -> None:
    for ticker, reason in found.left_out.items():
        out.note(f"note: {ticker} left out: {reason}")
    for y, x in found.near_collinear:
        out.note(f"note: {y} and {x} are one series but for rounding: not tested")
    for pair in found.pairs:
        if pair.hedges_little:
            out.note(
                f"note: {pair.y}/{pair.x}: the hedge ratio is near 0: {pair.x} explains "
                f"{pair.r_squared:.1%} of {pair.y}'s variance"
            )
    if found.pairs:
        Output.result(_table(found))
    Output.result(_summary(found, prices))
    _show_power(out, found)


def _power(found: Screen) -> list[Power]:
    from mlkit.pairs.screen.power import expected_power

    criteria = found.criteria
    if criteria.method != "cointegration" or found.tested == 0:
        return []
    return expected_power(
        found.bars,
        found.tested,
        trend=criteria.trend,
        lags=criteria.lags,
        fdr=criteria.fdr,
        alpha=criteria.alpha,
        correlation=criteria.prior == "correlation",
    )


def _show_power(out: Output, found: Screen) -> None:
    power = _power(found)
    if not power:
        return
    plain = ", ".join(f"{each.half_life:g} bars: {each.plain:.0%}" for each in power)
    out.note(f"note: probability of finding a true pair, by its half-life: {plain}")
    if power[0].favoured is not None:
        favoured = ", ".join(f"{each.half_life:g} bars: {each.favoured:.0%}" for each in power)
        out.note(f"note: of one among the 100 most correlated pairs: {favoured}")


def _summary(found: Screen, prices: Prices) -> str:
    window = f"{prices.zoned[0]} to {prices.zoned[-1]}, {found.bars:,} bars"
    done = "tested" if found.criteria.method == "cointegration" else "ranked"
    text = f"{len(found.pairs)} of {found.tested} {done} pairs ({found.tickers} tickers; {window})"
    if found.filtered:
        text += f"; {found.filtered} filtered out before"
    if not found.pairs and found.best_adjusted_p is not None:
        text += f"\nno pair passes: the best adjusted p is {found.best_adjusted_p:.3g}"
    return text


def _table(found: Screen) -> Table:
    from rich.table import Table

    tested = found.criteria.method == "cointegration"
    table = Table("", "y", "x")
    columns = ["statistic", "p", "adjusted p"] if tested else []
    if found.criteria.method == "distance":
        columns.append("distance")
    for name in [*columns, "hedge ratio", "half-life", "Hurst", "correlation"]:
        table.add_column(name, justify="right")
    for number, pair in enumerate(found.pairs, start=1):
        table.add_row(str(number), plain(pair.y), plain(pair.x), *_cells(pair, found.criteria))
    return table


def _cells(pair: Pair, criteria: Criteria) -> list[str]:
    cells = []
    if pair.statistic is not None:
        cells = [f"{pair.statistic:.3f}", f"{pair.p_value:.2g}", f"{pair.adjusted_p:.2g}"]
    if criteria.method == "distance":
        cells.append(f"{pair.distance:.4g}")
    rest = f"{pair.hedge_ratio:.4f}", f"{pair.half_life:.1f}", f"{pair.hurst:.3f}"
    known = pair.correlation == pair.correlation
    return [*cells, *rest, f"{pair.correlation:.3f}" if known else "-"]
