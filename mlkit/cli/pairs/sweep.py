"""`mlkit pairs sweep`: many settings of the rule, and the luck in the best one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, MOST_THREADS, Json
from mlkit.cli.output import Output, of
from mlkit.cli.pairs.cluster import ClusterOption, spread_over
from mlkit.cli.pairs.settings import build, with_settings
from mlkit.cli.pairs.source import (
    PRICES_HELP,
    PairOption,
    PairsOption,
    RefitOption,
    Source,
    load,
    read_pairs,
    with_source,
)
from mlkit.cli.report import ReportOption

if TYPE_CHECKING:
    from rich.table import Table

    from mlkit.pairs.backtest.sweep import Configuration, Sweep, WalkForward
    from mlkit.pairs.settings import Settings

VARIED = frozenset({"entry", "exit", "stop_loss", "lookback"})
Values = "START:STOP:STEP or A,B,..."


@examples(
    "mlkit pairs sweep examples/pairs/us_large_caps.csv.gz --pair KO,PEP --lookback 20,40,60",
    "mlkit pairs sweep prices.csv --formation 252 --trading 126 "
    "--method distance --walk-forward --json",
)
@with_source
@partial(with_settings, without=VARIED)
def sweep(
    context: typer.Context,
    settings: Mapping[str, Any],
    prices: Annotated[list[str], typer.Argument(metavar="PRICES", help=PRICES_HELP)],
    reading: Mapping[str, Any],
    pair: PairOption = None,
    pairs: PairsOption = None,
    refit: RefitOption = False,
    entry: Annotated[
        str, typer.Option(metavar=Values, help="Entry thresholds, in standard deviations.")
    ] = "1:3:0.25",
    exits: Annotated[
        str, typer.Option("--exit", metavar=Values, help="Exit thresholds, in standard deviations.")
    ] = "0:1:0.25",
    stop_loss: Annotated[
        str | None,
        typer.Option(
            metavar=Values, help="Stop thresholds, in standard deviations (default: none)."
        ),
    ] = None,
    lookback: Annotated[
        str | None,
        typer.Option(
            metavar=Values, help=("Lookback windows of the z-score, in bars (default: 20,40,60).")
        ),
    ] = None,
    walk_forward: Annotated[
        bool,
        typer.Option("--walk-forward", help="Select on each window, and score on the next."),
    ] = False,
    trials: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST,
            help=(
                "Number of configurations already tried elsewhere, for the deflated Sharpe ratio."
            ),
        ),
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="Number of threads (default: one per core)."),
    ] = None,
    cluster: ClusterOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write all configurations to: .csv or .parquet.",
        ),
    ] = None,
    report: ReportOption = None,
    json: Json = False,
) -> None:
    """Score a grid of thresholds, and deflate the Sharpe ratio of the best.

    Pairs are given or chosen as in `backtest`; formation periods are not scored.
    """
    import os
    from dataclasses import replace

    from mlkit.pairs import windows
    from mlkit.pairs.backtest import records
    from mlkit.pairs.backtest.sweep import Grid
    from mlkit.pairs.backtest.sweep import sweep as score

    out = of(context)
    if output is not None:
        records.table_format(output)  # before the work
    built = build(settings)
    grid = Grid(
        entry=parse_values(entry, "--entry"),
        exit=parse_values(exits, "--exit"),
        stop=parse_values(stop_loss, "--stop-loss") if stop_loss else (float("inf"),),
        lookback=_lookbacks(lookback, built),
    )
    longest = max(grid.lookback, default=built.signal.lookback)
    built = replace(built, signal=replace(built.signal, lookback=longest))
    named = read_pairs(pair, pairs, refit)
    signed = built.takes_any_sign(given=bool(named))
    data = load(out, Source.of(prices, reading), signed=signed)
    cores = threads or len(os.sched_getaffinity(0))
    with spread_over(out, cluster) as machines:
        with out.progress("selecting") as progress:
            planned = windows.plan(data, named, built, progress, machines)
        result = score(
            data, planned, built, grid, threads=cores, trials=trials, walk_forward=walk_forward,
            cluster=machines,
        )  # fmt: skip
    if report is not None:
        from mlkit.pairs.report import sweep as page

        page.write(report, result)
        out.wrote(report)
    document = _document(result)
    if output is not None:
        records.write_rows(output, document["configurations"])
        out.wrote(output)
    if json:
        Output.document("pairs.sweep", 1, document)
    else:
        _show(out, document)


def _lookbacks(text: str | None, settings: Settings) -> tuple[int, ...]:
    if text is None:
        return (20, 40, 60) if settings.signal.zscore == "lookback" else ()
    return tuple(map(int, parse_values(text, "--lookback")))


def parse_values(text: str, flag: str) -> tuple[float, ...]:
    """Read `START:STOP:STEP`, both ends included, or values with commas between them.

    Raises:
        UsageError: It is neither.
    """
    from mlkit.errors import UsageError
    from mlkit.pairs.backtest.sweep import LARGEST

    hint = f"{flag} 1:3:0.25 or {flag} 1,2,3"
    try:
        values = [float(each) for each in text.split(":" if ":" in text else ",")]
    except ValueError as error:
        raise UsageError(f"{flag} {text}: no range and no list", hint=hint) from error
    if not all(map(isfinite, values)):
        raise UsageError(f"{flag} {text}: a value is not finite", hint=hint)
    if ":" not in text:
        return tuple(values)
    if len(values) != 3 or values[2] <= 0 or values[1] < values[0]:
        raise UsageError(f"{flag} {text}: no range and no list", hint=hint)
    first, last, step = values
    steps = (last - first) / step + 1e-9
    if steps >= LARGEST:
        raise UsageError(f"{flag} {text}: more than {LARGEST} values", hint="take a larger step")
    return tuple(first + step * i for i in range(int(steps) + 1))


def _document(result: Sweep) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "windows": len(result.windows),
        "pairs": [
            {"y": pair.y, "x": pair.x, "hedge_ratio": pair.beta}
            for window in result.windows[:1]
            for pair in window.pairs
        ]
        if len(result.windows) == 1
        else [],
        "settings": result.settings.document(),
        "bars": result.bars,
        "bars_per_year": result.bars_per_year,
        "best": _row(result, result.best),
        "deflated_sharpe": asdict(result.deflated),
        "walk_forward": None if result.walk is None else _walk(result, result.walk),
        "warnings": [each for window in result.windows for each in window.warnings],
        "configurations": [_row(result, number) for number in range(len(result.scores))],
    }


def _row(result: Sweep, number: int) -> dict[str, Any]:
    score = result.scores[number]
    return {
        **_thresholds(result.configurations[number]),
        "sharpe": float(score["sharpe"]) * result.bars_per_year**0.5,
        "equity": float(score["equity"]),
        "max_drawdown": float(score["drawdown"]),
        "turnover": float(score["turnover"]),
        "trades": int(score["trades"]),
    }


def _thresholds(configuration: Configuration) -> dict[str, Any]:
    rule, lookback = configuration
    return {
        "entry": rule.entry,
        "exit": rule.exit,
        "stop": None if rule.stop == float("inf") else rule.stop,
        "lookback": lookback or None,
    }


def _walk(result: Sweep, walk: WalkForward) -> dict[str, Any]:
    from dataclasses import asdict

    times, year = result.prices.zoned, result.bars_per_year**0.5
    return {
        "performance": asdict(walk.backtest.performance),
        "trades": len(walk.backtest.trades),
        "windows": [
            {
                "first": str(times[window.start]),
                "pairs": len(window.pairs),
                "promised_sharpe": None if promised != promised else float(promised) * year,
                **({} if number is None else _thresholds(result.configurations[number])),
            }
            for window, number, promised in zip(
                result.windows[1:], walk.chosen, walk.promised, strict=True
            )
        ],
    }


_SHOWN = 10
"""Configurations that the table lists."""


def _show(out: Output, document: dict[str, Any]) -> None:
    for warning in document["warnings"]:
        out.note(f"warning: {warning}")
    deflated, year = document["deflated_sharpe"], document["bars_per_year"] ** 0.5
    Output.result(_table(document["configurations"], _SHOWN))
    Output.result(
        f"{deflated['trials']:,} trials on the same {document['bars']:,} bars "
        f"({document['bars_per_year']:g} per year), worth {deflated['independent']:.1f} "
        f"independent ones (mean correlation {deflated['correlation']:.2f}); "
        "standard deviation of their "
        f"Sharpe ratios {deflated['sharpe_variance'] ** 0.5 * year:.3f}"
    )
    for name, benchmark, probability in (
        ("all trials", deflated["benchmark"], deflated["probability"]),
        ("independent", deflated["adjusted_benchmark"], deflated["adjusted_probability"]),
    ):
        said = "-" if probability is None else f"{100 * probability:.1f} %"
        Output.result(
            f"deflated Sharpe, {name}: {said} that the best one's true Sharpe ratio exceeds "
            f"{benchmark * year:.3f}, the expected best of as many worthless trials"
        )
    if document["walk_forward"]:
        Output.result(_format_walk(document["walk_forward"]))
    out.note("note: the best of a sweep is the luckiest too; --trials counts earlier attempts")


def _format_walk(walk: dict[str, Any]) -> str:
    promised = [
        each["promised_sharpe"] for each in walk["windows"] if each["promised_sharpe"] is not None
    ]
    done = walk["performance"]
    sharpe, sure = done["sharpe"], done["probabilistic_sharpe"]
    mean = f"{sum(promised) / len(promised):.3f}" if promised else "-"
    return (
        f"walk forward: the best of each window promised a Sharpe ratio of {mean} on average; in "
        f"the windows after it, {'-' if sharpe is None else f'{sharpe:.3f}'} "
        f"({walk['trades']:,} trades, total return {100 * done['total_return']:.2f} %, "
        f"probabilistic Sharpe {'-' if sure is None else f'{100 * sure:.1f} %'})"
    )


def _table(rows: list[dict[str, Any]], most: int) -> Table:
    from rich.table import Table

    table = Table()
    for name in ("entry", "exit", "stop", "lookback", "Sharpe", "max drawdown", "trades", "equity"):
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda each: -each["sharpe"])[:most]:
        table.add_row(
            f"{row['entry']:g}",
            f"{row['exit']:g}",
            "-" if row["stop"] is None else f"{row['stop']:g}",
            "-" if row["lookback"] is None else str(row["lookback"]),
            f"{row['sharpe']:.3f}",
            f"{100 * row['max_drawdown']:.2f} %",
            f"{row['trades']:,}",
            f"{row['equity']:,.2f}",
        )
    return table
