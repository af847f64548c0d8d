"""From logs to models of every policy."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlkit.bandit.logs.decision_tables import read_csv
from mlkit.bandit.logs.log import Columns, Log
from mlkit.bandit.logs.rewards import (
    as_numbers,
    feature_column,
    logs_of,
    read_all,
    wait_for_rewards,
)
from mlkit.bandit.models.features import FeatureSchema, named_features
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies.features import Value
from mlkit.bandit.policies.policy import Array, Indices
from mlkit.bandit.posteriors.file import missing_column
from mlkit.bandit.posteriors.fitting import check_past
from mlkit.bandit.posteriors.forgetting import Forgetting, weights
from mlkit.errors import BadData
from mlkit.parquet import SUFFIXES, ParquetReader
from mlkit.progress import Progress, silent
from mlkit.unpacking import STREAMED, UnpackLimits

_ROWS = 1 << 16
ArmFeatures = Mapping[str, Array]
"""The vectors of arms, by id."""


def fit(
    logs: Sequence[Path],
    columns: Columns | None,
    header: ModelHeader,
    arm_features: ArmFeatures | None = None,
    *,
    skip_bad_rows: bool = False,
    reward_scale: float = 1.0,
    excluded: Collection[str] = (),
    limits: UnpackLimits = STREAMED,
    attribution: float | None = None,
    as_of: float | None = None,
    half_life: float | None = None,
    progress: Progress = silent,
) -> PolicyModel:
    """Learn a model from logs, which are read as a stream.

    Args:
        logs: CSV, Parquet or JSON Lines files; `-` is a CSV on standard input.
        columns: The columns of CSV and Parquet logs; features are columns of their names.
        header: What the model is; its source is filled in.
        arm_features: Vectors of arms of a shared model; these arms are there without rewards too.
            Where a log of a server has the features that an arm had when it was shown, the model
            learns from those.
        skip_bad_rows: Count and skip a bad row instead of raising.
        reward_scale: What the rewards of the logs are divided by.
        excluded: Arms whose rows do not count.
        limits: How much a compressed log may unpack to.
        attribution: Seconds in which a reward must come; None: only rewards count.
        as_of: The time of the model, in seconds since 1970; None: that of the newest line.
        half_life: Seconds in which a reward loses half of its weight; None: all weigh the same.
        progress: Reports the bytes read.

    Raises:
        InputMissing: A log cannot be read.
        UsageError: Columns are needed and not given, or the scale is not above 0.
        BadData: A log lacks a column, is damaged, has a bad row, or none at all.
    """
    opened = logs_of(
        logs,
        columns,
        skip_bad_rows=skip_bad_rows,
        reward_scale=reward_scale,
        excluded=excluded,
        limits=limits,
        reward_range=header.spec.rewards,
        features=header.features.context,
        of_arms=bool(header.features.arm),
        timed=half_life is not None,
    )
    wait_for_rewards(opened, attribution, as_of)
    if half_life is not None:
        header = replace(header, forgetting=Forgetting(half_life, -1e11))
    model = PolicyModel(header)
    for name, vector in (arm_features or {}).items():
        model.vectors[model.name(name)] = vector
    for log, batch in read_all(opened, progress):
        _learn(model, log, batch)
    model.header = replace(header, source=tuple(map(Log.source, opened)))
    if half_life is None:
        return model
    newest = float(model.times.max())
    check_past(newest, newest if as_of is None else as_of)
    return model.as_of(newest if as_of is None else as_of)


def _learn(model: PolicyModel, log: Log, batch: pa.RecordBatch) -> None:
    for begin in range(0, len(batch), _ROWS):
        part = batch.slice(begin, _ROWS)
        vectors = _vectors(model.header.features, part)
        good: NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1))
        if not good.all():
            _refuse(log, model.header.features, part, vectors, good)
            part, vectors = part.filter(pa.array(good)), vectors[good]
        if len(part):
            _update(model, log, part, vectors)


def _refuse(
    log: Log,
    schema: FeatureSchema,
    part: pa.RecordBatch,
    vectors: Array,
    good: NDArray[np.bool_],
) -> None:
    row = part.slice(int(np.argmin(good)), 1)
    numbers = [name for name in schema.context if name not in schema.categories]
    columns = {name: row[feature_column(name)] for name in numbers}
    odd = next(name for name, column in columns.items() if schema.is_wrong(column))
    place = f"{log.path}: a row of the arm {row['arm'][0].as_py()!r}"
    shown = columns[odd][0].as_py()
    log.bad(f"feature {odd!r} is {shown!r:.60}, expected a number", lambda: place)
    bad = int(np.count_nonzero(~good))
    log.skipped += bad - 1
    log.rows -= bad


def _vectors(schema: FeatureSchema, batch: pa.RecordBatch) -> Array:
    columns = [batch[feature_column(name)] for name in schema.context]
    return schema.context_matrix(columns) if columns else np.empty((len(batch), 0))


def _update(model: PolicyModel, log: Log, batch: pa.RecordBatch, vectors: Array) -> None:
    encoded = batch["arm"].dictionary_encode()
    of_arm = [_place(model, log, arm) for arm in encoded.dictionary.to_pylist()]
    places = np.array(of_arm, dtype=np.intp)[encoded.indices.to_numpy(zero_copy_only=False)]
    rewards = batch["reward"].to_numpy(zero_copy_only=False)
    sign = batch["sign"].to_numpy(zero_copy_only=False)
    design = model.design(places, vectors, _arm_vectors(model, log, batch, places))
    counted = _weights(model, batch)
    for change, rows in ((model.policy.update, sign > 0), (model.policy.withdraw, sign < 0)):
        if rows.any():
            read = None if design is None else design[rows]
            change(places[rows], rewards[rows], read, counted[rows])
    model.pulls += np.bincount(places, sign, minlength=model.pulls.size)


def _arm_vectors(
    model: PolicyModel, log: Log, batch: pa.RecordBatch, places: Indices
) -> Array | None:
    """Return the vectors of the arms' features, row by row; None: those of the model."""
    if "arm_features" not in batch.schema.names:
        return None
    encoded = batch["arm_features"].dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    if not texts:
        return None
    logged = np.stack([_logged_vector(model.header.features, log, text) for text in texts])
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return np.where(codes[:, None] < 0, model.vectors[places], logged[codes])


