"""Files of pairs, and of the tickers' groups."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mlkit.errors import BadData, InputMissing, UsageError
from mlkit.files import replacing
from mlkit.pairs.screen.screening import Pair
from mlkit.pairs.windows import GivenPair


def record(pair: Pair) -> dict[str, Any]:
    """Return a pair's fields; what is not finite, such as an endless half-life, is None."""
    cells = asdict(pair).items()
    return {
        name: None if isinstance(cell, float) and not math.isfinite(cell) else cell
        for name, cell in cells
    }


def write_pairs(pairs: Sequence[Pair], path: str | Path, period: tuple[str, str]) -> None:
    """Write pairs as CSV, all of them or nothing; `-` is standard output.

    Args:
        pairs: The pairs.
        path: The file.
        period: First and last bar of the screen; a backtest warns if it trades on them.

    Raises:
        InputMissing: The place cannot be written to.
    """
    text = io.StringIO()
    screened = {"screened_from": period[0], "screened_to": period[1]}
    names = [*(each.name for each in fields(Pair)), *screened]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(record(pair) | screened for pair in pairs)
    if str(path) == "-":
        sys.stdout.write(text.getvalue())
    else:
        with replacing(Path(path)) as file:
            file.write(text.getvalue().encode())


def read_groups(path: Path) -> dict[str, str]:
    """Read a CSV of tickers and their groups, such as sectors, with a header.

    Raises:
        InputMissing: The file cannot be read.
        BadData: A row does not have two cells, or a ticker appears twice.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except OSError as error:
        raise InputMissing(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8 text: {error}") from error
    groups: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if len(cells) != 2 or not all(cells):
            raise BadData(f"{path}: row {number}: expected ticker,group", hint="KO,staples")
        if cells[0] in groups:
            raise BadData(f"{path}: row {number}: ticker '{cells[0]}' appears twice")
        groups[cells[0]] = cells[1]
    return groups


def parse_pair(text: str) -> GivenPair:
    """Read `Y,X` or `Y,X,BETA`.

    Raises:
        UsageError: It is neither.
    """
    cells = [cell.strip() for cell in text.split(",")]
    if len(cells) not in (2, 3) or not all(cells):
        raise UsageError(f"--pair {text}: not a pair", hint="--pair KO,PEP or --pair KO,PEP,0.8")
    try:
        return GivenPair(cells[0], cells[1], _beta(cells[2]) if len(cells) == 3 else None)
    except ValueError as error:
        raise UsageError(f"--pair {text}: {error}") from error


def _beta(text: str) -> float:
    beta = float(text)
    if not math.isfinite(beta) or beta == 0.0:
        raise ValueError(f"a hedge ratio of {text} hedges nothing")
    return beta


def read_pairs(path: Path) -> list[GivenPair]:
    """Read pairs from a CSV with the columns y, x and optionally hedge_ratio (or beta).

    Where the screen wrote it, the file records on which bars the pairs were screened.

    Raises:
        InputMissing: The file cannot be read.
        BadData: A column is missing, a hedge ratio is not a number (the message names the row), or
            there is no pair.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            for needed in ("y", "x"):
                if needed not in (rows.fieldnames or ()):
                    hint = "columns: y,x and, if you like, hedge_ratio"
                    raise BadData(f"{path}: no column '{needed}'", hint=hint)
            pairs = [_pair(path, number, row) for number, row in enumerate(rows, start=2)]
            if not pairs:
                raise BadData(
                    f"{path}: there is no pair in it",
                    hint="if the screen passed none, it found no significant pair",
                )
            return pairs
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8: {error}") from error


def _pair(path: Path, number: int, row: Mapping[str, str | None]) -> GivenPair:
    y, x, text = row["y"], row["x"], row.get("hedge_ratio") or row.get("beta")
    if not y or not x:
        raise BadData(f"{path}: row {number}: a ticker is missing")
    try:
        beta = _beta(text) if text else None
        return GivenPair(y, x, beta, row.get("screened_from"), row.get("screened_to"))
    except ValueError as error:
        raise BadData(f"{path}: row {number}: {error}") from error
