"""Policies to be judged, as a user names them, and their probabilities on a log.

uniform        every candidate with the same probability
column:NAME    the log's column NAME has the probability of the arm shown
FILE           posteriors: Thompson sampling with them; a model of another policy; or a table of
               probabilities
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mlkit.bandit.evaluation.decisions import Decisions
from mlkit.bandit.evaluation.target import Target, uniform
from mlkit.bandit.logs import csv_input
from mlkit.bandit.logs.decision_tables import read_csv
from mlkit.bandit.logs.decisions import Logged, numbers_of
from mlkit.bandit.models import file as model_file
from mlkit.bandit.models import targets as model_targets
from mlkit.bandit.models.model import PolicyModel
from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.posterior import Posteriors
from mlkit.bandit.propensities import top_k
from mlkit.errors import BadData, UsageError
from mlkit.parquet import SUFFIXES, ParquetReader
from mlkit.unpacking import UnpackLimits

Array = NDArray[np.float64]
Key = tuple[str | None, str | None]

_COLUMN = "column:"
_TOLERANCE = 1e-4
"""How far the probabilities of a table may be from a sum of 1: people round them."""


def columns_of(specs: Sequence[str]) -> list[str]:
    """Return the columns of the log that policies name.

    Raises:
        UsageError: A name is empty.
    """
    names = [spec.removeprefix(_COLUMN) for spec in specs if spec.startswith(_COLUMN)]
    if "" in names:
        raise UsageError(f"{_COLUMN} lacks a name", hint=f"{_COLUMN}NAME names a column of the log")
    return names


class FeaturesRead(NamedTuple):
    """What policies read of a log.

    Attributes:
        context: Names of features of contexts.
        of_arms: Whether they read features of arms.
    """

    context: tuple[str, ...]
    of_arms: bool


def features_of(specs: Sequence[str], limits: UnpackLimits | None = None) -> FeaturesRead:
    """Return which features the models among some policies read.

    Raises:
        InputMissing: A file cannot be read.
        BadData: A model is damaged.
    """
    models = [model_file.read(Path(each), limits) for each in specs if _is_model(each, limits)]
    names = (name for each in models for name in each.header.features.context)
    of_arms = any(each.header.features.arm for each in models)
    return FeaturesRead(tuple(dict.fromkeys(names)), of_arms)


def _is_model(spec: str, limits: UnpackLimits | None) -> bool:
    if spec == "uniform" or spec.startswith(_COLUMN):
        return False
    return model_file.version_of(Path(spec), limits) == model_file.VERSION


def load(spec: str, logged: Logged, limits: UnpackLimits | None = None) -> Target:
    """Read a policy and compute its probabilities on a log.

    Args:
        spec: `uniform`, `column:NAME`, or the path of posteriors, of a model, or of a table of
            probabilities.
        logged: The log, read with the columns that `columns_of` returns.
        limits: How much a file may unpack to.

    Raises:
        InputMissing: The file cannot be read.
        UsageError: The log lacks what the policy depends on.
        BadData: The file is not a policy, or its probabilities are wrong.
    """
    if spec == "uniform":
        return uniform(logged.decisions)
    if spec.startswith(_COLUMN):
        return Target(spec, logged.probabilities[spec.removeprefix(_COLUMN)])
    path, limits = Path(spec), limits or UnpackLimits()
    if _is_model(spec, limits):
        table = _of_model(path, model_file.read(path, limits), logged.decisions)
        return Target.of_table(spec, table, logged.decisions)
    if "probability" in _names(path, limits):
        table = _load_table(path, logged, limits)
    else:
        table = _thompson(path, file.read(path, limits), logged.decisions)
    return Target.of_table(spec, table, logged.decisions)


def _names(path: Path, limits: UnpackLimits) -> list[str]:
    if path.suffix.lower() in SUFFIXES:
        return ParquetReader(path, limits=limits).columns
    with csv_input.open_input(path) as opened:
        return csv_input.column_names(
            csv_input.text_of(csv_input.HashingReader(opened), path, limits), path
        )


def _of_model(path: Path, model: PolicyModel, decisions: Decisions) -> Array:
    ranks = _ranks(decisions.positions)
    try:
        return model_targets.probabilities(model, decisions, ranks)
    except BadData as error:
        raise BadData(f"{path}: {error.message}", hint=error.hint) from error


# Thompson sampling


class _Arms(NamedTuple):
    """The arms of posteriors and of a log: the log's first."""

    ids: list[str]
    known: NDArray[np.bool_]
    a: Array
    b: Array


