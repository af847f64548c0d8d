"""What a backtest leaves behind: tables of trades, positions and equity, and `run.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit import __version__
from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.files import FULL, make_folder, replacing
from mlkit.pairs.backtest.replay import COSTS, REASONS, Backtest
from mlkit.pairs.settings import Settings, from_document
from mlkit.pairs.strategy.file import reference
from mlkit.pairs.strategy.strategy import Reference
from mlkit.pairs.windows import GivenPair

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["csv", "parquet"]
RUN = "run.json"
SCHEMA = 1


def trades(result: Backtest) -> pa.Table:
    """Tabulate the trades, in the order of closing; shares and prices as at the exit."""
    import pyarrow as pa

    each, times = result.trades, result.prices.zoned
    names = [result.pair_names(int(number)) for number in each["pair"]]
    windows = [result.numbers[int(number)][0] for number in each["pair"]]
    return pa.table(
        {
            "window": windows,
            "y": [name[0] for name in names],
            "x": [name[1] for name in names],
            "side": np.where(each["side"] > 0, "long", "short"),
            "decided": times[each["decided"]],
            "entered": times[each["entered"]],
            "closed": times[each["closed"]],
            "bars": each["closed"] - each["entered"],
            "reason": [REASONS[number] for number in each["reason"]],
            "beta": each["beta"],
            "z": each["entry_z"],
            **{
                f"{leg}_{field}": _at_exit(result, each, names, field, leg)
                for field in ("shares", "entry_price", "exit_price")
                for leg in "yx"
            },
            "gross_result": result.results(),
            **{name: np.ascontiguousarray(each["ledger"][name]) for name in COSTS},
            "dividends": np.ascontiguousarray(each["ledger"]["dividends"]),
            "net_result": result.net_results(),
        }
    )


def _at_exit(
    result: Backtest, trades: NDArray[np.void], names: list[tuple[str, str]], field: str, leg: str
) -> NDArray[np.float64]:
    """Return a leg's shares or prices, counted in shares as they were when the trade closed."""
    values = np.ascontiguousarray(trades[field][leg])
    factor = result.prices.factor
    if factor is None:
        return values
    columns = {name: i for i, name in enumerate(result.prices.tickers)}
    tickers = [columns[each["yx".index(leg)]] for each in names]
    share = factor[trades["closed"], tickers]
    return np.asarray(values / share if field == "shares" else values * share)


def equity(result: Backtest) -> pa.Table:
    """Tabulate the account at each close; costs, dividends and interest are running totals."""
    import pyarrow as pa

    account = result.account
    columns = {name: account[name] for name in ("cash", "positions", "equity", "gross")}
    columns |= {name: account["ledger"][name] for name in (*COSTS, "dividends")}
    columns["interest"] = account["interest"]
    return pa.table(
        {"date": result.prices.zoned}
        | {name: np.ascontiguousarray(each) for name, each in columns.items()}
    )


def positions(result: Backtest) -> pa.Table:
    """Tabulate the shares held after each bar, a row per bar, pair and leg."""
    import pyarrow as pa

    times, close = result.prices.zoned, result.prices.close
    columns = {name: i for i, name in enumerate(result.prices.tickers)}
    table: dict[str, list[Any]] = {
        name: [] for name in ("date", "window", "pair", "ticker", "shares", "close", "value")
    }
    for trade in result.trades:
        bars = np.arange(trade["entered"], trade["closed"])
        number = int(trade["pair"])
        names = result.pair_names(number)
        for leg, ticker in zip("yx", names, strict=True):
            column = columns[ticker]
            factor = 1.0 if result.prices.factor is None else result.prices.factor[bars, column]
            prices = close[bars, column] * factor
            shares = float(trade["shares"][leg]) / factor * np.ones(len(bars))
            table["date"] += times[bars].tolist()
            table["window"] += [result.numbers[number][0]] * len(bars)
            table["pair"] += ["/".join(names)] * len(bars)
            table["ticker"] += [ticker] * len(bars)
            table["shares"] += shares.tolist()
            table["close"] += prices.tolist()
            table["value"] += (shares * prices).tolist()
    floats = {"shares", "close", "value"}
    kinds = {name: pa.float64() if name in floats else pa.string() for name in table}
    kinds["window"] = pa.int64()
    return pa.table({name: pa.array(each, kinds[name]) for name, each in table.items()})


