"""The policy to be judged: its probabilities of what a log shows, and of what it could show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.evaluation.decisions import Decisions

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """A policy to be judged on a log.

    Attributes:
        name: What reports call it.
        taken: The probabilities with which it shows the arms that the log shows, shape (rows,).
        table: Its probabilities of the log's arms, shape (cells, arms). None: only `taken` is
            known, and estimators that need a model of rewards are left out.
    """

    name: str
    taken: Array
    table: Array | None = None

    @classmethod
    def of_table(cls, name: str, table: Array, decisions: Decisions) -> Target:
        """Make the target of a table of shape (cells, arms); rows may sum to less than 1.

        What a row lacks is the probability of arms that the log never shows.
        """
        return cls(name, np.asarray(table[decisions.cells.of_row, decisions.arm]), table)


def uniform(decisions: Decisions) -> Target:
    """Return the policy that shows every candidate with the same probability."""
    allowed = decisions.allowed
    return Target.of_table("uniform", allowed / allowed.sum(axis=1, keepdims=True), decisions)


def unsupported(target: Target, decisions: Decisions) -> float | None:
    """Return the share of a policy's probability on arms that the log lacks at that position.

    The mean over the rows of the probability of arms that no row of the position shows; None if
    only the probabilities of the arms taken are known.
    """
    if target.table is None:
        return None
    seen = np.zeros((len(decisions.positions), len(decisions.arms)), dtype=bool)
    seen[decisions.position, decisions.arm] = True
    cells = decisions.cells
    supported = np.where(seen[cells.position], target.table, 0.0).sum(axis=1)
    share = 1 - float(supported[cells.of_row].mean())
    return share if share > 1e-9 else 0.0


def shares(target: Target, decisions: Decisions) -> Array:
    """Return the share in which a policy shows each arm on a log's rows, shape (arms,).

    Where only the probabilities of the arms taken are known it is estimated by their weights.
    """
    if target.table is None:
        weight = target.taken / decisions.propensity
        return np.bincount(decisions.arm, weight, len(decisions.arms)) / len(decisions)
    rows = np.bincount(decisions.cells.of_row, minlength=len(decisions.cells))
    return np.asarray(rows @ target.table / len(decisions))
