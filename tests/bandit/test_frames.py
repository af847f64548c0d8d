"""pandas in and out of bandits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from mlkit.bandit import BetaSampler, BetaThompson, LinTS, beta_cdf
from mlkit.bandit.evaluation import estimators
from mlkit.bandit.posteriors import file


def test_series_of_parameters_are_drawn_from_as_arrays_are():
    index = pd.Index(["x", "y", "z"], name="arm")
    a, b = pd.Series([1.0, 2.0, 3.0], index), pd.Series([3.0, 2.0, 1.0], index)
    expected = BetaSampler(seed=1).sample(a.to_numpy(), b.to_numpy())
    assert_array_equal(BetaSampler(seed=1).sample(a, b), expected)
    assert_array_equal(beta_cdf(0.5, a, b), beta_cdf(0.5, a.to_numpy(), b.to_numpy()))


def test_policies_learn_from_columns_of_a_frame():
    log = pd.DataFrame({"arm": [0, 1, 0], "reward": [1.0, 0.0, 1.0]})
    one, other = BetaThompson(2), BetaThompson(2)
    one.update(log["arm"], log["reward"])
    other.update([0, 1, 0], [1.0, 0.0, 1.0])
    chosen, expected = (each.select([0, 1], np.random.default_rng(1), k=2) for each in (one, other))
    assert_array_equal(chosen, expected)
    features = pd.DataFrame({"age": [0.1, 0.2, 0.3], "hour": [1.0, 2.0, 3.0]})
    linear, same = LinTS(2, 2), LinTS(2, 2)
    linear.update(log["arm"], log["reward"], features)
    same.update([0, 1, 0], [1.0, 0.0, 1.0], features.to_numpy())
    assert_array_equal(linear.weights.mean, same.weights.mean)


def test_estimators_take_series():
    policy, propensity = pd.Series([0.5, 0.1]), pd.Series([0.25, 0.2])
    weight = estimators.weights(policy, propensity)
    assert estimators.inverse_propensity(weight, np.array([1.0, 0.0])).mean() == pytest.approx(1.0)


def test_posteriors_are_frames_with_a_row_an_arm(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("context,arm,a,b,pulls\n,x,3,1,2\n,y,1,1,0\nu,x,2,1,1\n")
    posteriors = file.read(path)
    arms = posteriors.arms.to_pandas()
    assert arms.set_index("arm")["a"].to_dict() == {"x": 3.0, "y": 1.0}
    assert posteriors.contexts.to_pandas()["context"].tolist() == ["u"]
