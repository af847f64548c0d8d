"""`mlkit pairs backtest`: replay given pairs, or walk forward through windows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, of, plain
from mlkit.cli.pairs.cluster import ClusterOption, spread_over
from mlkit.cli.pairs.settings import build, with_settings
from mlkit.cli.pairs.source import (
    PANEL,
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

    from mlkit.pairs.backtest.records import Run
    from mlkit.pairs.backtest.replay import Backtest
    from mlkit.pairs.prices.prices import Prices
    from mlkit.pairs.settings import Settings
    from mlkit.pairs.strategy.strategy import Strategy
    from mlkit.pairs.windows import GivenPair


TableFormat = Literal["csv", "parquet"]
LAYOUTS = ("wide", "long", "bars", "klines")


@examples(
    "mlkit pairs backtest examples/pairs/us_large_caps.csv.gz --pair KO,PEP --formation 504",
    "mlkit pairs backtest prices.csv --formation 252 --trading 126 "
    "--method distance --report r.html",
    "mlkit pairs backtest prices.csv --pair KO,PEP --strategy patient.py:Patient -o run",
)
@partial(with_source, without=frozenset({"format"}))
@with_settings
def backtest(
    context: typer.Context,
    settings: Mapping[str, Any],
    reading: Mapping[str, Any],
    prices: Annotated[list[str] | None, typer.Argument(metavar="PRICES", help=PRICES_HELP)] = None,
    pair: PairOption = None,
    pairs: PairsOption = None,
    refit: RefitOption = False,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.PY:CLASS",
            help=(
                "Strategy to run, a class derived from mlkit.pairs.Strategy; its code is executed."
            ),
        ),
    ] = None,
    repeat: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN.JSON",
            help="Repeat this run exactly; it excludes other settings.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(LAYOUTS),
            help="Layout of the price file (default: detected).",
            rich_help_panel=PANEL,
        ),
    ] = None,
    cluster: ClusterOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Directory to write the tables and run.json to."
        ),
    ] = None,
    table_format: Annotated[TableFormat, typer.Option(help="Format of the tables.")] = "csv",
    report: ReportOption = None,
    json: Json = False,
) -> None:
    """Backtest pairs with two-leg costs: given ones, or chosen again in each window.

    Decisions are made at a close and fill at the next open, or at the next close without opens.
    """
    from mlkit.errors import UsageError
    from mlkit.pairs.backtest import records
    from mlkit.pairs.backtest.records import read_run
    from mlkit.pairs.strategy import file

    out = of(context)
    layout, table_format = _formats(out, layout, table_format)
    if repeat is not None:
        where = {"prices", "repeat", "cluster", "output", "table_format", "report", "json"}
        where |= set() if layout else {"layout"}
        _refuse_settings(context, where)
        recorded = read_run(repeat)
        source, expected = _find_recorded_source(recorded, prices)
        named, built = recorded.pairs, recorded.settings
        own = None if recorded.strategy is None else file.reload(recorded.strategy)
    elif not prices:
        raise UsageError("PRICES is missing", hint="name a file, or repeat a run with --from")
    else:
        source = Source.of(prices, {**reading, "format": layout})
        built, expected = build(settings), None
        named = read_pairs(pair, pairs, refit)
        own = None if strategy is None else file.load(strategy)
    signed = built.takes_any_sign(given=bool(named))
    data = load(out, source, expected=expected, signed=signed)
    result = _run(out, data, named, built, own, cluster)
    if output is not None:
        document = records.run_document(result, source.document(), named)
        records.write(output, result, document, table_format)
        out.wrote(output)
    if report is not None:
        from mlkit.pairs.report import backtest as page

        page.write(report, result)
        out.wrote(report)
    _show(out, result, json)


def _formats(out: Output, layout: str | None, tables: TableFormat) -> tuple[Any, TableFormat]:
    """Part the formats of prices and tables; `--format csv` meant the tables once."""
    from mlkit.errors import UsageError

    old: dict[str | None, TableFormat] = {"csv": "csv", "parquet": "parquet"}
    if layout in old:
        out.note(f"note: --format {layout} is now the format of price files: use --table-format")
        return None, old[layout]
    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"--format {layout}: none of {', '.join(LAYOUTS)}")
    return layout, tables


def _refuse_settings(context: typer.Context, allowed: set[str]) -> None:
    """A repeated run takes nothing from the command line but where to write."""
    from mlkit.errors import UsageError

    for name in context.params:
        given = context.get_parameter_source(name)
        if name not in allowed and given is not None and given.name == "COMMANDLINE":
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} and --from: a repeated run has its settings in run.json")


def _find_recorded_source(recorded: Run, prices: list[str] | None) -> tuple[Source, str]:
    """Return the source of a recorded run, which may have moved, and the prices' hash."""
    expected = recorded.prices.pop("sha256")
    source = Source(**recorded.prices)
    return (source.move(prices) if prices else source), expected


