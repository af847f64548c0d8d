"""pandas in and out of bandits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from mlkit.bandit import BetaSampler, BetaThompson, LinTS, beta_cdf, frames
from mlkit.bandit.evaluation import estimators
from mlkit.bandit.logs.log import Columns
from mlkit.bandit.posteriors import file, fitting
from mlkit.bandit.posteriors.posterior import Header, Prior
from mlkit.errors import BadData, UsageError


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


LOG = pd.DataFrame(
    {"user": ["u", "u", "v", "v"], "arm": ["x", "y", "x", "x"], "reward": [1.0, 0.0, 0.5, 1.0]}
)
COLUMNS = Columns(arm="arm", reward="reward", context="user")


def test_a_frame_is_fitted_as_a_file_of_its_rows_is(tmp_path):
    header = Header("m", Prior(2.0, 3.0))
    found = frames.fit(LOG, COLUMNS, header)
    path = tmp_path / "log.csv"
    LOG.to_csv(path, index=False)
    expected = fitting.fit([path], COLUMNS, header)
    pd.testing.assert_frame_equal(frames.of_posteriors(found), frames.of_posteriors(expected))
    kept = frames.fit(LOG, COLUMNS, header, excluded=["y"])
    assert kept.arms["arm"].to_pylist() == ["x"]


def test_posteriors_go_to_a_frame_and_back(tmp_path):
    fitted = frames.fit(LOG, COLUMNS, Header("m"))
    frame = frames.of_posteriors(fitted)
    assert frame["context"].isna().tolist() == [True, True, False, False, False]
    assert frame.loc[0, ["arm", "a", "b", "pulls"]].tolist() == ["x", 3.5, 1.5, 3]
    back = frames.posteriors(frame)
    pd.testing.assert_frame_equal(frames.of_posteriors(back), frame)
    file.write(back, tmp_path / "p.parquet")
    assert file.read(tmp_path / "p.parquet").arms.equals(fitted.arms)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (LOG.assign(reward=[0, 1, 2, 0]), r"^data frame: row 3: reward"),
        (LOG.drop(columns="arm"), r"^data frame: .*'arm'"),
        (LOG.assign(arm=[1, "x", 2.5, None]), "^data frame: "),
    ],
)
def test_a_bad_log_is_refused_by_row(frame, problem):
    with pytest.raises(BadData, match=problem):
        frames.fit(frame, COLUMNS, Header("m"))


def test_bad_posteriors_and_other_objects_are_refused():
    with pytest.raises(BadData, match=r"^data frame: .*a"):
        frames.posteriors(pd.DataFrame({"arm": ["x"], "a": [-1.0], "b": [1.0]}))
    with pytest.raises(UsageError, match="expected a pandas data frame"):
        frames.fit([1, 2], COLUMNS, Header("m"))
