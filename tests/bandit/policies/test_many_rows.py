"""Many rows at once: the kernel learns what NumPy learns from them, and refuses what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mlkit.bandit.policies.linear import LinTS, LinUCB
from mlkit.errors import BadData

ROWS = 5000


def rows(arms: int, dimension: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    # Chances that differ: some arms are shown often, one is never shown.
    chances = np.arange(arms) + (arms == 1)
    shown = rng.choice(arms, size=ROWS, p=chances / chances.sum())
    features = rng.normal(size=(ROWS, dimension)) * 10 ** rng.uniform(-2, 2, dimension)
    return shown, rng.normal(size=ROWS), features, rng.random(ROWS)


def learned_at_once(policy, shown, rewards, features, weights=None):
    """Learn by NumPy: an array in another order does not suit the kernel."""
    policy.update(shown, rewards, np.asfortranarray(features), weights)
    return policy


@pytest.mark.parametrize("kind", [LinUCB, LinTS])
@pytest.mark.parametrize(("arms", "dimension"), [(1, 2), (2, 1), (7, 16), (40, 33), (300, 3)])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_learns_the_same(kind, arms, dimension, weighted):
    expected, found = kind(arms, dimension), kind(arms, dimension)
    for seed in (1, 2):  # the second time the means are not 0
        shown, rewards, features, weights = rows(arms, dimension, seed)
        given = weights if weighted else None
        learned_at_once(expected, shown, rewards, features, given)
        found.update(shown, rewards, features, given)
    for name in ("mean", "precision", "whitening"):
        one, other = (getattr(each.weights, name) for each in (found, expected))
        scale = np.abs(other).max(axis=tuple(range(1, other.ndim)), keepdims=True) + 1e-300
        assert_allclose(one / scale, other / scale, rtol=1e-9, atol=1e-12)


def test_columns_of_other_types_and_orders_teach_the_same():
    first, second = LinUCB(7, 16), LinUCB(7, 16)
    shown, rewards, features, _ = rows(7, 16)
    first.update(shown, rewards, features)
    second.update(shown.astype(np.uint8), np.repeat(rewards, 2)[::2], features)
    assert_array_equal(first.weights.mean, second.weights.mean)
    second = LinUCB(7, 16)
    second.update(shown.tolist(), rewards.tolist(), features)
    assert_array_equal(first.weights.mean, second.weights.mean)


def test_the_same_rows_give_the_same_bits():
    first, second = LinUCB(50, 20), LinUCB(50, 20)
    shown, rewards, features, _ = rows(50, 20)
    for policy in (first, second):
        policy.update(shown, rewards, features)
    assert_array_equal(first.weights.mean, second.weights.mean)
    assert_array_equal(first.weights.precision, second.weights.precision)
    assert_array_equal(first.weights.precision, first.weights.precision.transpose(0, 2, 1))


MANY = """
import numpy as np
from mlkit.bandit.policies.linear import LinUCB
rng = np.random.default_rng(1)
policy = LinUCB({arms}, 8)
shown, features = rng.integers({arms}, size=100_000), rng.normal(size=(100_000, 8))
policy.update(shown, rng.random(100_000), features)
"""
"""In slices, or with 300 arms group by group, as their sums take much of the rows' memory."""


@pytest.mark.parametrize("arms", [3, 300])
def test_one_thread_and_several_give_the_same_bits(arms):
    learn = MANY.format(arms=arms)
    alone = "import os, sys\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    write = "for each in (policy.weights.mean, policy.weights.precision):\n"
    write += "    sys.stdout.buffer.write(each.tobytes())"
    done = subprocess.run(
        [sys.executable, "-c", alone + learn + write], check=True, capture_output=True, timeout=120
    )
    names = {}
    exec(learn, names)
    weights = names["policy"].weights
    assert done.stdout == weights.mean.tobytes() + weights.precision.tobytes()


@pytest.mark.parametrize("arms", [3, 300])
def test_slices_and_chunks_teach_what_all_rows_do(arms):
    rng = np.random.default_rng(2)
    shown, features = rng.integers(arms, size=100_000), rng.normal(size=(100_000, 8))
    rewards, weights = rng.random(100_000), rng.random(100_000)
    found, expected = LinUCB(arms, 8), learned_at_once(LinUCB(arms, 8), shown, rewards, features)
    found.update(shown, rewards, features)
    assert_allclose(found.weights.precision, expected.weights.precision, rtol=1e-9, atol=1e-9)
    assert_allclose(found.weights.mean, expected.weights.mean, rtol=1e-9, atol=1e-12)
    found.update(shown, rewards, features, weights)
    learned_at_once(expected, shown, rewards, features, weights)
    assert_allclose(found.weights.mean, expected.weights.mean, rtol=1e-9, atol=1e-12)


def test_an_arm_that_was_not_shown_keeps_its_prior():
    policy = LinUCB(40, 5, ridge=3.0)
    shown, rewards, features, _ = rows(40, 5)
    policy.update(shown, rewards, features)
    assert_array_equal(policy.weights.precision[0], 3 * np.eye(5))
    assert_array_equal(policy.weights.mean[0], np.zeros(5))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("features", np.nan, "features[77, 1]: nan is not in"),
        ("features", -np.inf, "features[77, 1]: -inf is not in"),
        ("features", 1e101, "features[77, 1]: 1e+101 is not in"),
        ("features", -1e101, "features[77, 1]: -1e+101 is not in"),
        ("rewards", np.inf, "rewards[77]: inf is not in"),
        ("weights", 1.5, "weights[77]: 1.5 is not in"),
        ("rewards", np.nan, "rewards[77]: nan is not in"),
        ("arms", 7, "arms[77]: 7 is not in"),
        ("arms", -1, "arms[77]: -1 is not in"),
    ],
)
@pytest.mark.parametrize("dimension", [2, 9])  # less than a vector, and more
def test_what_is_wrong_is_named_and_nothing_is_learned(place, value, message, dimension):
    given = dict(zip(("arms", "rewards", "features", "weights"), rows(7, dimension), strict=True))
    given[place][(77, 1) if place == "features" else 77] = value
    policy = LinUCB(7, dimension)
    with pytest.raises(BadData) as failure:
        policy.update(**given)
    assert message in str(failure.value)
    assert_array_equal(policy.weights.mean, np.zeros((7, dimension)))


@pytest.mark.parametrize(
    "change",
    [
        {"rewards": np.zeros(ROWS - 1)},
        {"features": np.zeros((ROWS, 3))},
        {"features": np.zeros((ROWS - 1, 2))},
        {"weights": np.ones(ROWS + 1)},
        {"arms": np.zeros((ROWS, 1), dtype=int)},
        {"arms": np.zeros(ROWS)},
    ],
)
def test_wrong_shapes_are_refused(change):
    given = dict(zip(("arms", "rewards", "features", "weights"), rows(7, 2), strict=True))
    with pytest.raises(BadData):
        LinUCB(7, 2).update(**given | change)
