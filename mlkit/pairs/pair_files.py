"""Files of pairs, and of the tickers' groups."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mlkit.errors import BadData, InputMissing
from mlkit.pairs.screening import Pair


def record(pair: Pair) -> dict[str, Any]:
    """Give a pair's fields; what is not finite, such as an endless half-life, is None."""
    cells = asdict(pair).items()
    return {
        name: None if isinstance(cell, float) and not math.isfinite(cell) else cell
        for name, cell in cells
    }


def write_pairs(pairs: Sequence[Pair], path: str | Path) -> None:
    """Write pairs as CSV, all of them or nothing; `-` is standard output.

    Raises:
        InputMissing: The place cannot be written to.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, [each.name for each in fields(Pair)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(record(pair) for pair in pairs)
    if str(path) == "-":
        sys.stdout.write(text.getvalue())
    else:
        _replace(Path(path), text.getvalue())


def _replace(path: Path, text: str) -> None:
    """Write beside the file and rename, so that nobody sees half of it."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as beside:
            beside.write(text)
            beside.flush()
            os.fsync(beside.fileno())
        Path(beside.name).replace(path)
    except OSError as error:
        raise InputMissing(f"{path}: cannot be written: {error.strerror}") from error


def read_groups(path: Path) -> dict[str, str]:
    """Read a CSV of tickers and their groups, such as sectors, with a header.

    Raises:
        InputMissing: The file cannot be read.
        BadData: A row does not have two cells, or a ticker stands there twice.
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
            raise BadData(f"{path}: row {number}: ticker '{cells[0]}' stands there twice")
        groups[cells[0]] = cells[1]
    return groups
