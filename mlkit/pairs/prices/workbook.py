"""Sheets of Excel workbooks."""

from __future__ import annotations

import io
import zipfile
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from mlkit.errors import BadData, PackageMissing
from mlkit.pairs.prices import text
from mlkit.pairs.prices.reading import Sheet
from mlkit.unpacking import UnpackLimits


def sheets(content: bytes, source: str, stem: str, limits: UnpackLimits) -> list[Sheet]:
    """Read the sheets of a workbook that hold anything; each is called by the file and its name.

    A workbook is an archive: what its parts unpack to counts against the limits.

    Raises:
        PackageMissing: The package that reads workbooks is not installed.
        BadData: The workbook is broken or has no cells.
    """
    try:
        import python_calamine
    except ImportError as error:
        problem = f"{source}: Excel files need the package python-calamine"
        raise PackageMissing.of(problem, "xlsx", ", or save the sheet as CSV") from error
    _check(content, source, limits)
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        tables = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    except (python_calamine.CalamineError, OSError, ValueError) as error:
        raise BadData(f"{source}: broken workbook: {error}") from error
    tables = {name: rows for name, rows in tables.items() if len(rows) > 1}
    if not tables:
        raise BadData(f"{source}: the workbook has no cells")
    if len(tables) == 1:
        return [_sheet(next(iter(tables.values())), source, stem)]
    return [_sheet(rows, f"{source}, sheet {name}", name) for name, rows in tables.items()]


def _check(content: bytes, source: str, limits: UnpackLimits) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(each.file_size for each in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise BadData(f"{source}: broken workbook: {error}") from error
    limits.check(source, len(content), unpacked)


def _sheet(rows: list[list[Any]], source: str, stem: str) -> Sheet:
    """Read cells as if they had been saved as text, so that headers are found alike."""
    import csv

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(each) for each in row] for row in rows)
    found = text.sheet(out.getvalue().encode(), source, stem)
    found.columns = [pa.chunked_array(column) if isinstance(column, pa.Array) else column
                     for column in found.columns]  # fmt: skip
    return found


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
