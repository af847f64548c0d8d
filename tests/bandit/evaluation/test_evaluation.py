"""Policies judged on logs of which the answer is known: by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mlkit.bandit.evaluation import estimators, reward_model, slates
from mlkit.bandit.evaluation.decisions import Decisions
from mlkit.bandit.evaluation.evaluation import difference, judge, logged_value
from mlkit.bandit.evaluation.target import Target, uniform
from mlkit.bandit.evaluation.terms import Settings, all_terms
from mlkit.errors import BadData

HOW = Settings(clip=100, switch=100, resamples=300)
MEANS = np.array([[0.1, 0.3, 0.5, 0.2], [0.6, 0.2, 0.1, 0.4]])
LOGGED = np.array([[0.4, 0.3, 0.1, 0.2], [0.1, 0.2, 0.3, 0.4]])
JUDGED = np.array([[0.1, 0.2, 0.6, 0.1], [0.7, 0.1, 0.1, 0.1]])


def log_of(arm, reward, propensity, *, context=None, position=None, slate=None, arms=4):
    none = np.zeros(len(arm), dtype=np.int64)
    context, position = (none if each is None else each for each in (context, position))
    return Decisions(
        [str(each) for each in range(arms)],
        [str(each) for each in range(context.max() + 1)],
        [str(each) for each in range(position.max() + 1)],
        np.asarray(arm),
        np.asarray(reward, dtype=float),
        np.asarray(propensity, dtype=float),
        context,
        position,
        none,
        np.zeros((0, arms), dtype=bool),
        slate,
    )


def simulated(rows, seed, logged=LOGGED):
    """Draw a log of two contexts; its rewards have MEANS."""
    rng = np.random.default_rng(seed)
    context = rng.integers(2, size=rows)
    arm = (rng.random(rows)[:, None] > logged.cumsum(axis=1)[context]).sum(axis=1)
    reward = (rng.random(rows) < MEANS[context, arm]).astype(float)
    return log_of(arm, reward, logged[context, arm], context=context)


def estimates(judgement):
    return {each.estimator: each for each in judgement.estimates}


def test_every_estimator_finds_the_value_that_a_simulation_knows():
    log = simulated(20_000, 1)
    found = judge(log, Target.of_table("p", JUDGED, log), HOW)
    truth = (JUDGED * MEANS).sum(axis=1) @ np.bincount(log.context) / len(log)
    by_name = estimates(found)
    assert set(by_name) == {*("replay", "ips", "clipped", "snips", "dm", "dr", "switch-dr", "mrdr")}
    for each in by_name.values():
        assert each.bootstrap[0] < truth < each.bootstrap[1], each
        if each.bernstein is not None:
            assert each.bernstein[0] < each.bootstrap[0]
            assert each.bootstrap[1] < each.bernstein[1]
    assert found.warnings == ()


def test_bootstrap_intervals_hold_the_truth_as_often_as_they_say():
    """At 80 %: of 60 logs 48 are expected; 38 to 58 are within three standard deviations."""
    how = Settings(clip=100, switch=100, resamples=200, level=0.8)
    hits = dict.fromkeys(("replay", "ips", "snips", "dm", "dr"), 0)
    truth = (JUDGED * MEANS).sum(axis=1).mean()
    for seed in range(60):
        log = simulated(600, seed)
        found = estimates(judge(log, Target.of_table("p", JUDGED, log), how))
        for name in hits:
            low, high = found[name].bootstrap
            hits[name] += low < truth < high
    assert all(38 <= count <= 58 for count in hits.values()), hits


def test_blocks_of_rows_give_the_width_of_the_normal_interval():
    log = simulated(60_000, 3)
    own = logged_value(log, Settings(clip=1, switch=1, resamples=2000))
    expected = 2 * 1.96 * log.reward.std() / len(log) ** 0.5
    assert own.value == pytest.approx(log.reward.mean())
    assert own.bootstrap[1] - own.bootstrap[0] == pytest.approx(expected, rel=0.08)


def test_the_same_policy_has_no_advantage_and_a_better_one_has():
    log = simulated(5_000, 4)
    better, plain = (
        judge(log, target, HOW) for target in (Target.of_table("p", JUDGED, log), uniform(log))
    )
    same = difference(better, better, "ips", 0.95)
    assert (same.value, same.bootstrap) == (0, (0, 0))
    gain = difference(better, plain, "dr", 0.95)
    assert 0 < gain.bootstrap[0] < gain.value < gain.bootstrap[1]
    assert difference(better, plain, "iips", 0.95) is None


def test_a_model_by_arm_misses_what_contexts_change_and_doubly_robust_corrects_it():
    log = simulated(20_000, 5)
    target = Target.of_table("p", JUDGED, log)
    truth = (JUDGED * MEANS).sum(axis=1).mean()
    plain = Settings(clip=100, switch=100, resamples=100, by_context=False)
    found = estimates(judge(log, target, plain))
    assert abs(found["dm"].value - truth) > 0.1
    assert abs(found["dr"].value - truth) < 0.02
    assert abs(estimates(judge(log, target, HOW))["dm"].value - truth) < 0.02


def test_a_model_fitted_for_a_policy_makes_doubly_robust_vary_less():
    """A model by arm is wrong in each context: MRDR is right where weights are large."""
    plain = Settings(clip=100, switch=100, resamples=10, by_context=False)
    for seed in range(5):
        log = simulated(20_000, seed)
        target = Target.of_table("p", JUDGED, log)
        weight = estimators.weights(target.taken, log.propensity)
        found = {each.name: each for each in all_terms(log, target, weight, plain)}
        assert found["mrdr"].numerator.var() < 0.9 * found["dr"].numerator.var()
        truth = (JUDGED * MEANS).sum(axis=1) @ np.bincount(log.context) / len(log)
        assert abs(found["mrdr"].estimate - truth) < 0.02


def test_a_model_fitted_for_a_policy_counts_rows_by_their_variance():
    """Without chance in the policy, a row of its arm counts (1 - p) / p^2, others nothing."""
    propensity = np.array([0.5, 0.2, 0.5, 0.2, 0.5, 0.2])
    log = log_of([0, 0, 1, 0, 0, 0], [1, 0, 1, 0, 0, 1], propensity, arms=2)
    target = Target.of_table("first", np.array([[1.0, 0.0]]), log)
    weight = estimators.weights(target.taken, propensity)
    matters = estimators.variance_weights(weight, propensity)
    expected = np.array([2, 20, 0, 20, 2, 20]) / 25
    assert_allclose(matters, expected)
    fold = np.array([0, 1, 2, 0, 1, 2])
    fitted = reward_model.predict(
        log, np.array([[1.0, 0.0]]), fold, by_context=False, weight=matters
    )
    count = expected[[1, 2, 4, 5]] / expected[[1, 2, 4, 5]].mean()
    overall = (count * [0, 1, 0, 1]).mean()
    of_arm = (count[[0, 2, 3]] @ [0, 0, 1] + overall) / (count[[0, 2, 3]].sum() + 1)
    assert fitted.taken[0] == pytest.approx(of_arm)


def test_a_log_that_could_show_nothing_else_needs_no_weights():
    log = log_of([0, 0, 0], [1, 0, 1], [1, 1, 1], arms=1)
    found = estimates(judge(log, Target.of_table("p", np.array([[1.0]]), log), HOW))
    assert found["mrdr"].value == pytest.approx(found["dr"].value)


def test_a_row_is_predicted_without_its_own_reward():
    log = log_of([0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 0, 1], [0.5] * 6, arms=2)
    fold = np.array([0, 1, 2, 0, 1, 2])
    found = reward_model.predict(log, np.array([[1.0, 0.0]]), fold, by_context=False)
    overall = 1 / 4  # the rewards of folds 1 and 2
    assert found.taken[0] == pytest.approx((0 + overall) / 3)
    assert found.value[3] == found.taken[0]


def test_switch_leaves_large_weights_to_the_model():
    log = simulated(3_000, 6)
    target = Target.of_table("p", JUDGED, log)
    found = estimates(judge(log, target, Settings(clip=1, switch=1e-9, resamples=100)))
    assert found["switch-dr"].value == pytest.approx(found["dm"].value)
    assert found["clipped"].value < found["ips"].value


def test_replay_of_a_policy_without_chance_is_the_mean_of_the_rows_that_agree():
    even = np.full((2, 4), 0.25)
    log = simulated(4_000, 7, logged=even)
    chosen = np.eye(4)[[2, 0]]
    found = judge(log, Target.of_table("p", chosen, log), HOW)
    agree = log.arm == np.array([2, 0])[log.context]
    assert estimates(found)["replay"].value == pytest.approx(log.reward[agree].mean())
    assert found.support.replayed == agree.sum()


def test_slates_by_hand():
    """Two slates, their rows mixed: weights 2, 3 and 0.5, 4 by position."""
    weight, slate = np.array([3.0, 0.5, 2.0, 4.0]), np.array([0, 1, 0, 1])
    position = np.array([1, 0, 0, 1])
    assert slates.cumulative_weights(weight, slate, position).tolist() == [6, 0.5, 2, 2]
    assert slates.slate_weights(weight, slate).tolist() == [6, 2, 6, 2]
    log = log_of(
        [0, 1, 1, 0],
        [1, 1, 0, 1],
        [0.25] * 4,
        position=position,
        slate=slate,
        arms=2,
    )
    found = judge(log, Target("p", weight / 4), HOW)
    by_name = {name: each.value for name, each in estimates(found).items()}
    assert by_name["iips"] == pytest.approx((3 + 0.5 + 4) / 2)
    assert by_name["rips"] == pytest.approx((6 + 0.5 + 2) / 2)
    assert by_name["sips"] == pytest.approx((6 * 1 + 2 * 2) / 2)
    assert by_name["ips at position 0"] == pytest.approx(0.5 / 2)
    assert "dm" not in by_name


def test_without_slates_iips_is_the_sum_over_the_positions():
    log = log_of([0, 1, 0], [1, 1, 1], [0.5] * 3, position=np.array([0, 0, 1]), arms=2)
    found = judge(log, Target("p", np.array([0.5, 0.25, 1.0])), HOW)
    assert estimates(found)["iips"].value == pytest.approx((1 + 0.5) / 2 + 2)


def test_slates_of_dependent_rows_have_wider_intervals_than_rows():
    """Each decision is there four times: what looks like four rows is one."""
    rng = np.random.default_rng(8)
    reward = np.repeat(rng.random(500) < 0.3, 4)
    slate, none = np.repeat(np.arange(500), 4), np.full(2000, 0.5)
    arm = rng.integers(2, size=2000)
    apart = logged_value(log_of(arm, reward, none, arms=2), HOW)
    together = logged_value(log_of(arm, reward, none, slate=slate, arms=2), HOW)
    width = [high - low for low, high in (apart.bootstrap, together.bootstrap)]
    assert width[1] == pytest.approx(2 * width[0], rel=0.25)
    assert together.value == apart.value


def test_what_the_log_lacks_is_reported():
    rows = 1000
    log = log_of(np.arange(rows) % 2, np.ones(rows), np.full(rows, 0.5), arms=4)
    target = Target.of_table("p", np.array([[0.3, 0.3, 0.2, 0.1]]), log)  # 0.1: on no arm here
    found = judge(log, target, HOW)
    assert found.support.unsupported == pytest.approx(0.4)
    assert found.support.mean == pytest.approx(0.6)
    assert any("never shows 40.0%" in each for each in found.warnings)
    assert any("mean weight is 0.600" in each for each in found.warnings)


def test_an_estimate_that_rests_on_one_row_is_worthless():
    rows = 2000
    propensity = np.full(rows, 0.9)
    propensity[0] = 1e-4
    found = judge(
        log_of(np.zeros(rows, dtype=int), np.ones(rows), propensity, arms=1),
        Target("p", np.full(rows, 0.9)),
        HOW,
    )
    text = " ".join(found.warnings)
    assert "effective sample size" in text
    assert "worthless" in text
    assert "one row has" in text
    assert found.support.largest[0] == pytest.approx(9000)


def test_rare_rewards_are_what_an_estimate_rests_on():
    reward = np.zeros(5000)
    reward[:4] = 1
    log = log_of(np.zeros(5000, dtype=int), reward, np.ones(5000), arms=1)
    found = judge(log, uniform(log), HOW)
    assert found.support.rewarded == pytest.approx(4)
    assert any("4.0 rows, below 10" in each for each in found.warnings)


def test_a_policy_that_shows_nothing_of_the_log_has_no_replay_and_no_snips():
    log = log_of([0, 0], [1, 1], [1, 1], arms=2)
    found = judge(log, Target("p", np.zeros(2)), HOW)
    by_name = estimates(found)
    assert by_name["replay"].value is None
    assert by_name["snips"].value is None
    assert by_name["ips"].value == 0


def test_only_the_seed_changes_the_result():
    log = simulated(500, 9)
    target = Target.of_table("p", JUDGED, log)
    one, again = (judge(log, target, HOW).estimates for _ in range(2))
    other = judge(log, target, Settings(clip=100, switch=100, resamples=300, seed=1)).estimates
    assert one == again
    assert one != other
    ips = [estimates(judge(log, target, HOW))["ips"].value, other[1].value]
    assert_allclose(*ips)


def test_too_many_pairs_are_refused_before_they_fill_the_memory():
    rows = 10_000
    log = log_of(np.arange(rows), np.ones(rows), np.ones(rows), context=np.arange(rows), arms=rows)
    with pytest.raises(BadData, match="too many: 10,000 contexts"):
        uniform(log)