def _thompson(path: Path, posteriors: Posteriors, decisions: Decisions) -> Array:
    """Return the choice probabilities of Thompson sampling, shape (cells, arms).

    At position r they are those of the r-th highest draw.
    """
    arms, own = _arms(posteriors, decisions), _own(posteriors)
    ranks, cells = _ranks(decisions.positions), decisions.cells
    depth = max(ranks) + 1
    table = np.zeros((len(cells), len(decisions.arms)))
    done: dict[tuple[str | None, int], Array] = {}
    for cell in range(len(cells)):
        context = decisions.contexts[cells.context[cell]]
        context = context if context in own else None
        key = context, int(cells.candidates[cell])
        if key not in done:
            a, b = _of_context(arms, own.get(context))
            done[key] = _choices(path, a, b, _candidates(arms, decisions, key[1]), depth)
        table[cell] = done[key][: len(decisions.arms), ranks[cells.position[cell]]]
    return table


def _arms(posteriors: Posteriors, decisions: Decisions) -> _Arms:
    own = posteriors.arms["arm"].to_pylist()
    known = set(own)
    logged = set(decisions.arms)
    ids = [*decisions.arms, *(each for each in own if each not in logged)]
    at = {name: index for index, name in enumerate(ids)}
    places = [at[name] for name in own]
    a, b = (np.full(len(ids), value) for value in posteriors.prior)
    a[places], b[places] = posteriors.arms["a"].to_numpy(), posteriors.arms["b"].to_numpy()
    return _Arms(ids, np.array([name in known for name in ids]), a, b)


def _own(posteriors: Posteriors) -> dict[str | None, pd.DataFrame]:
    """Return the posteriors of each context that has some of its own."""
    frame = posteriors.contexts.to_pandas()
    return {str(context): rows for context, rows in frame.groupby("context", sort=False)}


def _of_context(arms: _Arms, own: pd.DataFrame | None) -> tuple[Array, Array]:
    if own is None:
        return arms.a, arms.b
    at = {name: index for index, name in enumerate(arms.ids)}
    pairs = [(at[name], row) for row, name in enumerate(own["arm"]) if name in at]
    places, rows = [place for place, _ in pairs], [row for _, row in pairs]
    a, b = arms.a.copy(), arms.b.copy()
    a[places], b[places] = own["a"].to_numpy()[rows], own["b"].to_numpy()[rows]
    return a, b


def _candidates(arms: _Arms, decisions: Decisions, number: int) -> NDArray[np.bool_]:
    """Return which arms compete: those that the log names, otherwise those with posteriors."""
    if not len(decisions.available):
        return arms.known
    found = np.zeros(len(arms.ids), dtype=bool)
    found[: len(decisions.arms)] = decisions.available[number]
    return found


def _choices(path: Path, a: Array, b: Array, among: NDArray[np.bool_], depth: int) -> Array:
    """Return the probabilities of all arms at each rank, shape (arms, depth)."""
    count = int(among.sum())
    if count < depth:
        found = f"{count} arms for the positions up to {depth}"
        raise BadData(f"{path}: {found}", hint='--position "" evaluates without positions')
    chosen = np.zeros((len(a), depth))
    chosen[among] = top_k(a[among], b[among], k=depth).ranks
    return chosen


def _ranks(positions: Sequence[str]) -> list[int]:
    """Return the rank of each position, from 0: positions are numbers from 0 or 1."""
    if not all(each.isascii() and each.isdigit() and len(each) < 10 for each in positions):
        odd = next(each for each in positions if not each.isdigit() or len(each) >= 10)
        hint = '--position "" takes the probability of being shown first'
        raise UsageError(f"position {odd!r}: the policy needs ranks 1, 2, ...", hint=hint)
    numbers = [int(each) for each in positions]
    first = 0 if 0 in numbers else 1
    return [number - first for number in numbers]


# Tables of probabilities


