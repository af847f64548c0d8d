"""`mlkit pairs backtest`: replay given pairs, or walk forward through windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.options import Json
from mlkit.cli.output import Output, of
from mlkit.cli.pairs_settings import build, with_settings

if TYPE_CHECKING:
    from rich.table import Table

    from mlkit.pairs.backtest import Backtest
    from mlkit.pairs.prices import Prices
    from mlkit.pairs.settings import Settings
    from mlkit.pairs.windows import GivenPair


class Align(StrEnum):
    """How missing bars are mended."""

    INNER = "inner"
    FFILL = "ffill"


class Format(StrEnum):
    """How tables are written."""

    CSV = "csv"
    PARQUET = "parquet"


EPILOG = """\
Examples:

  mlkit pairs backtest examples/pairs/us_large_caps.csv.gz --pair KO,PEP --formation 504

  mlkit pairs backtest prices.csv --formation 252 --trading 126 --method distance -o results
"""


@dataclass(frozen=True)
class Source:
    """Where prices come from, as `run.json` keeps it."""

    path: str
    align: str | None = None
    raw: bool = False
    start: str | None = None
    stop: str | None = None

    def document(self) -> dict[str, Any]:
        """Give the fields; the path from the root, so that the run can be repeated anywhere."""
        path = self.path if self.path == "-" else str(Path(self.path).resolve())
        return {**vars(self), "path": path}


def backtest(
    context: typer.Context,
    settings: Mapping[str, Any],
    prices: Annotated[
        str | None,
        typer.Argument(metavar="PRICES", help="CSV or Parquet, wide or long; - is stdin."),
    ] = None,
    pair: Annotated[
        list[str] | None, typer.Option(metavar="Y,X[,BETA]", help="A pair; may be repeated.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV of pairs, as the screen writes it.")
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit the file's pairs anew on --formation bars.")
    ] = False,
    repeat: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN.JSON", help="Repeat a run exactly; no other setting."),
    ] = None,
    align: Annotated[Align | None, typer.Option(help="Mend missing bars; else an error.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Closes as paid; both legs' dividends are booked.")
    ] = False,
    start: Annotated[str | None, typer.Option(metavar="DATE", help="First bar.")] = None,
    stop: Annotated[
        str | None, typer.Option(metavar="DATE", help="First bar after the last.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write tables and run.json there."),
    ] = None,
    table_format: Annotated[Format, typer.Option("--format", help="Of the tables.")] = Format.CSV,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write one page with pictures.")
    ] = None,
    json: Json = False,
) -> None:
    """Backtest pairs with two-leg costs: given ones, or chosen anew in each window.

    Decisions fall at a close and fill at the next open, or the next close without opens.
    """
    from mlkit.errors import UsageError
    from mlkit.pairs import records

    out = of(context)
    if repeat is not None:
        _refuse_settings(context, {"repeat", "output", "table_format", "report", "json"})
        source, named, built, expected = _recorded(repeat)
    elif prices is None:
        raise UsageError("PRICES is missing", hint="name a file, or repeat a run with --from")
    else:
        source = Source(prices, align.value if align else None, raw, start, stop)
        built, expected = build(settings), None
        named = _named(pair or [], pairs, refit)
    data = _read(out, source, expected)
    result = _run(out, data, named, built)
    warnings = _screened(pairs)
    if output is not None:
        document = records.run_document(result, source.document(), named)
        records.write(output, result, document, table_format.value)
    if report is not None:
        from mlkit.pairs.report import backtest as page

        page.write(report, result, warnings)
    _show(out, result, warnings, json)


command = with_settings(backtest)


def _refuse_settings(context: typer.Context, allowed: set[str]) -> None:
    """A repeated run takes nothing from the command line but where to write."""
    from mlkit.errors import UsageError

    for name in context.params:
        given = context.get_parameter_source(name)
        if name not in allowed and given is not None and given.name == "COMMANDLINE":
            flag = "PRICES" if name == "prices" else "--" + name.replace("_", "-")
            raise UsageError(f"{flag} and --from: a repeated run has its settings in run.json")


def _recorded(path: Path) -> tuple[Source, list[GivenPair], Settings, str]:
    from mlkit.pairs.records import read_run

    recorded, named, settings = read_run(path)
    expected = recorded.pop("sha256")
    return Source(**recorded), named, settings, expected


def _named(texts: list[str], file: Path | None, refit: bool) -> list[GivenPair]:
    from dataclasses import replace

    from mlkit.pairs.records import parse_pair, read_pairs

    from_file = [] if file is None else read_pairs(file)
    if refit:
        from_file = [replace(each, beta=None) for each in from_file]
    return [*map(parse_pair, texts), *from_file]


def _screened(file: Path | None) -> list[str]:
    if file is None:
        return []
    warning = (
        f"{file}: pairs that were screened on bars that are traded here show a result that "
        "nobody could have had; --formation with --trading screens on earlier bars only"
    )
    return [warning]


def _read(out: Output, source: Source, expected: str | None) -> Prices:
    from mlkit.errors import BadData
    from mlkit.pairs.prices import read

    data = read(source.path, align=source.align, raw=source.raw)  # type: ignore[arg-type]
    if expected is not None and data.content_hash != expected:
        raise BadData(
            f"{source.path}: its content differs from the run's (SHA-256 {expected[:12]}...)",
            hint="restore the file, or run anew without --from",
        )
    for repair in data.repairs:
        out.note(f"note: {repair}")
    return data.window(source.start, source.stop)


def _run(out: Output, prices: Prices, named: list[GivenPair], settings: Settings) -> Backtest:
    from mlkit.errors import UsageError
    from mlkit.pairs import windows
    from mlkit.pairs.backtest import run

    if named and settings.trading:
        raise UsageError(
            "given pairs and --trading: a walk forward chooses its own pairs",
            hint="drop --pair and --pairs, or --trading",
        )
    if not named and not settings.trading:
        raise UsageError(
            "nothing to trade", hint="--pair KO,PEP, --pairs FILE, or --formation 252 --trading 126"
        )
    if named:
        planned = windows.given(prices, named, settings)
    else:
        with out.progress("selecting") as progress:
            planned = windows.rolling(prices, settings, windows.by_screen, progress)
    return run(prices, planned, settings)


def _show(out: Output, result: Backtest, more: list[str], json: bool) -> None:
    from mlkit.pairs import summary

    document = summary.document(result)
    document["warnings"] = [*more, *document["warnings"]]
    if json:
        settings = result.settings.document()
        Output.document("pairs.backtest", 1, {"settings": settings, **document})
        return
    for warning in document["warnings"]:
        out.note(f"warning: {warning}")
    period = document["period"]
    Output.result(
        f"{period['first']} to {period['last']}, {period['bars']} bars, "
        f"{period['bars_per_year']:g} a year"
    )
    for table in (_performance(document), _money(document["money"]), _pairs(document["pairs"])):
        Output.result(table)


PERCENT = {"total_return", "annual_return", "volatility", "max_drawdown", "win_rate", "exposure"}
PERCENT |= {"probabilistic_sharpe"}


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
        [(name.replace("_", " "), _cell(name, value)) for name, value in part.items()
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
        table.add_row(name.replace("_", " "), f"{sign * money[name]:,.2f}")
    for name in ("dividends", "interest", "equity", "turnover"):
        table.add_row(name, f"{money[name]:,.2f}")
    even = money["break_even_bps"]
    table.add_row("break-even cost", "-" if even is None else f"{even:.2f} bp of turnover")
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
        table.add_row(each["y"], each["x"], str(each["trades"]), rate, net)
    return table
