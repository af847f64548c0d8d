"""The file of a model with a policy of its own: posteriors of version 2, as Parquet.

One row an arm, with the columns `arm`, `pulls`, `features` (the vector of a shared model), and the
arrays of the policy's state (`state_...`): numbers, or lists of them for weights. The state of a
shared model is on a first row without an arm. What all rows share is JSON in the metadata of the
schema, under the same key as that of version 1: `version` (2), `model`, `policy`, `features`,
`source`.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlkit.bandit.models.features import FeatureSchema
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.bandit.policies.policy import Array
from mlkit.bandit.posteriors import file as posteriors_file
from mlkit.bandit.posteriors.file import METADATA_KEY
from mlkit.bandit.posteriors.forgetting import Forgetting
from mlkit.bandit.posteriors.posterior import ID_BYTES, SourceFile
from mlkit.errors import BadData, MlkitError, UsageError
from mlkit.files import replacing
from mlkit.parquet import SUFFIXES, ParquetReader
from mlkit.unpacking import UnpackLimits

VERSION = 2
_WITH_FORGETTING = 4
VERSIONS = (VERSION, _WITH_FORGETTING)


class _Features(msgspec.Struct):
    """The features in the metadata."""

    context: tuple[str, ...] = ()
    arm: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    hashed: int = 0
    seed: int = 0
    intercept: bool = True


class _Metadata(msgspec.Struct, omit_defaults=True):
    """The JSON in the metadata."""

    version: int
    model: str
    policy: str
    features: _Features
    source: tuple[SourceFile, ...] = ()
    half_life: float | None = None
    as_of: float | None = None


def version_of(path: Path, limits: UnpackLimits | None = None) -> int:
    """Return the version of a posteriors file; 1 for one without metadata.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is damaged.
    """
    if path.suffix.lower() not in SUFFIXES:
        return 1
    metadata = ParquetReader(path, limits=limits or UnpackLimits()).metadata.get(METADATA_KEY)
    try:
        found = 1 if metadata is None else msgspec.json.decode(metadata)["version"]
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise BadData(f"{path}: damaged metadata {METADATA_KEY.decode()!r}: {error}") from error
    return found if isinstance(found, int) else 0


def check_writable(path: Path) -> None:
    """Refuse a path that a model cannot be written to, before any work.

    Raises:
        UsageError: The name does not end in .parquet.
        InputMissing: The directory is not there.
    """
    if path.suffix.lower() not in SUFFIXES:
        hint = "only Beta posteriors, those of --policy thompson, may be CSV"
        raise UsageError(f"{path}: a model with this policy is written as .parquet", hint=hint)
    posteriors_file.check_writable(path)


def write(model: PolicyModel, path: Path) -> None:
    """Write a model; the same model gives the same bytes.

    Raises:
        UsageError: The name does not end in .parquet.
        InputMissing: The directory is not there.
    """
    check_writable(path)
    with replacing(path) as to:
        _write(model, to)


def _write(model: PolicyModel, to: BinaryIO) -> None:
    header, schema = model.header, model.header.features
    features = _Features(*(getattr(schema, name) for name in _Features.__struct_fields__))
    version = VERSION if header.forgetting is None else _WITH_FORGETTING
    about = header.model, str(header.spec), features, header.source
    metadata = _Metadata(version, *about, *(header.forgetting or ()))
    table = _table(model).replace_schema_metadata({METADATA_KEY: msgspec.json.encode(metadata)})
    pq.write_table(table, to, compression="zstd", write_page_checksum=True)


def _table(model: PolicyModel) -> pa.Table:
    places = model.present()
    arms: list[str | None] = [model.ids[place] for place in places]
    state, is_shared = _collect_arrays(model), model.header.spec.is_shared
    columns = {"arm": arms, "pulls": model.pulls[places].tolist()}
    if model.vectors.shape[1]:
        columns["features"] = model.vectors[places].tolist()
    for name, values in state.items():
        rows = values[:1] if is_shared else values[places]
        columns[name] = rows.reshape(len(rows), *([-1] if values.ndim > 1 else [])).tolist()
    if is_shared:
        columns = {
            name: [*values, *[None] * len(arms)] if name in state else [None, *values]
            for name, values in columns.items()
        }
    types = {name: _type(values.ndim) for name, values in state.items()}
    types |= {"arm": pa.string(), "pulls": pa.float64(), "features": _type(2)}
    return pa.table({name: pa.array(each, types[name]) for name, each in columns.items()})


def _type(dimensions: int) -> pa.DataType:
    return pa.float64() if dimensions == 1 else pa.list_(pa.float64())


def _collect_arrays(model: PolicyModel) -> dict[str, Array]:
    state = catalog.arrays(model.policy)
    return {f"state_{name}": each for name, each in state.items() if name not in catalog.DERIVED}


# Reading


def read(path: Path, limits: UnpackLimits | None = None) -> PolicyModel:
    """Read a model.

    Raises:
        InputMissing: The file cannot be read.
        BadData: The file is damaged, of another version, or a row is wrong; the message names it.
    """
    reader = ParquetReader(path, limits=limits or UnpackLimits())
    header = _header(path, reader.metadata.get(METADATA_KEY))
    return _fill(path, PolicyModel(header), reader.table())


def _header(path: Path, metadata: bytes | None) -> ModelHeader:
    try:
        found = msgspec.json.decode(metadata or b"", type=_Metadata)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: damaged metadata {METADATA_KEY.decode()!r}: {error}") from error
    if found.version not in VERSIONS:
        hint = f"this mlkit reads versions up to {_WITH_FORGETTING}; update it"
        raise BadData(f"{path}: posteriors of version {found.version}", hint=hint)
    each = found.features
    try:
        schema = FeatureSchema(**msgspec.structs.asdict(each))
        aging = None
        if found.half_life is not None and found.as_of is not None:
            aging = Forgetting(found.half_life, found.as_of)
        return ModelHeader(found.model, catalog.parse(found.policy), schema, found.source, aging)
    except MlkitError as error:
        raise BadData(f"{path}: {error.message}", hint=error.hint) from error


def _fill(path: Path, model: PolicyModel, table: pa.Table) -> PolicyModel:
    wanted = {"arm": pa.string(), "pulls": pa.float64()}
    wanted |= {name: _type(values.ndim) for name, values in _collect_arrays(model).items()}
    if model.vectors.shape[1]:
        wanted["features"] = _type(2)
    columns = {name: _column(path, table, name, kind) for name, kind in wanted.items()}
    begin = 1 if model.header.spec.is_shared else 0
    if begin and (not table.num_rows or columns["arm"][0] is not None):
        raise BadData(f"{path}: row 1: expected the state of the shared model")
    for row in range(begin, table.num_rows):
        _add_arm(path, model, row, columns)
    _set_state(path, model, columns)
    return model


def _column(path: Path, table: pa.Table, name: str, kind: pa.DataType) -> list[object]:
    if name not in table.column_names:
        raise posteriors_file.missing_column(path, name, table.column_names)
    found = table[name]
    if found.type != kind:
        raise BadData(f"{path}: the column {name!r} is {found.type}, expected {kind}")
    values: list[object] = found.to_pylist()
    return values


def _add_arm(path: Path, model: PolicyModel, row: int, columns: dict[str, list[object]]) -> None:
    arm, pulls = columns["arm"][row], columns["pulls"][row]
    if not isinstance(arm, str) or not 0 < len(arm.encode()) <= ID_BYTES or model.knows(arm):
        found = "there twice" if isinstance(arm, str) and model.knows(arm) else "no id"
        raise BadData(f"{path}: row {row + 1}: the arm {arm!r:.80} is {found}")
    if not isinstance(pulls, float) or not 0 <= pulls <= 1e15:
        raise BadData(f"{path}: row {row + 1}: pulls is {pulls!r}, expected 0 to 1e15")
    place = model.name(arm)
    model.pulls[place] = pulls
    if "features" in columns:
        vector = columns["features"][row]
        model.vectors[place] = _numbers(path, row, "features", vector, model.vectors.shape[1:])


def _set_state(path: Path, model: PolicyModel, columns: dict[str, list[object]]) -> None:
    rows = [0] if model.header.spec.is_shared else range(len(model.ids))
    for name, values in _collect_arrays(model).items():
        for row in rows:
            values[row] = _numbers(path, row, name, columns[name][row], values.shape[1:])
    for row in rows:
        try:
            catalog.check(model.policy, row)
            catalog.derive(model.policy, row)
        except MlkitError as error:
            raise BadData(f"{path}: row {row + 1}: {error.message}") from error


def _numbers(path: Path, row: int, name: str, value: object, shape: tuple[int, ...]) -> Array:
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    size = int(np.prod(shape, dtype=np.int64))
    if found.size != size or not np.isfinite(found).all():
        raise BadData(f"{path}: row {row + 1}: {name} is not {size} finite numbers")
    return found.reshape(shape)
