"""Where `pairs backtest` and `pairs sweep` take their prices and pairs from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from mlkit.cli.output import Output
    from mlkit.pairs.prices.prices import Prices
    from mlkit.pairs.windows import GivenPair


class Align(StrEnum):
    """How missing bars are mended."""

    INNER = "inner"
    FFILL = "ffill"


PairOption = Annotated[
    list[str] | None, typer.Option(metavar="Y,X[,BETA]", help="A pair; may be repeated.")
]
PairsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CSV of pairs, as the screen writes it.")
]
RefitOption = Annotated[
    bool, typer.Option("--refit", help="Fit the file's pairs anew on --formation bars.")
]
AlignOption = Annotated[Align | None, typer.Option(help="Mend missing bars; else an error.")]
RawOption = Annotated[
    bool, typer.Option("--raw", help="Closes as paid; both legs' dividends are booked.")
]
StartOption = Annotated[str | None, typer.Option(metavar="DATE", help="First bar.")]
StopOption = Annotated[str | None, typer.Option(metavar="DATE", help="First bar after the last.")]


@dataclass(frozen=True)
class Source:
    """Where prices come from, as `run.json` keeps it."""

    path: str
    align: Literal["inner", "ffill"] | None = None
    raw: bool = False
    start: str | None = None
    stop: str | None = None

    @classmethod
    def of(
        cls, path: str, align: Align | None, raw: bool, start: str | None, stop: str | None
    ) -> Source:
        """Take the options of a command."""
        return cls(path, align.value if align else None, raw, start, stop)

    def document(self) -> dict[str, Any]:
        """Give the fields; the path from the root, so that the run can be repeated anywhere."""
        path = self.path if self.path == "-" else str(Path(self.path).resolve())
        return {**vars(self), "path": path}


def load(out: Output, source: Source, expected: str | None = None) -> Prices:
    """Read the prices, say what was mended, and keep the period that is asked for.

    Args:
        out: Where repairs are said.
        source: What to read.
        expected: The SHA-256 that the file's content has to have.

    Raises:
        BadData: The content is another one.
    """
    from mlkit.errors import BadData
    from mlkit.pairs.prices.prices import read

    data = read(source.path, align=source.align, raw=source.raw)
    if expected is not None and data.content_hash != expected:
        raise BadData(
            f"{source.path}: its content differs from the run's (SHA-256 {expected[:12]}...)",
            hint="restore the file, or run anew without --from",
        )
    for repair in data.repairs:
        out.note(f"note: {repair}")
    return data.window(source.start, source.stop)


def named_pairs(texts: list[str] | None, file: Path | None, refit: bool) -> list[GivenPair]:
    """Read the pairs of the command line and of a file."""
    from dataclasses import replace

    from mlkit.pairs.screen.pair_files import parse_pair, read_pairs

    from_file = [] if file is None else read_pairs(file)
    if refit:
        from_file = [replace(each, beta=None) for each in from_file]
    return [*map(parse_pair, texts or []), *from_file]
