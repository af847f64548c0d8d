"""Rewards that are taken back: every policy is as it would be without them, or refuses."""

from __future__ import annotations

import numpy as np
import pytest

from mlkit.bandit.policies import catalog
from mlkit.errors import UsageError

FORGETFUL = ("explore-then-commit", "logistic")


@pytest.mark.parametrize("name", sorted(catalog.NAMES))
def test_what_is_withdrawn_leaves_no_trace(name):
    spec, generator = catalog.parse(name), np.random.default_rng(1)
    arms, rewards = generator.integers(0, 4, 60), generator.integers(0, 2, 60).astype(float)
    features = generator.normal(size=(60, 3))
    policy, other = spec.make(4, 3), spec.make(4, 3)
    policy.update(arms, rewards, features)
    if name in FORGETFUL:
        assert not spec.takes_back
        with pytest.raises(UsageError, match="cannot take rewards back"):
            policy.withdraw(arms, rewards, features)
        return
    assert spec.takes_back
    policy.withdraw(arms[:7], rewards[:7], features[:7])
    policy.withdraw(arms[7:8], rewards[7:8], features[7:8])
    other.update(arms[8:], rewards[8:], features[8:])
    for state, values in catalog.arrays(other).items():
        np.testing.assert_allclose(catalog.arrays(policy)[state], values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(catalog.NAMES) - {*FORGETFUL, "lin-ts", "lin-ucb"}))
def test_what_was_never_learned_leaves_an_arm_as_it_was(name):
    policy = catalog.parse(name).make(2, 0)
    before = {key: values.copy() for key, values in catalog.arrays(policy).items()}
    for reward in (0.0, 1.0, 0.0):
        policy.withdraw([0], [reward])
    for key, values in catalog.arrays(policy).items():
        assert np.isfinite(values).all()
        if key != "sums":
            np.testing.assert_allclose(values, before[key], err_msg=key)
    policy.update([0, 1], [1.0, 0.0])
    assert sorted(policy.select([0, 1], np.random.default_rng(1), 2)) == [0, 1]
