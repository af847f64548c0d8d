"""Parquet files from anybody: damage is bad data, and a small file must not fill the memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlkit.errors import BadData, InputMissing, MlkitError
from mlkit.unpacking import UnpackLimits

SUFFIXES = (".parquet", ".pq")
MAGIC = b"PAR1"
_INDEX_BYTES = 4


class ParquetReader:
    """A Parquet file that is checked while it is read.

    Text is unpacked through its dictionary, so that its length is known before it takes
    memory; encodings, offsets, UTF-8 and, where the file has them, checksums are verified.

    Attributes:
        name: What errors call the file.
        size: Its bytes.
        rows: The number of rows that it declares.
        columns: The names of its columns.
        metadata: Keys and values of the schema's metadata.

    Args:
        source: A path, or the content.
        name: What errors call it; the path if not given.
        limits: How much it may unpack to.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is not a Parquet file, or damaged.
    """

    def __init__(
        self, source: Path | bytes, name: str | None = None, limits: UnpackLimits | None = None
    ) -> None:
        self.name = name if name is not None else str(source)
        self._limits = limits or UnpackLimits()
        self.size = _size(source)
        with _damage(self.name, "no Parquet file"):
            # Twice: the names of the text columns are known only when the file is open.
            schema = pq.read_schema(_input(source))
            self._texts = [field.name for field in schema if _is_text(field.type)]
            self._file = pq.ParquetFile(
                _input(source),
                read_dictionary=self._texts,
                page_checksum_verification=True,
                # A damaged length must not ask for the whole memory.
                thrift_string_size_limit=64 << 20,
                thrift_container_size_limit=1 << 20,
            )
            self.columns: list[str] = list(schema.names)
            self.metadata: dict[bytes, bytes] = schema.metadata or {}
            self.rows: int = self._file.metadata.num_rows

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Read columns as batches of at most `rows` rows; text is plain text.

        Raises:
            BadData: The file is damaged, or unpacks to more than the limits allow.
        """
        with _damage(self.name, "damaged Parquet file"):
            self._check_declared(columns)
            unpacked = 0
            for batch in self._file.iter_batches(rows, columns=list(columns), use_threads=False):
                unpacked += sum(map(_unpacked_size, batch.columns))
                self._limits.check(self.name, self.size, unpacked)
                yield _plain(batch)

    def table(self) -> pa.Table:
        """Read all columns.

        Raises:
            BadData: As for `batches`.
        """
        batches = list(self.batches(self.columns, 1 << 16))
        with _damage(self.name, "damaged Parquet file"):
            schema = batches[0].schema if batches else self._plain_schema()
            return pa.Table.from_batches(batches, schema.with_metadata(self.metadata or None))

    def _plain_schema(self) -> pa.Schema:
        fields = [
            pa.field(each.name, _plain_type(each.type), each.nullable)
            for each in self._file.schema_arrow
        ]
        return pa.schema(fields)

    def _check_declared(self, columns: Sequence[str]) -> None:
        """Refuse by what the footer declares, before anything is unpacked."""
        schema = self._file.schema_arrow
        wanted = [schema.field(i) for name in columns for i in schema.get_all_field_indices(name)]
        width = sum(_width(field.type) for field in wanted)
        self._limits.check(self.name, self.size, self.rows * width)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind)) or bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    )


def _width(kind: pa.DataType) -> int:
    """Return the bytes that a value takes at least."""
    try:
        return int(kind.bit_width) // 8
    except ValueError:  # not of a fixed width
        return _INDEX_BYTES


def _unpacked_size(column: pa.Array) -> int:
    """Return the bytes of a column as `_plain` makes it."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    column.validate(full=True)
    values = column.dictionary
    if not _is_text(values.type):
        return int(column.nbytes + len(column) * _width(values.type))
    lengths = pc.take(pc.binary_length(values), column.indices)
    return (pc.sum(lengths).as_py() or 0) + _INDEX_BYTES * len(column)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [_plain_column(column) for column in batch.columns]
    found = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    found.validate(full=True)
    return found


def _plain_column(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _input(source: Path | bytes) -> Path | pa.BufferReader:
    return pa.BufferReader(source) if isinstance(source, bytes) else source


def _size(source: Path | bytes) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        with source.open("rb"):
            return source.stat().st_size
    except OSError as error:
        raise InputMissing(f"{source}: cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _damage(name: str, what: str) -> Iterator[None]:
    """Turn whatever Arrow raises for a damaged file into bad data.

    Besides its own errors these are OSError (decompression), UnicodeDecodeError (names),
    MemoryError (absurd lengths), and others that depend on where the damage is.
    """
    try:
        yield
    except MlkitError:
        raise
    except (pa.ArrowException, OSError, ValueError, LookupError, MemoryError, TypeError) as error:
        raise BadData(f"{name}: {what}: {str(error).strip()}") from error
