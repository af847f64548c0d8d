"""Regret in the worlds of two papers, beside implementations of their algorithms in NumPy.

The papers show curves without tables, so that each policy is held against its paper's pseudo-code:
all runs in step, by another generator, and upper bounds by bisection.

- Chapelle and Li (2011), figure 1: ten arms, the best with a mean of 0.5 and the others 0.4.
- Garivier and Cappe (2011), figures 1 and 2: two arms of 0.9 and 0.8 for 5,000 steps, and ten arms
  with low rewards. As there, UCB's bound is sqrt(log t / (2 n)), and KL-UCB's c is 0.
"""

from __future__ import annotations

import numpy as np
import pytest

from mlkit.bandit.simulation.scenario import Arm, Rewards, Scenario
from mlkit.bandit.simulation.simulation import simulate

CHAPELLE = (0.5, *[0.4] * 9)
TWO_ARMS = (0.9, 0.8)
LOW_REWARDS = (0.1, *[0.05] * 3, *[0.02] * 3, *[0.01] * 3)
UCB, KL_UCB = "ucb1:exploration=0.5", "kl-ucb:c=0"


def world(means, steps, runs):
    return Scenario(
        Rewards.bernoulli, tuple(Arm(mean=each) for each in means), (), steps, runs, 0, ()
    )


def divergence(p, q):
    """Return kl(p, q) of Bernoulli distributions."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ones = np.where(p > 0, p * np.log(p / q), 0)
        return ones + np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0)


def kl_bound(mean, budget):
    low, high = mean, np.ones_like(mean)
    for _ in range(18):
        middle = (low + high) / 2
        inside = divergence(mean, middle) <= budget
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def indices(policy, pulls, sums, step, rng):
    """Return what ranks the arms of each run in a step, from 1 on."""
    if policy == "thompson":  # Chapelle and Li, algorithm 2
        return rng.beta(1 + sums, 1 + pulls - sums)
    if (pulls == 0).any():  # each arm once
        return -pulls
    if policy == UCB:
        return sums / pulls + np.sqrt(np.log(step) / (2 * pulls))
    return kl_bound(sums / pulls, np.log(step) / pulls)  # Garivier and Cappe, algorithm 1


def regrets(policy, means, steps, runs):
    """Return the regret of each run."""
    rng, means = np.random.default_rng(7), np.array(means)
    pulls, sums = np.zeros((2, runs, len(means)))
    for step in range(1, steps + 1):
        arms = indices(policy, pulls, sums, step, rng).argmax(axis=1)
        pulls[range(runs), arms] += 1
        sums[range(runs), arms] += rng.random(runs) < means[arms]
    return pulls @ (means.max() - means)


def bound_of_lai_and_robbins(means):
    """Return the least factor of log t that regret can have."""
    worse = np.array([each for each in means if each < max(means)])
    return ((max(means) - worse) / divergence(worse, max(means))).sum()


@pytest.mark.parametrize(
    ("means", "policy", "steps"),
    [
        (CHAPELLE, "thompson", 3_000),
        (CHAPELLE, UCB, 3_000),
        (TWO_ARMS, "thompson", 5_000),
        (TWO_ARMS, UCB, 5_000),
        (TWO_ARMS, KL_UCB, 1_500),
        (LOW_REWARDS, "thompson", 3_000),
        (LOW_REWARDS, UCB, 3_000),
        (LOW_REWARDS, KL_UCB, 600),
    ],
)
@pytest.mark.parametrize("share", [0.3, pytest.param(1, marks=pytest.mark.nightly)])
def test_a_policy_loses_what_the_pseudo_code_of_its_paper_loses(means, policy, steps, share):
    steps = round(steps * share)
    lost = regrets(policy, means, steps, runs=48)
    found = simulate(world(means, steps, runs=512), policy)
    error = np.hypot(lost.std(ddof=1) / len(lost) ** 0.5, found.error)
    assert found.regret[-1] == pytest.approx(lost.mean(), abs=4 * error)


@pytest.mark.parametrize("means", [CHAPELLE, LOW_REWARDS])
def test_regret_grows_as_the_bound_of_lai_and_robbins(means):
    found = simulate(world(means, 100_000, runs=48), "thompson")
    late = found.steps > 10_000
    slope = np.polyfit(np.log(found.steps[late]), found.regret[late], 1)[0]
    assert slope == pytest.approx(bound_of_lai_and_robbins(means), rel=0.3)