def _logged_vector(schema: FeatureSchema, log: Log, text: str) -> Array:
    """Return the vector of an arm's features as a log has them; the model may read fewer."""
    try:
        return schema.arm_vector(named_features(msgspec.json.decode(text), schema.arm, schema))
    except BadData as error:
        raise BadData(f"{log.path}: {error.message}", hint=error.hint) from error


def _weights(model: PolicyModel, batch: pa.RecordBatch) -> Array:
    """Bring a model that ages to the newest row; return what each row weighs then."""
    aging = model.header.forgetting
    if aging is None:
        return np.ones(len(batch))
    times = batch["time"].to_numpy(zero_copy_only=False)
    newest = max(float(times.max()), float(model.times.max()))
    model.age_to(newest)
    return weights(times, newest, aging.half_life)


def _place(model: PolicyModel, log: Log, arm: str) -> int:
    found = model.place(arm)
    if found is not None:
        return found
    if model.vectors.shape[1]:
        hint = "--arm-features FILE has a row for each arm; --exclude-arm leaves one out"
        raise BadData(f"{log.path}: the arm {arm!r:.80} has no features", hint=hint)
    return model.name(arm)


# Features of arms


def read_arm_features(
    path: Path, schema: FeatureSchema, limits: UnpackLimits | None = None
) -> ArmFeatures:
    """Read a table with the column `arm` and a column for each feature of arms.

    Raises:
        InputMissing: The file cannot be read.
        BadData: A column is missing, an arm appears twice, or a feature is wrong.
    """
    table = arm_table(path, limits)
    rows = table.select(["arm", *schema.arm]).to_pylist()
    found: dict[str, Array] = {}
    for number, row in enumerate(rows, 1):
        arm = str(row.pop("arm") or "")
        if not arm or arm in found:
            raise BadData(f"{path}: row {number}: the arm {arm!r} is empty or appears twice")
        try:
            found[arm] = schema.arm_vector(_convert_features(row, schema))
        except BadData as error:
            raise BadData(f"{path}: row {number}: {error.message}", hint=error.hint) from error
    return found


def arm_table(path: Path, limits: UnpackLimits | None = None) -> pa.Table:
    """Read a table of arms: CSV or Parquet, with the column `arm`.

    Raises:
        InputMissing: The file cannot be read.
        BadData: It is damaged, or has no such column.
    """
    limits = limits or UnpackLimits()
    is_parquet = path.suffix.lower() in SUFFIXES
    table = (
        ParquetReader(path, limits=limits).table() if is_parquet else read_csv(path, list, limits)
    )
    if "arm" not in table.column_names:
        raise missing_column(path, "arm", table.column_names)
    return table


def _convert_features(row: Mapping[str, Any], schema: FeatureSchema) -> dict[str, Value]:
    """Return the features of a row: a CSV has texts for numbers."""
    typed: dict[str, Value] = {}
    for name, value in row.items():
        if value is None or value == "":
            typed[name] = None
        elif name in schema.categories:
            typed[name] = str(value)
        else:
            number = as_numbers(pa.array([value]))[0].as_py()
            typed[name] = str(value) if number is None else number
    return typed