def run_document(
    result: Backtest, source: Mapping[str, Any], pairs: Sequence[GivenPair]
) -> dict[str, Any]:
    """Describe a run so that it can be repeated exactly.

    Args:
        result: The run.
        source: Where the prices came from and how they were read: `path` and the options of
            `prices.read`.
        pairs: The pairs that were given; none if the run walked forward.
    """
    return {
        "schema": "mlkit.pairs.run",
        "version": SCHEMA,
        "mlkit": __version__,
        "prices": {**source, "sha256": result.prices.content_hash},
        "pairs": [asdict(pair) for pair in pairs],
        "settings": result.settings.document(),
        "strategy": None if result.strategy is None else asdict(reference(result.strategy)),
        "bars_per_year": result.bars_per_year,
    }


class Run(NamedTuple):
    """The content of a `run.json`.

    Attributes:
        prices: The source of its prices.
        pairs: The pairs that were given.
        settings: Its settings.
        strategy: The strategy; None: the built-in rule.
        bars_per_year: Bars per year, given or read off its dates.
    """

    prices: dict[str, Any]
    pairs: list[GivenPair]
    settings: Settings
    strategy: Reference | None
    bars_per_year: float = 0.0


def read_run(path: Path) -> Run:
    """Read a `run.json`.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not a `run.json`, or one of another version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if (document["schema"], document["version"]) != ("mlkit.pairs.run", SCHEMA):
            raise BadData(f"{path}: schema {document['schema']} version {document['version']}")
        if document["mlkit"] != __version__:
            raise BadData(
                f"{path}: written by mlkit {document['mlkit']}, and this is {__version__}",
                hint=f"pip install mlkit=={document['mlkit']} repeats it exactly",
            )
        pairs = [GivenPair(**pair) for pair in document["pairs"]]
        strategy = document["strategy"] and Reference(**document["strategy"])
        settings = from_document(document["settings"])
        return Run(document["prices"], pairs, settings, strategy, document["bars_per_year"])
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, BadData):
            raise
        raise BadData(f"{path}: not a run.json: {error}") from error


def write(
    directory: Path, result: Backtest, document: Mapping[str, Any], kind: Format = "csv"
) -> list[Path]:
    """Write trades, positions and equity, then `run.json`, each of them whole or not at all.

    Raises:
        UsageError: The directory cannot be written.
    """
    tables = {"trades": trades, "positions": positions, "equity": equity}
    paths = []
    try:
        make_folder(directory)
        for name, build in tables.items():
            path = directory / f"{name}.{kind}"
            with replacing(path) as file:
                file.write(_encode(build(result), kind))
            paths.append(path)
        text = json.dumps(document, indent=2, allow_nan=False) + "\n"
        with replacing(directory / RUN) as file:
            file.write(text.encode())
    except FileExistsError as error:
        raise UsageError(f"{directory}: not a folder", hint="name a folder") from error
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UsageError(f"{directory}: cannot be written: {error.strerror}") from error
    return [*paths, directory / RUN]


def table_format(path: Path) -> Format:
    """Return the format of a table by its file's name.

    Raises:
        UsageError: It is neither .csv nor .parquet.
    """
    formats: dict[str, Format] = {".csv": "csv", ".parquet": "parquet"}
    if path.suffix not in formats:
        raise UsageError(f"{path}: neither .csv nor .parquet")
    return formats[path.suffix]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table of rows that have the same names, whole or not at all.

    Raises:
        UsageError: The name has no known suffix.
        InputMissing: The file cannot be written.
    """
    import pyarrow as pa

    data = _encode(pa.Table.from_pylist(list(map(dict, rows))), table_format(path))
    with replacing(path) as file:
        file.write(data)


def _encode(table: pa.Table, kind: Format) -> bytes:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    sink = pa.BufferOutputStream()
    if kind == "csv":
        options = pyarrow.csv.WriteOptions(quoting_style="needed")
        pyarrow.csv.write_csv(table, sink, options)
    else:
        pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())
