"""`mlkit pairs sweep`: many settings of the rule on one pair, and the luck in the best one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.cli.pairs_settings import build, with_settings

if TYPE_CHECKING:
    from rich.table import Table

    from mlkit.pairs.sweep import Sweep

EPILOG = """\
Examples:

  mlkit pairs sweep examples/pairs/us_large_caps.csv.gz --pair KO,PEP --lookback 20,40,60

  mlkit pairs sweep prices.csv --pair XOM,CVX --entry 1:3:0.25 --exit 0:1:0.25 --trials 200 --json
"""

Values = "START:STOP:STEP or A,B,..."


def sweep(
    context: typer.Context,
    settings: Mapping[str, Any],
    prices: Annotated[
        str, typer.Argument(metavar="PRICES", help="CSV or Parquet, wide or long; - is stdin.")
    ],
    pair: Annotated[str, typer.Option(metavar="Y,X", help="The pair.")],
    entry: Annotated[str, typer.Option(metavar=Values, help="Entry thresholds.")] = "1:3:0.25",
    exits: Annotated[
        str, typer.Option("--exit", metavar=Values, help="Exit thresholds.")
    ] = "0:1:0.25",
    stop_loss: Annotated[
        str | None, typer.Option(metavar=Values, help="Stop thresholds (default: none).")
    ] = None,
    lookback: Annotated[str, typer.Option(metavar=Values, help="Bars.")] = "20,40,60",
    trials: Annotated[
        int, typer.Option(min=0, help="Configurations that were tried before, elsewhere.")
    ] = 0,
    start: Annotated[str | None, typer.Option(metavar="DATE", help="First bar.")] = None,
    stop: Annotated[str | None, typer.Option(metavar="DATE", help="First bar after the last.")] = (
        None
    ),
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all cores.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write one page with pictures.")
    ] = None,
    json: Json = False,
) -> None:
    """Score a grid of thresholds on one pair, and deflate the Sharpe ratio of the best.

    The pair is fitted on --formation bars that are not scored.
    """
    import os

    from mlkit.pairs.prices import read
    from mlkit.pairs.records import parse_pair
    from mlkit.pairs.sweep import Grid
    from mlkit.pairs.sweep import sweep as score

    named = parse_pair(pair)
    grid = Grid(
        entry=parse_values(entry, "--entry"),
        exit=parse_values(exits, "--exit"),
        stop=parse_values(stop_loss, "--stop-loss") if stop_loss else (float("inf"),),
        lookback=tuple(map(int, parse_values(lookback, "--lookback"))),
    )
    data = read(prices, tickers=(named.y, named.x)).window(start, stop)
    cores = threads or len(os.sched_getaffinity(0))
    fixed = build(settings)
    result = score(data, named.y, named.x, fixed, grid, threads=cores, trials=trials)
    if report is not None:
        from mlkit.pairs.report import sweep as page

        page.write(report, data, fixed, result)
    document = _document(result)
    if json:
        Output.document("pairs.sweep", 1, document)
    else:
        _show(of(context), document)


VARIED = {"entry", "exit", "stop_loss", "lookback"}
WINDOWED = {"trading", "carry", "method", "top", "fdr", "alpha"}
UNSWEPT = {"zscore", "hedge", "hedge_window", "drift", "max_pairs", "max_per_ticker"}
command = with_settings(sweep, frozenset(VARIED | WINDOWED | UNSWEPT))


def parse_values(text: str, flag: str) -> tuple[float, ...]:
    """Read `START:STOP:STEP`, both ends included, or values with commas between them.

    Raises:
        UsageError: It is neither.
    """
    from mlkit.errors import UsageError

    try:
        if ":" not in text:
            return tuple(float(each) for each in text.split(","))
        first, last, step = (float(each) for each in text.split(":"))
        if step <= 0 or last < first:
            raise ValueError(text)
    except ValueError as error:
        hint = f"{flag} 1:3:0.25 or {flag} 1,2,3"
        raise UsageError(f"{flag} {text}: no range and no list", hint=hint) from error
    return tuple(first + step * i for i in range(int((last - first) / step + 1e-9) + 1))


def _document(result: Sweep) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "pair": [result.pair.y, result.pair.x],
        "hedge_ratio": result.pair.beta,
        "bars": result.bars,
        "bars_per_year": result.bars_per_year,
        "best": _row(result, result.best),
        "deflated_sharpe": asdict(result.deflated),
        "configurations": [_row(result, number) for number in range(len(result.scores))],
    }


def _row(result: Sweep, number: int) -> dict[str, Any]:
    rule, lookback = result.configurations[number]
    score = result.scores[number]
    return {
        "entry": rule.entry,
        "exit": rule.exit,
        "stop": None if rule.stop == float("inf") else rule.stop,
        "lookback": lookback,
        "sharpe": float(score["sharpe"]) * result.bars_per_year**0.5,
        "equity": float(score["equity"]),
        "max_drawdown": float(score["drawdown"]),
        "turnover": float(score["turnover"]),
        "trades": int(score["trades"]),
    }


def _show(out: Output, document: dict[str, Any], most: int = 10) -> None:
    deflated, year = document["deflated_sharpe"], document["bars_per_year"] ** 0.5
    Output.result(_table(document["configurations"], most))
    Output.result(
        f"{deflated['trials']} trials on the same {document['bars']} bars, worth "
        f"{deflated['independent']:.1f} independent ones (mean correlation "
        f"{deflated['correlation']:.2f})"
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
    out.note("note: the best of a sweep is the luckiest too; --trials counts earlier attempts")


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
            str(row["lookback"]),
            f"{row['sharpe']:.3f}",
            f"{100 * row['max_drawdown']:.2f} %",
            str(row["trades"]),
            f"{row['equity']:,.2f}",
        )
    return table
