"""Runs of policies in a world, and what they amount to."""

from __future__ import annotations

import inspect
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit import _simulation
from mlkit.bandit.policies import catalog
from mlkit.bandit.policies.catalog import PolicySpec
from mlkit.bandit.simulation.scenario import Rewards, Scenario
from mlkit.errors import UsageError

Array = NDArray[np.float64]
SIMULATED = {
    "thompson": ("a", "b"),
    "gamma-poisson": ("shape", "rate"),
    "normal": ("mean", "kappa", "a", "b"),
    "ucb1": ("exploration",),
    "kl-ucb": ("c",),
    "epsilon-greedy": ("scale", "decay", "unknown"),
    "softmax": ("temperature", "unknown"),
    "explore-then-commit": ("pulls",),
    "lin-ts": ("ridge", "scale"),
    "lin-ucb": ("ridge", "alpha"),
    "logistic": ("ridge", "scale"),
}
"""The policies that are simulated, with their parameters in the order of the kernel."""
_CHECKPOINTS = 60


class Result(NamedTuple):
    """What the runs of a policy amount to.

    Attributes:
        policy: The policy.
        steps: Checkpoints, shape (checkpoints,).
        regret: Mean of the expected rewards lost until there, shape (checkpoints,).
        low: Quantile of 5 % over the runs, likewise.
        high: Quantile of 95 %, likewise.
        error: Standard error of the mean regret at the end.
        best: Share of the steps with the best arm, over all runs.
        found: Runs that have found the best arm: shown in 90 of 100 steps.
        time: Median of the steps until then, of these runs; None: no run has found it.
    """

    policy: str
    steps: NDArray[np.int64]
    regret: Array
    low: Array
    high: Array
    error: float
    best: float
    found: int
    time: float | None


def simulate(scenario: Scenario, policy: str, *, seed: int = 0, threads: int = 1) -> Result:
    """Run a policy in a world; the same seed gives the same result with any number of threads.

    Args:
        scenario: The world.
        policy: The policy, such as `ucb1`.
        seed: In [0, 2**64).
        threads: Threads that share the runs.

    Raises:
        UsageError: The policy is not known, not simulated, or learns from other rewards.
    """
    spec = catalog.parse(policy)
    steps = checkpoints(scenario.steps)
    arms = [
        (a.mean or 0.0, a.deviation, a.drift, a.amplitude, a.period, a.arrives, a.leaves)
        for a in scenario.arms
    ]
    jumps = [(j.step, j.arm, j.mean or 0.0, j.weights or ()) for j in scenario.jumps]
    features = scenario.features
    regret, best, found = _simulation.simulate(
        int(scenario.rewards),
        arms,
        jumps,
        scenario.steps,
        scenario.delay,
        (
            [weight for arm in scenario.arms for weight in arm.weights or ()],
            features is not None and features.intercept,
        ),
        _users(scenario),
        _kind(spec, scenario),
        _parameters(spec),
        seed,
        scenario.runs,
        steps.tolist(),
        threads,
    )
    return _summary(str(spec), steps, regret, best, found)


def checkpoints(steps: int) -> NDArray[np.int64]:
    """Return the steps at which results are kept: evenly on a logarithmic scale, and the last."""
    return np.unique(np.geomspace(1, steps, min(_CHECKPOINTS, steps)).round().astype(np.int64))


def _users(scenario: Scenario) -> tuple[list[float], list[float], bool]:
    if scenario.users is None:
        return [], [], False
    users = scenario.users
    return np.cumsum(users.pulls).tolist(), users.means.ravel().tolist(), users.apart


def _kind(spec: PolicySpec, scenario: Scenario) -> int:
    rewards = scenario.rewards
    if spec.name not in SIMULATED:
        hint = f"simulated are {', '.join(SIMULATED)}"
        raise UsageError(f"policy {spec.name}: not simulated", hint=hint)
    if spec.has_features and scenario.features is None:
        hint = "[features] in the scenario, and weights instead of means"
        raise UsageError(f"policy {spec.name}: the scenario has no features", hint=hint)
    for name in ("shared", "diagonal"):
        if spec.parameters.get(name):
            raise UsageError(f"policy {spec}: not simulated with {name}=true")
    low, high = spec.rewards
    if (rewards is not Rewards.bernoulli and high <= 1) or (rewards is Rewards.normal and low >= 0):
        text = f"policy {spec.name}: learns from rewards in [{low:g}, {high:g}]"
        raise UsageError(f"{text}, not {rewards.name} ones")
    return list(SIMULATED).index(spec.name)


def _parameters(spec: PolicySpec) -> list[float]:
    signature = inspect.signature(catalog.CLASSES[spec.name].__init__).parameters
    usual = {name: signature[name].default for name in SIMULATED[spec.name]}
    return [float({**usual, **spec.parameters}[name]) for name in SIMULATED[spec.name]]


def _summary(
    policy: str, steps: NDArray[np.int64], regret: Array, best: Array, found: NDArray[np.int64]
) -> Result:
    low, high = np.quantile(regret, [0.05, 0.95], axis=0)
    runs, times = len(regret), found[found >= 0]
    error = float(regret[:, -1].std(ddof=1) / runs**0.5) if runs > 1 else float("nan")
    time = float(np.median(times)) if times.size else None
    share = float(best[:, -1].mean() / steps[-1])
    mean = regret.mean(axis=0)
    return Result(policy, steps, mean, low, high, error, share, int(times.size), time)
