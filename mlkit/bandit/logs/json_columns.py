"""Features in JSON columns of CSV and Parquet logs, such as `mlkit bandit log compact` writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from mlkit.bandit.logs.log import Columns, Log
from mlkit.errors import BadData

FEATURES, ARM_FEATURES = "features", "arm_features"
CANDIDATE_FEATURES, DECISION = "candidate_features", "decision_id"
COMPACTED = Columns("arm", "reward", "context", time="time")
"""The columns of a compacted log."""
_COMPACTED = {DECISION, "position", "score", "propensity_first", "propensity_slate"}
_encode = msgspec.json.Encoder(order="sorted").encode
_objects = msgspec.json.Decoder(dict[str, Any]).decode


def is_compacted(names: Sequence[str]) -> bool:
    """Return whether a table is a compacted log: a row without a reward is none of rewards."""
    return {*COMPACTED.names(), *_COMPACTED} <= set(names)


def feature_columns(log: Log, names: Sequence[str]) -> list[str]:
    """Return the columns to read for the features of a log that has columns with these names.

    A feature has a column of its own, or is in the JSON objects of `features`.
    """
    own = [name for name in log.features if name in names or FEATURES not in names]
    found = own if len(own) == len(log.features) else [*own, FEATURES]
    if log.of_arms and ARM_FEATURES in names:
        found.append(ARM_FEATURES)
    elif log.of_arms and CANDIDATE_FEATURES in names:
        found += [CANDIDATE_FEATURES, *([DECISION] if DECISION in names else [])]
    return found


def feature(values: Sequence[Any]) -> pa.Array:
    """Return the values of a feature as numbers, or as texts if one of them is a text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {float, int, bool}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else _text_of(value) for value in values], pa.string())


def _text_of(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


Place = Callable[[int], str]


class _Held(NamedTuple):
    """The features of the candidates of the decision whose rows are read."""

    decision: Any = None
    by_arm: dict[str, Any] = {}  # noqa: RUF012


class FeatureReader:
    """Reads the features of the batches of one log, in their order.

    Args:
        log: The log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._held = _Held()

    def context(self, batch: pa.RecordBatch, place: Place) -> list[pa.Array]:
        """Return a column for each feature of contexts.

        Raises:
            BadData: A value is no JSON object; the message names its place.
        """
        names = batch.schema.names
        rows: list[dict[str, Any] | None] | None = None
        found = []
        for name in self._log.features:
            if name in names:
                found.append(_plain(batch[name]))
                continue
            if rows is None:
                rows = _objects_of(batch[FEATURES], FEATURES, place)
            found.append(feature([None if row is None else row.get(name) for row in rows]))
        return found

    def arms(self, batch: pa.RecordBatch, arms: pa.Array, place: Place) -> pa.Array | None:
        """Return the features of arms as JSON objects, null where there are none.

        Returns:
            None if they are not asked for, or the log has none.

        Raises:
            BadData: A value is no JSON object; the message names its place.
        """
        names = batch.schema.names
        if not self._log.of_arms:
            return None
        if ARM_FEATURES in names:
            rows = _objects_of(batch[ARM_FEATURES], ARM_FEATURES, place)
        elif CANDIDATE_FEATURES in names:
            rows = self._of_candidates(batch, arms, place)
        else:
            return None
        return pa.array([_encode(row).decode() if row else None for row in rows], pa.string())

    def _of_candidates(
        self, batch: pa.RecordBatch, arms: pa.Array, place: Place
    ) -> list[dict[str, Any] | None]:
        """Return those of each row's arm; one row of a decision has them for the rows after it."""
        rows = _objects_of(batch[CANDIDATE_FEATURES], CANDIDATE_FEATURES, place)
        has_ids = DECISION in batch.schema.names
        ids = batch[DECISION].to_pylist() if has_ids else [None] * len(rows)
        found: list[dict[str, Any] | None] = []
        for number, (decision, row, arm) in enumerate(
            zip(ids, rows, arms.to_pylist(), strict=True)
        ):
            if row is not None:
                self._held = _Held(decision, row)
            elif decision is None or decision != self._held.decision:
                self._held = _Held(decision)
            of_arm = self._held.by_arm.get(arm)
            if of_arm is not None and not isinstance(of_arm, dict):
                raise _no_object(place(number), CANDIDATE_FEATURES, of_arm)
            found.append(of_arm)
        return found


def _plain(column: pa.Array) -> pa.Array:
    is_dictionary = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_dictionary else column


def _objects_of(column: pa.Array, name: str, place: Place) -> list[dict[str, Any] | None]:
    """Decode a column of JSON objects; each text once."""
    try:
        encoded = _plain(column).cast(pa.string()).dictionary_encode()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise BadData(f"{place(0)}: {name} is {column.type}, expected JSON objects") from None
    found: list[dict[str, Any] | None] = []
    for code, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            found.append(_objects(text) if text else None)
        except msgspec.MsgspecError:
            row = pc.index(encoded.indices, code).as_py()
            raise _no_object(place(row), name, text) from None
    return [None if code is None else found[code] for code in encoded.indices.to_pylist()]


def _no_object(place: str, name: str, value: Any) -> BadData:
    return BadData(f"{place}: {name} is {value!r:.80}, expected a JSON object")