def _run(
    out: Output,
    prices: Prices,
    named: list[GivenPair],
    settings: Settings,
    strategy: Strategy | None,
    cluster: str | None,
) -> Backtest:
    from mlkit.errors import UsageError
    from mlkit.pairs import windows
    from mlkit.pairs.backtest.replay import run

    if cluster is not None and not settings.trading:
        raise UsageError("--cluster spreads windows: it needs --trading", hint="--trading 126")
    with spread_over(out, cluster) as machines, out.progress("selecting") as progress:
        planned = windows.plan(prices, named, settings, progress, machines)
    return run(prices, planned, settings, strategy)


def _show(out: Output, result: Backtest, json: bool) -> None:
    from dataclasses import asdict

    from mlkit.pairs.backtest import summary
    from mlkit.pairs.strategy.file import reference

    document = summary.document(result)
    if json:
        settings = result.settings.document()
        own = None if result.strategy is None else asdict(reference(result.strategy))
        fields = {"settings": settings, "strategy": own, **document}
        Output.document("pairs.backtest", 1, fields)
        return
    for warning in document["warnings"]:
        out.note(f"warning: {warning}")
    if result.strategy is not None:
        used = reference(result.strategy)
        Output.result(f"strategy {used.name} of {used.file} decides")
    period = document["period"]
    Output.result(
        f"{period['first']} to {period['last']}, {period['bars']:,} bars, "
        f"{period['bars_per_year']:g} per year"
    )
    for table in (
        _performance(document), _money(document["money"]), _years(document["years"]),
        _pairs(document["pairs"]),
    ):  # fmt: skip
        Output.result(table)


PERCENT = {"total_return", "annual_return", "volatility", "max_drawdown", "win_rate", "exposure"}
PERCENT |= {"probabilistic_sharpe"}


_LABELS = {
    "sharpe": "Sharpe",
    "sortino": "Sortino",
    "calmar": "Calmar",
    "probabilistic_sharpe": "probabilistic Sharpe",
    "drawdown_bars": "longest drawdown, bars",
    "average_bars": "average bars held",
    "turnover": "turnover per year",
}


def _label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name in PERCENT:
        return f"{100 * value:.2f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def _performance(document: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("performance", "", "trading", "")
    for column in (1, 3):
        table.columns[column].justify = "right"
    hidden = {"bars", "bars_per_year", "reasons"}
    sides = [
        [(_label(name), _cell(name, value)) for name, value in part.items()
         if name not in hidden]
        for part in (document["performance"], document["trading"])
    ]  # fmt: skip
    sides[1] += [(f"closed: {name.replace('_', ' ')}", f"{count:,}")
                 for name, count in document["trading"]["reasons"].items()]  # fmt: skip
    for row in range(max(map(len, sides))):
        table.add_row(*(text for side in sides for text in (side[row : row + 1] or [("", "")])[0]))
    return table


def _money(money: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("money", "")
    table.columns[1].justify = "right"
    for name in ("gross_result", "commission", "slippage", "half_spread", "borrow"):
        sign = 1.0 if name == "gross_result" else -1.0
        table.add_row(name.replace("_", " "), f"{sign * money[name]:z,.2f}")
    for name in ("dividends", "interest", "equity", "turnover"):
        table.add_row(name, f"{money[name]:,.2f}")
    even = money["break_even_bps"]
    table.add_row("break-even cost", "-" if even is None else f"{even:.2f} bp of turnover")
    return table


def _years(years: list[dict[str, Any]], across: int = 5) -> Table:
    from rich.table import Table

    table = Table(*["year", "return"] * min(across, len(years)))
    for column in table.columns[1::2]:
        column.justify = "right"
    for row in range(0, len(years), across):
        cells = [(str(each["year"]), f"{100 * each['return']:z.1f} %")
                 for each in years[row : row + across]]  # fmt: skip
        table.add_row(*(text for cell in cells for text in cell))
    return table


def _pairs(pairs: list[dict[str, Any]], most: int = 10) -> Table:
    from rich.table import Table

    table = Table("y", "x", "trades", "win rate", "net result")
    for column in (2, 3, 4):
        table.columns[column].justify = "right"
    worst = pairs[-(most // 2) :] if len(pairs) > most else []
    shown = [*pairs[: most // 2], None, *worst] if worst else pairs
    for each in shown:
        if each is None:
            table.add_row("...", f"{len(pairs) - most} more", "", "", "")
            continue
        rate, net = f"{100 * each['win_rate']:.0f} %", f"{each['net_result']:,.2f}"
        table.add_row(plain(each["y"]), plain(each["x"]), f"{each['trades']:,}", rate, net)
    return table
