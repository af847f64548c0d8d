"""Logs of decisions, checked and read into arrays for off-policy evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlkit.bandit.evaluation.decisions import MOST_CELLS, Decisions, FeatureSet
from mlkit.bandit.logs import times
from mlkit.bandit.logs.decision_tables import DecisionColumns, DecisionTable, read_table
from mlkit.bandit.logs.rewards import as_numbers
from mlkit.bandit.posteriors.posterior import ID_BYTES
from mlkit.errors import BadData, UsageError
from mlkit.unpacking import UnpackLimits

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
_ALL = "[]"
_LEAST = 1e-300
"""The least propensity: the weight of a smaller one may overflow."""
_HIGHEST = 1e15
"""The highest reward."""


@dataclass(frozen=True)
class MissingRewards:
    """The rule for decisions without a reward.

    Attributes:
        rule: `zero` counts them as 0, `drop` leaves them out; None refuses them.
        attribution: Seconds after a decision during which its reward may still come. Decisions
            that are younger than this at the end of the log, and have no reward, are left out:
            whether they earn something is not known yet. None: no reward is late.
    """

    rule: str | None = None
    attribution: float | None = None


@dataclass(frozen=True)
class Logged:
    """A log, ready to be evaluated.

    Attributes:
        decisions: Its rows that count.
        fields: The columns that were read, by what they mean.
        probabilities: Columns of target probabilities, by name, shape (rows,) each.
        missing: Rows without a reward.
        dropped: Of these, the rows that were left out.
        time: Seconds since 1970, shape (rows,); None: the log has no times, or none were read.
    """

    decisions: Decisions
    fields: dict[str, str]
    probabilities: dict[str, Array] = field(default_factory=dict)
    missing: int = 0
    dropped: int = 0
    time: Array | None = None


class _Rows(NamedTuple):
    """The checked columns of one file, or of several after one another."""

    ids: dict[str, pa.ChunkedArray]
    numbers: dict[str, Array]
    fields: dict[str, str]


def read(
    paths: Sequence[Path],
    columns: DecisionColumns,
    missing: MissingRewards,
    *,
    probabilities: Sequence[str] = (),
    limits: UnpackLimits | None = None,
) -> Logged:
    """Read logs of decisions, one after another.

    Args:
        paths: CSV, Parquet or JSON Lines.
        columns: Their columns.
        missing: What rows without a reward count.
        probabilities: Further columns: target probabilities in [0, 1].
        limits: How much a file may unpack to.

    Raises:
        InputMissing: A file cannot be read.
        UsageError: `missing` needs the time of decisions, and a log has none.
        BadData: A column, an id, a propensity, a reward or a time is missing or wrong; the
            message names the line or row.
    """
    limits = limits or UnpackLimits()
    parts = []
    for path in paths:
        table = read_table(path, columns, probabilities, limits)
        parts.append(_check_rows(path, table, missing, probabilities, columns.named))
    rows = _join(parts)
    _complete_slates(rows.ids)
    absent = np.isnan(rows.numbers["reward"])
    counted = ~(absent & _is_dropped(rows.numbers, missing))
    if not counted.any():
        raise BadData(f"{paths[0]}: no decisions with a reward")
    decisions = _decisions(rows, counted)
    chosen = {name: rows.numbers[name][counted] for name in probabilities}
    dropped = int(np.count_nonzero(~counted))
    time = rows.numbers["time"][counted] if "time" in rows.numbers else None
    return Logged(decisions, rows.fields, chosen, int(absent.sum()), dropped, time)


def _join(parts: Sequence[_Rows]) -> _Rows:
    first = parts[0]
    for part in parts[1:]:
        if part.fields.keys() != first.fields.keys():
            odd = sorted(part.fields.keys() ^ first.fields.keys())[0]
            raise BadData(f"some logs have a column of {odd}, others do not")
    ids = {
        name: pa.chunked_array([chunk for part in parts for chunk in part.ids[name].chunks])
        if any(part.ids[name].num_chunks for part in parts)
        else first.ids[name]
        for name in first.ids
    }
    numbers = {name: np.concatenate([p.numbers[name] for p in parts]) for name in first.numbers}
    return _Rows(ids, numbers, first.fields)


# Columns of one file


def _check_rows(
    path: Path,
    table: DecisionTable,
    missing: MissingRewards,
    probabilities: Sequence[str],
    features: Sequence[str],
) -> _Rows:
    column = {name: table.columns[source] for name, source in table.fields.items()}
    ids: dict[str, Any] = {
        name: _ids(column[name], name, table.place, required=name != "context")
        for name in ("arm", "context", "position", "slate")
        if name in column
    }
    if "candidates" in column:
        ids["candidates"] = _lists(column["candidates"], table.place)
    if features:
        ids["features"] = _features(table, features)
    if "candidate_features" in column:
        ids["candidate_features"] = _objects(column["candidate_features"], table.place)
    numbers = {
        "propensity": _probability(column["propensity"], "propensity", table.place, above_0=True),
        "reward": _rewards(column["reward"], table.place, missing),
    }
    for name in probabilities:
        numbers[name] = _probability(table.columns[name], name, table.place, above_0=False)
    if missing.attribution is not None or "time" in column:
        numbers["time"] = _times(path, column.get("time"), table.place)
    return _Rows(ids, numbers, table.fields)


def _refuse(place: str, name: str, value: Any, expected: str, hint: str | None = None) -> BadData:
    shown = "missing" if value is None else repr(value)[:80]
    return BadData(f"{place}: {name} is {shown}, expected {expected}", hint=hint)


def _ids(
    column: pa.ChunkedArray, name: str, place: Callable[[int], str], *, required: bool
) -> pa.ChunkedArray:
    _check_type(column, name, place, _IDS, "text or integers")
    text = column.cast(pa.string())
    length = pc.fill_null(pc.binary_length(text), 0)
    bad = pc.or_(pc.greater(length, ID_BYTES), pc.and_(pc.equal(length, 0), required))
    row = pc.index(bad, True).as_py()
    if row >= 0:
        expected = f"{1 if required else 0} to {ID_BYTES} bytes of UTF-8"
        raise _refuse(place(row), name, text[row].as_py(), expected)
    return pc.if_else(pc.equal(length, 0), pa.scalar(None, pa.string()), text)


def _lists(column: pa.ChunkedArray, place: Callable[[int], str]) -> pa.ChunkedArray:
    """Return lists of ids as JSON arrays of sorted text; each is parsed once."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        texts = [
            None if each is None else msgspec.json.encode(each).decode()
            for each in column.to_pylist()
        ]
        column = pa.chunked_array([pa.array(texts, pa.string())])
    _check_type(column, "candidates", place, _IDS, "lists or text")
    encoded = _whole(column.cast(pa.string())).dictionary_encode()
    if encoded.null_count:
        row = pc.index(pc.is_null(encoded), True).as_py()
        raise _refuse(place(row), "candidates", None, "a list of ids")
    codes = encoded.indices
    parsed = [
        _list(text, partial(_first_place, place, codes, code))
        for code, text in enumerate(encoded.dictionary.to_pylist())
    ]
    return pa.chunked_array([pa.array(parsed, pa.string()).take(codes)])


