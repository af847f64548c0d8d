"""Counts and sums of rewards, an arm each: all that policies without a prior know."""

from __future__ import annotations

import numpy as np

from mlkit.bandit.policies.policy import Array, Indices


class ArmMeans:
    """Pulls and sums of rewards.

    Args:
        arms: Number of arms.

    Attributes:
        pulls: Rewards counted, shape (arms,).
        sums: Sums of rewards, shape (arms,).
    """

    def __init__(self, arms: int) -> None:
        self.pulls, self.sums = np.zeros(arms), np.zeros(arms)

    def add(self, arms: Indices, rewards: Array, weights: Array) -> None:
        """Count weighted rewards of arms, one per row; fewer than none are none."""
        self.pulls += np.bincount(arms, weights, minlength=self.pulls.size)
        self.sums += np.bincount(arms, weights * rewards, minlength=self.sums.size)
        np.maximum(self.pulls, 0, out=self.pulls)
        self.sums[self.pulls == 0] = 0

    @property
    def total(self) -> float:
        """Pulls of all arms."""
        return float(self.pulls.sum())

    def of(self, arms: Indices, unknown: float) -> Array:
        """Return the mean rewards of arms, `unknown` where there is none, shape (arms,)."""
        pulls = self.pulls[arms]
        return np.where(pulls > 0, self.sums[arms] / np.where(pulls > 0, pulls, 1), unknown)

    def forget(self, arms: Indices, kept: Array) -> None:
        """Keep a part of what is known of arms."""
        self.pulls[arms] *= kept
        self.sums[arms] *= kept
