"""Estimators of off-policy value: by hand, by simulation, and on two real logs."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mlkit.bandit.evaluation import estimators
from mlkit.bandit.evaluation.intervals import bootstrap, empirical_bernstein
from mlkit.errors import BadData

WEIGHT, REWARD = np.array([0.0, 2.0, 4.0, 1.0]), np.array([1.0, 0.0, 1.0, 1.0])
MODEL, VALUE = np.array([0.5, 0.5, 0.25, 1.0]), np.array([0.5, 0.5, 0.5, 0.5])


def test_the_terms_by_hand():
    assert estimators.inverse_propensity(WEIGHT, REWARD).tolist() == [0, 0, 4, 1]
    assert estimators.clipped(WEIGHT, REWARD, 2.0).tolist() == [0, 0, 2, 1]
    assert_allclose(estimators.self_normalized(WEIGHT, REWARD).mean(), 5 / 7)
    assert estimators.direct(VALUE).mean() == 0.5
    assert estimators.doubly_robust(WEIGHT, REWARD, MODEL, VALUE).tolist() == [0.5, -0.5, 3.5, 0.5]
    switched = estimators.switched(WEIGHT, REWARD, MODEL, VALUE, 2.0)
    assert switched.tolist() == [0.5, -0.5, 0.5, 0.5]


def test_the_support_of_a_log():
    found = estimators.support(WEIGHT)
    assert (found.rows, found.largest, found.mean) == (4, 4.0, 1.75)
    assert found.effective == pytest.approx(49 / 21)


@pytest.mark.parametrize(
    ("policy", "propensity", "message"),
    [
        ([0.1, 1.5], [0.5, 0.5], r"row 2: probability is 1.5"),
        ([0.1, np.nan], [0.5, 0.5], r"row 2: probability is nan"),
        ([0.1, 0.1], [0.0, 0.5], r"row 1: propensity is 0.0, expected a number in \(0, 1\]"),
    ],
)
def test_wrong_probabilities_are_refused(policy, propensity, message):
    with pytest.raises(BadData, match=message):
        estimators.weights(np.array(policy), np.array(propensity))


def test_estimates_find_the_value_that_a_simulation_knows():
    """Four actions; the direct method has a wrong model, which doubly robust corrects."""
    rng = np.random.default_rng(1)
    mean, logged = np.array([0.1, 0.3, 0.5, 0.2]), np.array([0.4, 0.3, 0.1, 0.2])
    judged, model = np.array([0.1, 0.2, 0.6, 0.1]), np.array([0.3, 0.3, 0.3, 0.3])
    truth, action = judged @ mean, rng.choice(4, 100_000, p=logged)
    reward = (rng.random(action.size) < mean[action]).astype(float)
    weight = estimators.weights(judged[action], logged[action])
    value = np.full(action.size, judged @ model)
    terms = {
        "ips": estimators.inverse_propensity(weight, reward),
        "dr": estimators.doubly_robust(weight, reward, model[action], value),
    }
    for each in terms.values():
        found = bootstrap(each, resamples=200)
        assert found.low < truth < found.high
        assert found.high - found.low < 0.03
        bound = empirical_bernstein(each, span=7.0)
        assert bound.low < found.low < truth < found.high < bound.high
    ratio = bootstrap(terms["ips"], resamples=200, scale=weight)
    assert ratio.low < truth < ratio.high
    assert ratio.estimate == pytest.approx(estimators.self_normalized(weight, reward).mean())
    assert abs(estimators.direct(value).mean() - truth) > 0.05


def test_vowpal_wabbits_estimators_agree():
    ips = pytest.importorskip("estimators.bandits.ips", reason="needs vw-estimators")
    snips = pytest.importorskip("estimators.bandits.snips", reason="needs vw-estimators")
    rng = np.random.default_rng(2)
    policy, propensity = rng.random(1000), rng.uniform(0.01, 1, 1000)
    reward = rng.normal(size=1000)
    theirs = ips.Estimator(), snips.Estimator()
    for p_log, r, p_pred in zip(propensity, reward, policy, strict=True):
        for each in theirs:
            each.add_example(p_log, r, p_pred)
    weight = estimators.weights(policy, propensity)
    ours = (estimators.inverse_propensity, estimators.self_normalized)
    for function, each in zip(ours, theirs, strict=True):
        assert function(weight, reward).mean() == pytest.approx(each.get(), rel=1e-12, abs=1e-12)


@pytest.fixture
def logs(repository):
    def rows(policy):
        path = repository / "examples" / "bandit" / f"{policy}_men.csv.gz"
        with gzip.open(path, "rt") as file:
            return list(csv.DictReader(file))

    return rows("random"), rows("bts")


def test_thompson_sampling_judged_from_the_random_log_earns_what_it_earned(logs):
    """10,000 decisions each of two policies on the same site: the real check."""
    random, bts = logs
    shown, of_position = defaultdict(float), defaultdict(float)
    for row in bts:
        shown[row["item_id"], row["position"]] += 1
        of_position[row["position"]] += 1
    policy = np.array(
        [shown[row["item_id"], row["position"]] / of_position[row["position"]] for row in random]
    )
    propensity = np.array([float(row["propensity_score"]) for row in random])
    reward = np.array([float(row["click"]) for row in random])
    earned = np.mean([float(row["click"]) for row in bts])
    weight = estimators.weights(policy, propensity)
    assert estimators.support(weight).mean == pytest.approx(1, abs=0.05)
    terms = estimators.inverse_propensity(weight, reward)
    for found in (bootstrap(terms), bootstrap(terms, scale=weight)):
        assert found.low < earned < found.high
        assert found.high - found.low < earned