def _objects(column: pa.ChunkedArray, place: Callable[[int], str]) -> pa.ChunkedArray:
    """Return JSON objects as text, null where there are none."""
    _check_type(column, "candidate_features", place, _TEXT, "JSON objects")
    text = column.cast(pa.string())
    return pc.if_else(pc.equal(pc.binary_length(text), 0), pa.scalar(None, pa.string()), text)


def _complete_slates(ids: dict[str, pa.ChunkedArray]) -> None:
    """Let all rows of a slate have its candidates' features, which one of them may have."""
    if "candidate_features" not in ids or "slate" not in ids:
        return
    column, slate = _whole(ids["candidate_features"]), _whole(ids["slate"])
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    at = pc.index_in(slate, slate.take(pa.array(rows)))
    ids["candidate_features"] = pa.chunked_array([column.take(pa.array(rows)).take(at)])


def _features(table: DecisionTable, names: Sequence[str]) -> pa.ChunkedArray:
    """Return the features of each row as a JSON object with sorted names."""
    if "features" in table.fields:
        column = table.columns[table.fields["features"]]
        _check_type(column, "features", table.place, _TEXT, "JSON objects")
        return column.cast(pa.string())
    columns = [table.columns[name].to_pylist() for name in sorted(names)]
    rows = (dict(zip(sorted(names), row, strict=True)) for row in zip(*columns, strict=True))
    texts = [msgspec.json.encode(row).decode() for row in rows]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _first_place(place: Callable[[int], str], codes: pa.Array, code: int) -> str:
    return place(pc.index(codes, pa.scalar(code, codes.type)).as_py())


