"""Where commands take their prices and pairs from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.cli.options import MAX_UNPACKED, MaxRatio, MaxUnpacked, expand, unpack_limits
from mlkit.pairs.settings import Align, Decimal, Format
from mlkit.unpacking import UnpackLimits

if TYPE_CHECKING:
    from mlkit.cli.output import Output
    from mlkit.pairs.prices.prices import Prices
    from mlkit.pairs.windows import GivenPair

PRICES_HELP = "Price files or folders: CSV, Parquet, xlsx, zip; - is stdin."

PricesFiles = Annotated[list[str], typer.Argument(metavar="PRICES", help=PRICES_HELP)]
Levels = Annotated[
    bool,
    typer.Option(
        "--levels/--log",
        help=(
            "Model prices, of any sign (beta is a ratio of shares), or log prices "
            "(beta is a ratio of money)."
        ),
    ),
]
NOT_RAW = frozenset({"raw", "allow_jumps"})
"""Options of commands that know adjusted prices only."""

PairOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="Y,X[,BETA]", help=("Pair to trade, optionally with its hedge ratio (repeatable).")
    ),
]
PairsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CSV file of pairs, as written by `screen -o`.")
]
RefitOption = Annotated[
    bool, typer.Option("--refit", help="Refit the pairs of the file on --formation bars.")
]

PANEL = "Prices"


def _option(*flags: str, metavar: str | None = None, text: str) -> Any:
    return typer.Option(*flags, metavar=metavar, help=text, rich_help_panel=PANEL)


OPTIONS: dict[str, tuple[Any, Any]] = {
    "align": (
        Annotated[
            Align | None,
            _option(
                text=(
                    "Drop bars with missing prices, or carry the last price forward "
                    "(default: an error)."
                )
            ),
        ],
        None,
    ),
    "raw": (
        Annotated[
            bool,
            _option(
                "--raw",
                text=("Treat closes as unadjusted: dividends are booked and splits applied."),
            ),
        ],
        False,
    ),
    "start": (Annotated[str | None, _option(metavar="DATE", text="Date of the first bar.")], None),
    "stop": (
        Annotated[
            str | None, _option(metavar="DATE", text="End date; the bars before it are used.")
        ],
        None,
    ),
    "format": (
        Annotated[
            Format | None,
            _option("--format", text="Layout of the price files (default: detected)."),
        ],
        None,
    ),
    "date_format": (
        Annotated[
            str | None,
            _option(
                metavar="FORMAT",
                text=(
                    "Format of the dates: dmy, mdy, ymd, s, ms, excel or a strptime pattern"
                    " (default: detected)."
                ),
            ),
        ],
        None,
    ),
    "decimal": (
        Annotated[Decimal | None, _option(text="Decimal mark (default: detected).")],
        None,
    ),
    "ticker": (
        Annotated[
            str | None,
            _option(
                metavar="NAME", text="Ticker of a file of bars (default: from the file's name)."
            ),
        ],
        None,
    ),
    "encoding": (
        Annotated[
            str | None,
            _option(
                metavar="NAME",
                text="Encoding of text files, such as cp1252 or latin-1 (default: detected).",
            ),
        ],
        None,
    ),
    "currency": (
        Annotated[
            str | None,
            _option(
                metavar="NAME",
                text="Currency to read where files have prices in several: columns, rows or signs.",
            ),
        ],
        None,
    ),
    "daily": (
        Annotated[
            bool,
            _option("--daily", text="Join bars by date, ignoring times of day and time zones."),
        ],
        False,
    ),
    "allow_jumps": (
        Annotated[
            bool,
            _option(
                "--allow-jumps",
                text=("Accept raw closes that jump as if by a split that is not in the file."),
            ),
        ],
        False,
    ),
    "max_unpacked": (MaxUnpacked, MAX_UNPACKED),
    "max_ratio": (MaxRatio, UnpackLimits.ratio),
}


@dataclass(frozen=True)
class Source:
    """Where prices come from and how they are read, as `run.json` keeps it."""

    path: str | list[str]
    align: Align | None = None
    raw: bool = False
    start: str | None = None
    stop: str | None = None
    format: Format | None = None
    date_format: str | None = None
    decimal: Decimal | None = None
    ticker: str | None = None
    encoding: str | None = None
    currency: str | None = None
    daily: bool = False
    allow_jumps: bool = False
    max_unpacked: float | None = MAX_UNPACKED
    max_ratio: float = UnpackLimits.ratio

    @classmethod
    def of(cls, paths: list[str], chosen: Mapping[str, Any]) -> Source:
        """Build the source from a command's arguments and options."""
        return cls(paths[0] if len(paths) == 1 else list(paths), **chosen)

    def document(self) -> dict[str, Any]:
        """Return the fields; paths from the root, so that the run can be repeated anywhere."""
        paths = [self.path] if isinstance(self.path, str) else self.path
        absolute = [each if each == "-" else str(Path(each).resolve()) for each in paths]
        return {**asdict(self), "path": absolute[0] if len(absolute) == 1 else absolute}

    def move(self, paths: list[str]) -> Source:
        """Return the same source at other paths."""
        return replace(self, path=paths[0] if len(paths) == 1 else paths)


def with_source(
    command: Callable[..., None], without: frozenset[str] = frozenset()
) -> Callable[..., None]:
    """Add the options of price files to a command; it receives them as `reading`.

    Args:
        command: Takes `reading`, and other parameters that typer reads.
        without: Names of options that the command has not, or declares itself.
    """
    options = {name: each for name, each in OPTIONS.items() if name not in without}
    return expand(command, "reading", options, last=True)


def load(
    out: Output,
    source: Source,
    *,
    expected: str | None = None,
    tickers: list[str] | None = None,
    signed: bool = False,
) -> Prices:
    """Read the prices, note what was recognised and aligned, and keep the period asked for.

    Args:
        out: Where notes go.
        source: What to read.
        expected: The SHA-256 that the content has to have.
        tickers: The tickers to keep; None keeps all.
        signed: Prices may be zero or negative.

    Raises:
        BadData: The content is another one.
    """
    from mlkit.errors import BadData
    from mlkit.pairs.prices.prices import read
    from mlkit.pairs.prices.reading import Reading

    limits = unpack_limits(source.max_unpacked, source.max_ratio)
    reading = Reading(
        source.format, source.date_format, source.decimal, source.ticker, source.daily,
        source.encoding, source.currency, limits,
    )  # fmt: skip
    data = read(
        source.path, align=source.align, tickers=tickers, raw=source.raw, signed=signed,
        allow_jumps=source.allow_jumps, reading=reading,
    )  # fmt: skip
    if expected is not None and data.content_hash != expected:
        raise BadData(
            f"{data.source}: its content differs from the run's (SHA-256 {expected[:12]}...)",
            hint="restore the file, or start a new run without --from",
        )
    for each in (*data.notes, *data.repairs):
        out.note(f"note: {each}")
    return data.window(source.start, source.stop)


def read_pairs(texts: list[str] | None, file: Path | None, refit: bool) -> list[GivenPair]:
    """Read the pairs of the command line and of a file."""
    from mlkit.pairs.screen.pair_files import parse_pair, read_pairs

    from_file = [] if file is None else read_pairs(file)
    if refit:
        from_file = [replace(each, beta=None) for each in from_file]
    return [*map(parse_pair, texts or []), *from_file]
