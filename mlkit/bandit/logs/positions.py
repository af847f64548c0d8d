"""How probably each position is looked at, from rankings that were random.

Where all arms come to all positions equally often, the rewards of a position differ from those of
the first by the examination alone (Craswell, Zoeter, Taylor and Ramsey, "An Experimental Comparison
of Click Position-Bias Models", 2008): P(examined at r) / P(examined at 1) = rate_r / rate_1. Pinned
arms are at no random positions: a log with some is not to be estimated from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlkit.bandit.logs import served
from mlkit.bandit.logs.served import BadLines, Decision
from mlkit.errors import BadData
from mlkit.unpacking import STREAMED, UnpackLimits

_LEAST = 1e-6
"""A position that was never rewarded is looked at now and then nevertheless."""
FEWEST_REWARDS = 10.0
"""Below this sum of rewards at a position its probability is hardly known."""


class Position(NamedTuple):
    """What is known of a position.

    Attributes:
        position: From 1.
        shown: Arms shown there at random.
        rewards: The sum of their rewards; one without feedback counts as 0.
        examined: The probability that it is looked at, that of the first position being 1.
        error: Its standard error; None for the first position.
    """

    position: int
    shown: int
    rewards: float
    examined: float
    error: float | None


def estimate(
    logs: Sequence[Path], limits: UnpackLimits = STREAMED, bad: BadLines | None = None
) -> list[Position]:
    """Estimate the examination of positions from the random decisions of logs.

    Args:
        logs: The logs.
        limits: How much a compressed file may unpack to.
        bad: What becomes of lines that are wrong; None: they are refused.

    Raises:
        InputMissing: A log cannot be read.
        BadData: A line is wrong; no decision was random, or the first position had no rewards.
    """
    shown, rewards, squares = _counts(logs, limits, bad)
    named = ", ".join(map(str, logs))
    if not shown.size:
        hint = "`mlkit bandit serve --log DIR --holdout 0.02` has a share of random rankings"
        raise BadData(f"{named}: no random decisions", hint=hint)
    if rewards[0] <= 0:
        raise BadData(f"{named}: no rewards at the first position of random decisions")
    rate = rewards / shown
    variance = np.maximum(squares / shown - rate**2, 0) / shown
    # Without any reward a mean is as uncertain as with one: it is not known to be 0.
    variance = np.where(rewards > 0, variance, 1 / shown**2)
    ratio = np.clip(rate / rate[0], _LEAST, 1.0)
    # The delta method, for the ratio of two independent means.
    errors = [None, *(np.sqrt(variance + ratio**2 * variance[0]) / rate[0])[1:].tolist()]
    rows = zip(shown.tolist(), rewards.tolist(), ratio.tolist(), errors, strict=True)
    return [Position(number, int(n), *rest) for number, (n, *rest) in enumerate(rows, 1)]


Array = np.ndarray[tuple[int], np.dtype[np.float64]]


def _counts(
    logs: Sequence[Path], limits: UnpackLimits, bad: BadLines | None
) -> tuple[Array, Array, Array]:
    """Return arms shown, sums of rewards, and of their squares, at each position."""
    decisions: dict[str, list[str]] = {}
    rewards: dict[tuple[str, str], float] = {}
    for line in served.read(logs, limits, bad):
        if isinstance(line, Decision):
            if line.source == "uniform":
                decisions[line.decision_id] = line.arms
        elif line.decision_id is not None:
            key = line.decision_id, line.arm
            rewards[key] = rewards.get(key, 0.0) + line.reward
    length = max(map(len, decisions.values()), default=0)
    shown, total, squares = np.zeros(length), np.zeros(length), np.zeros(length)
    for name, arms in decisions.items():
        values = np.array([rewards.get((name, arm), 0.0) for arm in arms])
        shown[: len(arms)] += 1
        total[: len(arms)] += values
        squares[: len(arms)] += values**2
    return shown, total, squares
