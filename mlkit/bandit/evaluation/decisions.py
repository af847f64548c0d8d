"""Logged decisions as arrays: what was shown where, with which probability, and what it earned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.errors import BadData

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Flags = NDArray[np.bool_]

MOST_CELLS = 1 << 24
"""Most pairs of a cell and an arm: each takes some hundred bytes while a policy is evaluated."""


class Cells(NamedTuple):
    """The distinct (context, features, position, candidates) of a log, one entry per cell.

    Attributes:
        context: Index into the log's contexts.
        position: Index into its positions.
        candidates: Index into its sets of candidates.
        feature: Index into its sets of features.
        of_row: The cell of each row, shape (rows,).
    """

    context: Codes
    position: Codes
    candidates: Codes
    feature: Codes
    of_row: Codes

    def __len__(self) -> int:
        return len(self.context)


class FeatureSet(NamedTuple):
    """The features of a decision, by name.

    Attributes:
        context: Those of the context.
        arms: Those of arms, by the ids of arms; an arm that is not there has the policy's own.
    """

    context: Mapping[str, Any] = {}
    arms: Mapping[str, Mapping[str, Any]] = {}


@dataclass(frozen=True)
class Decisions:
    """A log of decisions, one row per arm that was shown.

    Attributes:
        arms: Ids of the arms that were shown or were candidates.
        contexts: Ids of the contexts; None: no context.
        positions: The positions, in order; one entry if the log has none.
        arm: Index of the arm shown, shape (rows,).
        reward: What it earned, shape (rows,).
        propensity: The probability with which it was shown, in (0, 1], shape (rows,).
        context: Index of the context, shape (rows,).
        position: Index of the position, shape (rows,).
        candidates: Index of the set of candidates, shape (rows,).
        available: Whether an arm is in a set of candidates, shape (sets, arms); no rows: the log
            does not name candidates.
        slate: Number of the slate that a row belongs to, from 0, shape (rows,); None: each row
            is a decision of its own.
        features: The sets of features.
        feature: Index of the set of features, shape (rows,); None: the log has none.
    """

    arms: Sequence[str]
    contexts: Sequence[str | None]
    positions: Sequence[str]
    arm: Codes
    reward: Array
    propensity: Array
    context: Codes
    position: Codes
    candidates: Codes
    available: Flags
    slate: Codes | None = None
    features: Sequence[FeatureSet] = (FeatureSet(),)
    feature: Codes | None = None

    def __len__(self) -> int:
        return len(self.arm)

    @cached_property
    def cells(self) -> Cells:
        """The distinct (context, features, position, candidates).

        Raises:
            BadData: There are too many pairs of a cell and an arm.
        """
        sets, places = max(1, len(self.available)), len(self.positions)
        key = (self.context * places + self.position) * sets + self.candidates
        if self.feature is not None:
            key = key * len(self.features) + self.feature
        found, of_row = np.unique(key, return_inverse=True)
        if len(found) * len(self.arms) > MOST_CELLS:
            what = "contexts, features, positions and candidates"
            pairs = f"{len(found):,} {what}, times {len(self.arms):,}"
            hint = "evaluate without contexts, or with segments of users as contexts"
            raise BadData(f"too many: {pairs} arms, expected at most {MOST_CELLS:,}", hint=hint)
        rest, feature = np.divmod(found, 1 if self.feature is None else len(self.features))
        pair, candidates = np.divmod(rest, sets)
        context, position = np.divmod(pair, places)
        return Cells(context, position, candidates, feature, of_row.reshape(-1))

    @cached_property
    def allowed(self) -> Flags:
        """Whether an arm may be shown in a cell, shape (cells, arms)."""
        if len(self.available):
            return np.asarray(self.available[self.cells.candidates])
        return np.ones((len(self.cells), len(self.arms)), dtype=bool)

    @cached_property
    def reward_range(self) -> tuple[float, float]:
        """The range of the rewards: [0, 1] if all lie there, otherwise that of the log."""
        low, high = float(self.reward.min()), float(self.reward.max())
        return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
