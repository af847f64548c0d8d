"""The posteriors file: versioned Parquet, or CSV.

Both hold one row a posterior, with the columns `context` (missing: the arm's own row), `arm`,
`a`, `b` and `pulls`. What all rows share (`Header`) is JSON in the metadata of the Parquet schema,
and in columns of the same value on every row of a CSV: `model`, `prior_a`, `prior_b`, `shrinkage`,
and of posteriors that age (version 3) `half_life` and `as_of`. Only `arm`, `a` and `b` have to be
there, so that a file that was made by hand or by a query can be read too.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mlkit.bandit.logs import csv_input
from mlkit.bandit.logs.csv_input import STANDARD_STREAM, Place, open_input
from mlkit.bandit.posteriors.forgetting import Forgetting
from mlkit.bandit.posteriors.posterior import (
    SCHEMA,
    Header,
    Posteriors,
    Prior,
    SourceFile,
    find_bad_row,
)
from mlkit.bandit.posteriors.window import Window, pack, unpack
from mlkit.errors import BadData, InputMissing, MlkitError, UsageError
from mlkit.files import replacing
from mlkit.parquet import SUFFIXES, ParquetReader
from mlkit.unpacking import UnpackLimits

VERSION = 1
_WITH_POLICY = 2
_WITH_FORGETTING = 3
_WITH_WINDOW = 5
VERSIONS = (VERSION, _WITH_FORGETTING, _WITH_WINDOW)
"""The versions of files with Beta posteriors."""
_POLICY_HINT = "fit, show, sample, serve and export take models of every policy"
METADATA_KEY = b"mlkit.posteriors"
"""Where the metadata of Parquet has the header of posteriors and models."""
_BUCKETS = b"mlkit.buckets"
_SHARED = {"model": pa.string(), "prior_a": pa.float64(), "prior_b": pa.float64()} | {
    "shrinkage": pa.float64()
}
_AGING = {"half_life": pa.float64(), "as_of": pa.float64()}
_KINDS = {pa.string(): "text", pa.float64(): "a number", pa.int64(): "a whole number"}
_BATCH_ROWS = 1 << 20


class _Metadata(msgspec.Struct, omit_defaults=True):
    """The JSON in a Parquet file's metadata."""

    version: int
    model: str
    prior: tuple[float, float]
    shrinkage: float
    source: tuple[SourceFile, ...]
    half_life: float | None = None
    as_of: float | None = None
    window: int | None = None


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InputMissing: The file cannot be read.
    """
    with open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def read(path: Path, limits: UnpackLimits | None = None) -> Posteriors:
    """Read a posteriors file into memory.

    Args:
        path: The file; `-` is a CSV on standard input.
        limits: How much it may unpack to.

    Raises:
        InputMissing: The file cannot be read.
        BadData: The file is damaged, of a newer version, lacks a column, unpacks to too much,
            or has a bad or a repeated row; the message names the row.
    """
    header, batches = read_batches(path, limits)
    table = pa.Table.from_batches(batches, SCHEMA)
    _check_unique(table, path)
    own = pc.is_null(table["context"])
    return Posteriors(
        header.model,
        header.prior,
        header.shrinkage,
        header.source,
        header.forgetting,
        header.window,
        arms=table.filter(own).drop_columns("context"),
        contexts=table.filter(pc.invert(own)),
    )


def read_batches(
    path: Path, limits: UnpackLimits | None = None
) -> tuple[Header, Iterator[pa.RecordBatch]]:
    """Read a posteriors file as a stream of checked batches of `SCHEMA`.

    A repeated row is not noticed, since that would need all rows in memory.

    Raises:
        InputMissing: The file cannot be read.
        BadData: As for `read`; for a bad row it is raised by the iterator.
    """
    limits = limits or UnpackLimits()
    return _read_csv(path, limits) if _is_csv(path) else _read_parquet(path, limits)


def write(posteriors: Posteriors, path: Path) -> None:
    """Write posteriors as Parquet, or as CSV if the name ends so or is `-` (standard output).

    The same posteriors give the same bytes.

    Raises:
        UsageError: The name ends in no known format.
        InputMissing: The directory is not there.
        BadData: A posterior is out of range.
    """
    write_batches(posteriors.header(), posteriors.batches(), path)


def write_batches(header: Header, batches: Iterable[pa.RecordBatch], path: Path) -> None:
    """Write batches of `SCHEMA` as a posteriors file; otherwise as `write`."""
    check_writable(path)
    checked = _conform(batches, lambda row: f"{path}: row {row + 1}")
    to = _write_csv if _is_csv(path) else _write_parquet
    if str(path) == STANDARD_STREAM:
        to(header, checked, sys.stdout.buffer)
        return
    with replacing(path) as file:
        to(header, checked, file)


def check_writable(path: Path) -> None:
    """Refuse a path that posteriors cannot be written to, before any work.

    Raises:
        UsageError: The name ends in no known format.
        InputMissing: The directory is not there.
    """
    if str(path) == STANDARD_STREAM:
        return
    if path.suffix.lower() not in (".csv", *SUFFIXES):
        hint = "the name ends in .parquet or .csv; - writes CSV to standard output"
        raise UsageError(f"{path}: unknown format", hint=hint)
    if not path.parent.is_dir():
        raise InputMissing(f"{path}: the directory {path.parent} does not exist")


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() not in SUFFIXES


# Parquet


def _read_parquet(path: Path, limits: UnpackLimits) -> tuple[Header, Iterator[pa.RecordBatch]]:
    file = ParquetReader(path, limits=limits)
    _check_columns(file.columns, path)
    wanted = [name for name in SCHEMA.names if name in file.columns]
    header = _header_of(file.metadata.get(METADATA_KEY), path, file.metadata.get(_BUCKETS))
    return header, _conform(file.batches(wanted, _BATCH_ROWS), _place_in(path))


def _header_of(metadata: bytes | None, path: Path, buckets: bytes | None) -> Header:
    if metadata is None:
        return Header(path.stem)
    try:
        version = msgspec.json.decode(metadata)["version"]
        if version == _WITH_POLICY:
            text = f"{path}: a model with the policy {msgspec.json.decode(metadata)['policy']}"
            raise BadData(f"{text}; Beta posteriors are expected here", hint=_POLICY_HINT)
        if version not in VERSIONS and version > VERSION:
            hint = f"this mlkit reads versions up to {_WITH_WINDOW}; update it"
            raise BadData(f"{path}: posteriors of version {version}", hint=hint)
        found = msgspec.json.decode(metadata, type=_Metadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise BadData(f"{path}: damaged metadata {METADATA_KEY.decode()!r}: {error}") from error
    prior = Prior(*found.prior)
    about = found.model, prior, found.shrinkage, found.source
    if found.window is not None:
        window = _window_of(buckets or b"", found.window, found.as_of or 0.0, path)
        return _header(path, *about, None, window)
    return _header(path, *about, _forgetting_of(found.half_life, found.as_of, path))


def _window_of(buckets: bytes, hours: int, as_of: float, path: Path) -> Window:
    try:
        return Window(as_of, unpack(buckets, hours))
    except MlkitError as error:
        raise BadData(f"{path}: {error.message}") from error


def _forgetting_of(half_life: float | None, as_of: float | None, path: Path) -> Forgetting | None:
    if (half_life is None) != (as_of is None):
        missing = "half_life" if half_life is None else "as_of"
        raise BadData(f"{path}: {missing} is missing", hint="half_life and as_of come together")
    return None if half_life is None or as_of is None else Forgetting(half_life, as_of)


def _header(path: Path, *values: Any) -> Header:
    try:
        return Header(*values)
    except MlkitError as error:
        raise BadData(f"{path}: {error.message}") from error


def _write_parquet(header: Header, batches: Iterable[pa.RecordBatch], file: BinaryIO) -> None:
    version = VERSION if header.forgetting is None else _WITH_FORGETTING
    about = header.model, header.prior, header.shrinkage, header.source
    metadata, more = _Metadata(version, *about, *(header.forgetting or ())), {}
    if header.window is not None:
        metadata.version, metadata.as_of = _WITH_WINDOW, header.window.as_of
        metadata.window = header.window.buckets.hours
        more = {_BUCKETS: pack(header.window.buckets)}
    schema = SCHEMA.with_metadata({METADATA_KEY: msgspec.json.encode(metadata), **more})
    with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))


# CSV


def _read_csv(path: Path, limits: UnpackLimits) -> tuple[Header, Iterator[pa.RecordBatch]]:
    batches = _csv_batches(path, limits)
    first = next(batches, None)
    if first is None:
        return Header(path.stem), iter(())
    place = csv_input.place_in(path)
    shared = _read_shared_values(first, place)
    rows = _check_shared(itertools.chain([first], batches), shared, place)
    default = Header(path.stem)
    header = _header(
        path,
        shared.get("model", default.model),
        Prior(shared.get("prior_a", default.prior.a), shared.get("prior_b", default.prior.b)),
        shared.get("shrinkage", default.shrinkage),
        (),
        _forgetting_of(shared.get("half_life"), shared.get("as_of"), path),
    )
    return header, _conform(rows, place)


def _csv_batches(path: Path, limits: UnpackLimits) -> Iterator[pa.RecordBatch]:
    """Read a CSV as columns of text."""
    with open_input(path) as file:
        text = csv_input.text_of(csv_input.HashingReader(file), path, limits)
        names = csv_input.column_names(text, path)
        _check_columns(names, path)
        _check_known(names, path)
        batches = csv_input.read_batches(text, path, names, on_bad_row=csv_input.refuse)
        yield from (batch for batch in batches if len(batch))


def _read_shared_values(first: pa.RecordBatch, place: Place) -> dict[str, Any]:
    """Read what every row repeats from the first one."""
    kinds = _SHARED | _AGING
    names = [name for name in kinds if name in first.schema.names]
    values = {name: _cast(first[name][:1], name, kinds[name], 0, place) for name in names}
    return {name: value[0].as_py() for name, value in values.items() if value[0].is_valid}


def _check_shared(
    batches: Iterator[pa.RecordBatch], shared: dict[str, Any], place: Place
) -> Iterator[pa.RecordBatch]:
    """Refuse a row that has another model, prior or shrinkage than the first."""
    row = 0
    for batch in batches:
        for name, value in shared.items():
            column = _cast(batch[name], name, (_SHARED | _AGING)[name], row, place)
            odd = pc.index(pc.equal(column, value).fill_null(False), False).as_py()
            if odd >= 0:
                found = f"{name} is {batch[name][odd].as_py()!r}, and {value!r} in the first row"
                raise BadData(f"{place(row + odd)}: {found}")
        row += len(batch)
        yield batch


def _write_csv(header: Header, batches: Iterable[pa.RecordBatch], file: BinaryIO) -> None:
    if header.window is not None:
        hint = "name a .parquet file: a CSV has no room for the buckets of a window"
        raise UsageError("posteriors of a window cannot be written as CSV", hint=hint)
    shared = [header.model, *header.prior, header.shrinkage, *(header.forgetting or ())]
    kinds = _SHARED if header.forgetting is None else _SHARED | _AGING
    schema = pa.schema([*SCHEMA, *(pa.field(*each) for each in kinds.items())])
    with pa.csv.CSVWriter(file, schema) as writer:
        for batch in batches:
            columns = [pa.repeat(value, len(batch)) for value in shared]
            writer.write_batch(
                pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema)
            )


# Both


def _check_columns(names: Sequence[str], path: Path) -> None:
    for name in ("arm", "a", "b"):
        if name not in names:
            raise missing_column(path, name, names)


def missing_column(path: Path, name: str, names: Sequence[str]) -> BadData:
    """Return the error that a file lacks a column, with those it has and the nearest."""
    near = difflib.get_close_matches(name, names, 1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return BadData(f"{path}: no column {name!r}", hint=f"{meant}the columns are {shown}")


def _check_known(names: Sequence[str], path: Path) -> None:
    """Refuse a column that nobody reads, since a misspelt `context` would be ignored."""
    known = [*SCHEMA.names, *_SHARED, *_AGING]
    for name in names:
        if name not in known:
            hint = f"posteriors have the columns {', '.join(known)}"
            raise BadData(f"{path}: unknown column {name!r}", hint=hint)
        if list(names).count(name) > 1:
            raise BadData(f"{path}: two columns {name!r}")


def _conform(batches: Iterable[pa.RecordBatch], place: Place) -> Iterator[pa.RecordBatch]:
    """Bring batches to `SCHEMA` and check their rows."""
    row = 0
    for batch in batches:
        columns = [_column(batch, field, row, place) for field in SCHEMA]
        yield _sound(pa.RecordBatch.from_arrays(columns, schema=SCHEMA), row, place)
        row += len(batch)


def _column(batch: pa.RecordBatch, field: pa.Field, row: int, place: Place) -> pa.Array:
    if field.name not in batch.schema.names:
        return pa.repeat(pa.scalar(None if field.nullable else 0, field.type), len(batch))
    column = _cast(batch[field.name], field.name, field.type, row, place)
    return column.fill_null(0) if field.name == "pulls" else column


def _cast(column: pa.Array, name: str, to: pa.DataType, row: int, place: Place) -> pa.Array:
    """Cast a column; an error names the first value that cannot be cast."""
    try:
        return column.cast(to)
    except pa.ArrowInvalid:
        odd = next(i for i in range(len(column)) if not _castable(column[i], to))
        found = f"{name} is {column[odd].as_py()!r}, expected {_KINDS[to]}"
        raise BadData(f"{place(row + odd)}: {found}") from None


def _castable(value: pa.Scalar, to: pa.DataType) -> bool:
    try:
        value.cast(to)
    except pa.ArrowInvalid:
        return False
    return True


def _sound(batch: pa.RecordBatch, row: int, place: Place) -> pa.RecordBatch:
    bad = find_bad_row(batch)
    if bad is not None:
        raise BadData(f"{place(row + bad.row)}: {bad.reason}")
    return batch


def _check_unique(table: pa.Table, path: Path) -> None:
    """Refuse two rows of the same context and arm."""
    keys = table.select(["context", "arm"])
    if _is_ascending(keys):  # as mlkit writes them
        return
    if len(keys.group_by(keys.column_names).aggregate([])) == len(keys):
        return
    seen: set[tuple[str | None, str]] = set()
    columns = [keys[name].to_pylist() for name in keys.column_names]
    for row, key in enumerate(zip(*columns, strict=True)):
        if key in seen:
            of = "" if key[0] is None else f" in the context {key[0]!r}"
            raise BadData(f"{_place_in(path)(row)}: the arm {key[1]!r}{of} appears twice")
        seen.add(key)


def _is_ascending(keys: pa.Table) -> bool:
    """Return whether each row comes after the one before; no context comes first."""
    context, arm = keys["context"].fill_null(""), keys["arm"]
    same = pc.equal(context[:-1], context[1:])
    after = pc.or_(pc.less(context[:-1], context[1:]), pc.and_(same, pc.less(arm[:-1], arm[1:])))
    return bool(pc.all(after).as_py())


def _place_in(path: Path) -> Place:
    return csv_input.place_in(path) if _is_csv(path) else lambda row: f"{path}: row {row + 1}"
