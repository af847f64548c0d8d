"""Tables of rows as files: CSV and Parquet, in and out, row by row."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, NamedTuple

from mlkit.bpmn.decisions.cells import text_of, unify
from mlkit.errors import BadData, InputMissing
from mlkit.files import replacing
from mlkit.unpacking import UnpackLimits

_BATCH = 4096
# A cell of this size is an open quotation mark.
_MAX_CELL = 1_000_000
Row = list[Any]
Write = Callable[[Row, Row], None]


class Source(NamedTuple):
    """A table that is read.

    Attributes:
        columns: The names of the columns.
        rows: The rows.
        is_typed: Whether cells have types, or are texts.
        place: Returns where a row is, for messages.
        done: Returns how far the file is read after so many rows, and how far it goes.
        schema: The types of a Parquet file.
    """

    columns: list[str]
    rows: Iterable[Row]
    is_typed: bool
    place: Callable[[int], str]
    done: Callable[[int], tuple[int, int | None]]
    schema: Any = None


def reading(path: Path, limits: UnpackLimits | None = None) -> AbstractContextManager[Source]:
    """Open a table; a Parquet file within limits of what it unpacks to.

    Raises:
        InputMissing: It cannot be read.
        BadData: It is no such file, has no header, the same column twice, or rows of another width.
    """
    limits = limits or UnpackLimits()
    return _parquet(path, limits) if path.suffix == ".parquet" else _csv(path)


@contextmanager
def _reading_errors(path: Path) -> Iterator[None]:
    """Explain what goes wrong while a table is read, and nothing else."""
    from pyarrow import ArrowException

    try:
        yield
    except OSError as error:
        raise InputMissing(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: not UTF-8") from error
    except (csv.Error, ArrowException) as error:
        raise BadData(f"{path}: {error}") from error


@contextmanager
def _csv(path: Path) -> Iterator[Source]:
    csv.field_size_limit(_MAX_CELL)
    with _reading_errors(path):
        size = None if str(path) == "-" else path.stat().st_size
        raw = sys.stdin.buffer if size is None else path.open("rb")
    try:
        reader = csv.reader(TextIOWrapper(raw, encoding="utf-8-sig", newline=""), strict=True)
        with _reading_errors(path):
            header = next(reader, [])
        _check_header(path, header)
        yield Source(
            header,
            _rows(path, reader, len(header)),
            False,
            lambda row: f"{path}:{reader.line_num}",
            lambda row: (row if size is None else raw.tell(), size),
        )
    finally:
        if size is not None:
            raw.close()


def _rows(path: Path, reader: Any, width: int) -> Iterator[Row]:
    with _reading_errors(path):
        for cells in filter(None, reader):  # An empty line is not a row.
            if len(cells) != width:
                raise BadData(f"{path}:{reader.line_num}: {len(cells)} cells, not {width}")
            yield cells


def _check_header(path: Path, columns: list[str]) -> None:
    if not columns:
        raise BadData(f"{path}: no header that names the inputs")
    twice = next((each for each in columns if columns.count(each) > 1), None)
    if twice is not None:
        raise BadData(f"{path}: the column {twice!r} appears twice")


@contextmanager
def _parquet(path: Path, limits: UnpackLimits) -> Iterator[Source]:
    from pyarrow.parquet import ParquetFile

    with _reading_errors(path):
        # A damaged length must not ask for the whole memory.
        bounds = {"thrift_string_size_limit": 64 << 20, "thrift_container_size_limit": 1 << 20}
        file = ParquetFile(path, **bounds)
        packed = path.stat().st_size
    with file:
        total, schema = file.metadata.num_rows, file.schema_arrow
        _check_header(path, schema.names)
        yield Source(
            schema.names, _batches(path, file, lambda size: limits.check(str(path), packed, size)),
            True,
            lambda row: f"{path}: row {row}", lambda row: (row, total), schema,
        )  # fmt: skip


def _batches(path: Path, file: Any, check: Callable[[int], None]) -> Iterator[Row]:
    unpacked = 0
    with _reading_errors(path):
        for batch in file.iter_batches(batch_size=_BATCH):
            unpacked += batch.nbytes
            check(unpacked)
            for row in batch.to_pylist():
                yield list(row.values())


# -- writing -----------------------------------------------------------------------------------


@contextmanager
def writing(path: Path, source: Source, added: list[str]) -> Iterator[Write]:
    """Write the rows of a source with more columns; the file appears whole or not at all."""
    if str(path) == "-":
        yield _csv_writer(sys.stdout, source, added)
        return
    with replacing(path) as raw:
        if path.suffix == ".parquet":
            rows: list[Row] = []
            yield lambda row, results: rows.append([*row, *results])
            _write_parquet(raw, rows, source, added)
            return
        sink = TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
        yield _csv_writer(sink, source, added)
        sink.detach()


def _csv_writer(sink: IO[str], source: Source, added: list[str]) -> Write:
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*source.columns, *added])
    if source.is_typed:
        return lambda row, results: writer.writerow(map(text_of, [*row, *results]))
    return lambda row, results: writer.writerow([*row, *map(text_of, results)])


def _write_parquet(raw: Any, rows: list[Row], source: Source, added: list[str]) -> None:
    """Write columns of the types that they had; results have the type that all of them have."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    columns = list(zip(*rows, strict=True)) or [()] * (len(source.columns) + len(added))
    width = len(source.columns)
    types = [pa.string()] * width if source.schema is None else source.schema.types
    arrays = [pa.array(*each) for each in zip(columns[:width], types, strict=True)]
    arrays += [pa.array(unify(each)) for each in columns[width:]]
    write_table(pa.table(arrays, names=[*source.columns, *added]), raw)
