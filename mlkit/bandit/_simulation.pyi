"""Simulated bandits; mlkit.bandit.simulation checks and calls it."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

__all__: list[str] = ["simulate"]

def simulate(
    rewards: int,
    arms: Sequence[tuple[float, float, float, float, float, int, int]],
    jumps: Sequence[tuple[int, int, float, Sequence[float]]],
    steps: int,
    delay: int,
    features: tuple[Sequence[float], bool],
    users: tuple[Sequence[float], Sequence[float], bool],
    kind: int,
    parameters: Sequence[float],
    seed: int,
    runs: int,
    checkpoints: Sequence[int],
    threads: int,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Simulate runs of a policy.

    Returns:
        Regret and steps with the best arm, shape (runs, checkpoints), and the step by which each
        run has found the best arm, or -1.
    """
