"""A model of rewards for the direct method: shrunken means, fitted by cross-fitting.

The mean reward of an arm at a position is shrunk to the overall mean, and that of an arm in a cell
(context, position, candidates) to the arm's:

    m(arm)       = (sum of rewards + s m)      / (rows + s)
    m(cell, arm) = (sum of rewards + s m(arm)) / (rows + s)        s: `SHRINKAGE` rows

Features of contexts count only where sets of them recur: a mean of single rows is worthless, and
its error could not be estimated.

A row is predicted by the model of the other folds (Chernozhukov et al. 2018), so that its own
reward does not make the model look better than it is.

Rows may have weights: the sums then are of weighted rewards, and of weights instead of rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.evaluation.decisions import Codes, Decisions

Array = NDArray[np.float64]

FOLDS = 3
SHRINKAGE = 1.0
LEAST_RECURRING = 30
"""Rows for each set of features, on average, from which on a cell has a mean for each."""


class Predicted(NamedTuple):
    """What the model expects, shape (rows,) each.

    Attributes:
        taken: The reward of the arm that was shown.
        value: The mean reward under the policy to be judged.
        influence: How much a row's reward moves the mean of `value`, in units of one row.
    """

    taken: Array
    value: Array
    influence: Array


def folds(decisions: Decisions, seed: int) -> Codes:
    """Assign every row to a fold at random; the rows of a slate share one."""
    generator = np.random.Generator(np.random.SFC64(seed))
    units = np.arange(len(decisions)) if decisions.slate is None else decisions.slate
    count = int(units.max(initial=-1)) + 1
    return np.asarray((generator.permutation(count) % FOLDS)[units])


def predict(
    decisions: Decisions,
    table: Array,
    fold: Codes,
    *,
    by_context: bool,
    weight: Array | None = None,
) -> Predicted:
    """Predict the rewards of each fold by the model of the others.

    Args:
        decisions: The log.
        table: The probabilities of the policy to be judged, shape (cells, arms).
        fold: The fold of each row, shape (rows,).
        by_context: Whether to model each cell, or only each arm and position.
        weight: How much each row counts in the fit, at least 0, shape (rows,); None: 1 each. The
            influence is that of a fit without weights.
    """
    taken, value = np.empty(len(decisions)), np.empty(len(decisions))
    cell = decisions.cells.of_row
    for number in range(FOLDS):
        rows = fold == number
        model, overall = _fit(decisions, ~rows, weight, by_context=by_context)
        taken[rows] = model[cell[rows], decisions.arm[rows]]
        # What a row of the table lacks are arms of which only the overall mean is known.
        means = (table * model).sum(axis=1) + (1 - table.sum(axis=1)) * overall
        value[rows] = means[cell[rows]]
    return Predicted(taken, value, _influence(decisions, table, by_context=by_context))


def _fit(
    decisions: Decisions, rows: NDArray[np.bool_], weight: Array | None, *, by_context: bool
) -> tuple[Array, float]:
    """Fit the means of arms in cells, shape (cells, arms), and the overall mean."""
    reward, arm = decisions.reward[rows], decisions.arm[rows]
    count = _scale(np.ones(len(reward)) if weight is None else weight[rows])
    overall = float((count * reward).mean()) if len(reward) else 0.0
    shape = (len(decisions.positions), len(decisions.arms))
    arms = _shrunken(decisions.position[rows], arm, reward, count, np.full(shape, overall))
    if not by_context:
        return arms[decisions.cells.position], overall
    group = _groups(decisions)
    position = np.zeros(int(group.max()) + 1, dtype=np.int64)
    position[group] = decisions.cells.position
    base = arms[position]
    of_row = group[decisions.cells.of_row[rows]]
    return _shrunken(of_row, arm, reward, count, base)[group], overall


def _groups(decisions: Decisions) -> Codes:
    """Return the group of each cell that shares its means, from 0, shape (cells,)."""
    cells = decisions.cells
    if len(decisions.features) * LEAST_RECURRING <= len(decisions) or decisions.feature is None:
        return np.arange(len(cells))
    key = np.stack([cells.context, cells.position, cells.candidates])
    return np.unique(key, axis=1, return_inverse=True)[1].reshape(-1)


def _scale(weight: Array) -> Array:
    """Return weights with a mean of 1, so that shrinkage is in rows; all 0 count alike."""
    mean = weight.mean() if len(weight) else 0.0
    return weight / mean if mean > 0 else np.ones_like(weight)


def _shrunken(group: Codes, arm: Codes, reward: Array, count: Array, toward: Array) -> Array:
    sums = _counts(group, arm, toward.shape, count * reward)
    return np.asarray(
        (sums + SHRINKAGE * toward) / (_counts(group, arm, toward.shape, count) + SHRINKAGE)
    )


def _counts(group: Codes, arm: Codes, shape: tuple[int, ...], weight: Array | None = None) -> Array:
    found = np.bincount(group * shape[1] + arm, weight, minlength=shape[0] * shape[1])
    return np.asarray(found.reshape(shape), dtype=np.float64)


def _influence(decisions: Decisions, table: Array, *, by_context: bool) -> Array:
    """Return d(sum of values)/d(reward) of each row, to first order: its arm's share there."""
    cells, arms = decisions.cells, len(decisions.arms)
    rows = np.bincount(cells.of_row, minlength=len(cells)).astype(float)
    wanted = table * rows[:, None]
    of_cell = _groups(decisions) if by_context else cells.position
    summed = np.zeros((int(of_cell.max()) + 1, arms))
    np.add.at(summed, of_cell, wanted)
    group = of_cell[cells.of_row]
    counts = _counts(group, decisions.arm, summed.shape)
    return np.asarray((summed / (counts + SHRINKAGE))[group, decisions.arm])