def _load_table(path: Path, logged: Logged, limits: UnpackLimits) -> Array:
    """Read a table with the columns arm, probability and optionally context and position."""
    decisions, policy = logged.decisions, _read_table(path, limits)
    if "position" in policy.ids and "position" not in logged.fields:
        raise UsageError(f"{path}: has positions, and the log has none", hint="--position COL")
    groups = _groups(path, policy, decisions)
    cells, places = decisions.cells, "position" in policy.ids
    table = np.empty((len(cells), len(decisions.arms)))
    for cell in range(len(cells)):
        context = decisions.contexts[cells.context[cell]]
        position = decisions.positions[cells.position[cell]] if places else None
        row = groups.get((context, position), groups.get((None, position)))
        if row is None:
            raise BadData(f"{path}: no probabilities for {_describe((context, position))}")
        table[cell] = row
    return _among_candidates(path, table, decisions)


class _Table(NamedTuple):
    """A table of probabilities: ids by column, None where there is none."""

    ids: dict[str, list[str | None]]
    probability: list[float]


def _read_table(path: Path, limits: UnpackLimits) -> _Table:
    if path.suffix.lower() in SUFFIXES:
        table = ParquetReader(path, limits=limits).table()
    else:
        table = read_csv(path, list, limits)
    known = ("arm", "probability", "context", "position")
    for name in table.column_names:
        if name not in known:
            hint = f"a table of probabilities has the columns {', '.join(known)}"
            raise BadData(f"{path}: unknown column {name!r}", hint=hint)
    if "arm" not in table.column_names:
        raise file.missing_column(path, "arm", table.column_names)
    return _check(path, table)


def _check(path: Path, table: pa.Table) -> _Table:
    """Return a table with text ids and probabilities in [0, 1]."""
    ids = {name: _texts(table[name]) for name in table.column_names if name != "probability"}
    values = numbers_of(table["probability"], "probability", lambda row: f"{path}: row {row + 1}")
    bad = ~((values >= 0) & (values <= 1)) | np.array([each is None for each in ids["arm"]], bool)
    if bad.any():
        row = int(np.argmax(bad))
        arm, value = ids["arm"][row], table["probability"][row].as_py()
        found = f"arm {arm!r} has the probability {value!r}"
        raise BadData(f"{path}: row {row + 1}: {found}, expected a number in [0, 1]")
    return _Table(ids, values.tolist())


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    return [None if each is None or each == "" else str(each) for each in column.to_pylist()]


def _groups(path: Path, policy: _Table, decisions: Decisions) -> dict[Key, Array]:
    """Return the probabilities of the log's arms for each (context, position) of a table."""
    at = {name: index for index, name in enumerate(decisions.arms)}
    none: list[str | None] = [None] * len(policy.probability)
    keys = [policy.ids.get(name, none) for name in _KEYS]
    totals: dict[Key, float] = {}
    seen: set[tuple[Key, str]] = set()
    found: dict[Key, Array] = {}
    for context, position, arm, value in zip(
        *keys, map(str, policy.ids["arm"]), policy.probability, strict=True
    ):
        key = context, position
        if (key, arm) in seen:
            raise BadData(f"{path}: the arm {arm!r} appears twice for {_describe(key)}")
        seen.add((key, arm))
        totals[key] = totals.get(key, 0.0) + value
        row = found.setdefault(key, np.zeros(len(at)))
        if arm in at:
            row[at[arm]] = value
    for key, total in totals.items():
        if abs(total - 1) > _TOLERANCE:
            raise BadData(
                f"{path}: the probabilities for {_describe(key)} sum to {total:.6g}, not 1"
            )
    return {key: row / totals[key] for key, row in found.items()}


_KEYS = ("context", "position")


def _describe(key: Key) -> str:
    context, position = key
    where = "decisions without a context" if context is None else f"the context {context!r}"
    return where if position is None else f"{where} at the position {position!r}"


def _among_candidates(path: Path, table: Array, decisions: Decisions) -> Array:
    """Drop what is not a candidate, and scale the rest to 1, where the log names candidates."""
    if not len(decisions.available):
        return table
    left = np.where(decisions.allowed, table, 0.0)
    totals = left.sum(axis=1, keepdims=True)
    if not totals.all():
        raise BadData(f"{path}: no probability on any candidate of some decisions")
    return np.asarray(left / totals)