def _list(text: str, place: Callable[[], str]) -> str:
    try:
        found = msgspec.json.decode(text, type=list[str | int]) if text[:1] == "[" else None
    except msgspec.MsgspecError:
        raise _refuse(place(), "candidates", text, "a JSON array of ids") from None
    ids = sorted({str(each) for each in (text.split("|") if found is None else found)})
    if not ids or "" in ids:
        raise _refuse(place(), "candidates", text, "a list of ids such as a|b, or a JSON array")
    return msgspec.json.encode(ids).decode()


def numbers_of(column: pa.ChunkedArray, name: str, place: Callable[[int], str]) -> Array:
    """Return the numbers of a column, NaN where there is none.

    Raises:
        BadData: A value is not a number; the message names its place.
    """
    _check_type(column, name, place, _NUMBERS, "numbers")
    whole = _whole(column)
    found = as_numbers(whole)
    row = pc.index(pc.and_(pc.is_null(found), pc.is_valid(whole)), True).as_py()
    if row >= 0:
        raise _refuse(place(row), name, whole[row].as_py(), "a number")
    return np.array(found.to_numpy(zero_copy_only=False), dtype=np.float64)


_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
_IDS = (*_TEXT, pa.types.is_integer)
_NUMBERS = (*_IDS, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
_TIMES = (*_NUMBERS, pa.types.is_timestamp, pa.types.is_date)


def _check_type(
    column: pa.ChunkedArray,
    name: str,
    place: Callable[[int], str],
    fitting: Sequence[Callable[[pa.DataType], bool]],
    expected: str,
) -> None:
    if not any(fits(column.type) for fits in fitting):
        raise BadData(f"{place(0)}: {name} is {column.type}, expected {expected}")


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _probability(
    column: pa.ChunkedArray, name: str, place: Callable[[int], str], *, above_0: bool
) -> Array:
    values = numbers_of(column, name, place)
    good = (values >= _LEAST if above_0 else values >= 0) & (values <= 1)
    if not good.all():
        row = int(np.argmin(good))
        value = None if np.isnan(values[row]) else float(values[row])
        hint = "without the probability of what was shown a row cannot be weighted"
        raise _refuse(place(row), name, value, f"a number in {'(' if above_0 else '['}0, 1]", hint)
    return values


def _rewards(column: pa.ChunkedArray, place: Callable[[int], str], how: MissingRewards) -> Array:
    values = numbers_of(column, "reward", place)
    beyond = np.abs(values) > _HIGHEST
    if beyond.any():
        row = int(np.argmax(beyond))
        expected = f"a number in [-{_HIGHEST:g}, {_HIGHEST:g}]"
        raise _refuse(place(row), "reward", float(values[row]), expected)
    if how.rule is None and np.isnan(values).any():
        hint = "--missing zero counts it as 0, --missing drop leaves the row out"
        raise _refuse(place(int(np.argmax(np.isnan(values)))), "reward", None, "a number", hint)
    return values


def _times(path: Path, column: pa.ChunkedArray | None, place: Callable[[int], str]) -> Array:
    """Return seconds since 1970; times without a zone are UTC."""
    if column is None:
        hint = "--time COL names the column with the times of decisions"
        raise UsageError(f"{path}: no times, which --attribution needs", hint=hint)
    _check_type(column, "time", place, _TIMES, "times")
    found = times.seconds_of(column)
    if np.isnan(found).any():
        row = int(np.argmax(np.isnan(found)))
        value = column[row].as_py()
        raise _refuse(place(row), "time", None if value is None else str(value), times.EXPECTED)
    return found


def _is_dropped(numbers: dict[str, Array], how: MissingRewards) -> Flags:
    """Return whether a row would be left out if it has no reward."""
    dropped = np.full(len(numbers["reward"]), how.rule == "drop")
    if how.attribution is not None and len(dropped):
        dropped |= numbers["time"] > numbers["time"].max() - how.attribution
    return dropped


# All rows


def _decisions(rows: _Rows, counted: Flags) -> Decisions:
    ids = {name: column.filter(pa.array(counted)) for name, column in rows.ids.items()}
    count = int(counted.sum())
    lists, candidates = _encode(ids.get("candidates"), count, _ALL)
    sets = [msgspec.json.decode(str(each), type=list[str]) for each in lists if each != _ALL]
    arms, arm = _encode(ids["arm"], count, None, more=[each for found in sets for each in found])
    contexts, context = _encode(ids.get("context"), count, None)
    positions, position = _encode(ids.get("position"), count, "1")
    slate = _slates(ids.get("slate"), count)
    features, feature = _feature_sets(ids, count)
    reward = rows.numbers["reward"][counted]
    found = Decisions(
        [str(each) for each in arms],
        contexts,
        [str(each) for each in positions],
        arm,
        np.where(np.isnan(reward), 0.0, reward),
        rows.numbers["propensity"][counted],
        context,
        position,
        candidates,
        _available(sets, arms),
        slate,
        features,
        feature,
    )
    _check_candidates(found)
    _check_slates(found, has_positions="position" in ids)
    return found


def _feature_sets(
    ids: dict[str, pa.ChunkedArray], rows: int
) -> tuple[list[FeatureSet], NDArray[np.int64]]:
    """Return the distinct sets of features, and the index of each row's."""
    contexts, of_context = _encode(ids.get("features"), rows, None)
    arms, of_arms = _encode(ids.get("candidate_features"), rows, None)
    named = [_decode_object(each, "features", dict[str, Any]) for each in contexts]
    by_arm = [_decode_object(each, "candidate_features", dict[str, _Named]) for each in arms]
    if len(arms) == 1:
        return [FeatureSet(each, by_arm[0]) for each in named], of_context
    found, of_row = np.unique(of_context * len(arms) + of_arms, return_inverse=True)
    pairs = (divmod(int(each), len(arms)) for each in found)
    return [FeatureSet(named[one], by_arm[other]) for one, other in pairs], of_row.reshape(-1)


_Named = dict[str, Any]


def _decode_object(text: str | None, name: str, kind: Any) -> dict[str, Any]:
    try:
        return {} if not text else msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError):
        expected = "a JSON object of them for each arm" if kind != _Named else "a JSON object"
        raise BadData(f"{name} are {text!r:.80}, expected {expected}") from None


def _encode(
    column: pa.ChunkedArray | None, rows: int, default: str | None, *, more: Sequence[str] = ()
) -> tuple[list[str | None], NDArray[np.int64]]:
    """Return the distinct ids, in order (numbers as numbers), and the index of each row's."""
    if column is None:
        return [default], np.zeros(rows, dtype=np.int64)
    encoded = _whole(column).dictionary_encode(null_encoding="encode")
    names = encoded.dictionary.to_pylist()
    ordered = sorted({*names, *more}, key=_order)
    number = {name: index for index, name in enumerate(ordered)}
    codes = np.array([number[name] for name in names], dtype=np.int64)
    return ordered, codes[encoded.indices.to_numpy(zero_copy_only=False)]


def _slates(column: pa.ChunkedArray | None, rows: int) -> NDArray[np.int64] | None:
    """Return the slate of each row; None where each row is a slate of its own."""
    ids, codes = _encode(column, rows, None)
    return None if column is None or len(ids) == rows else codes


def _order(name: str | None) -> tuple[int, int, str]:
    if name is None:
        return 0, 0, ""
    is_number = name.isascii() and name.isdigit()
    return (1, int(name), name) if is_number and len(name) < 20 else (2, 0, name)


def _available(sets: Sequence[Sequence[str]], arms: Sequence[str | None]) -> Flags:
    if len(sets) * len(arms) > MOST_CELLS:
        pairs = f"{len(sets):,} sets of candidates and {len(arms):,} arms"
        hint = '--candidates "" takes all arms as candidates of every decision'
        raise BadData(f"{pairs}: expected at most {MOST_CELLS:,} pairs", hint=hint)
    number = {name: index for index, name in enumerate(arms)}
    found = np.zeros((len(sets), len(arms)), dtype=bool)
    for row, ids in enumerate(sets):
        found[row, [number[each] for each in ids]] = True
    return found


def _check_candidates(found: Decisions) -> None:
    if not len(found.available):
        return
    inside = found.available[found.candidates, found.arm]
    if not inside.all():
        row = int(np.argmin(inside))
        arm = found.arms[found.arm[row]]
        raise BadData(f"decision {row + 1}: the arm {arm!r} was shown and is not a candidate")


def _check_slates(found: Decisions, *, has_positions: bool) -> None:
    if found.slate is None or not has_positions:
        return
    key = found.slate * len(found.positions) + found.position
    distinct, first, counts = np.unique(key, return_index=True, return_counts=True)
    if len(distinct) < len(key):
        row = int(first[np.argmax(counts > 1)])
        position = found.positions[found.position[row]]
        raise BadData(f"decision {row + 1}: its slate has the position {position!r} twice")
