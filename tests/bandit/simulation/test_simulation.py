"""Simulated worlds: known laws of regret, worlds that change, and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mlkit.bandit import UCB1, BetaThompson, NormalThompson
from mlkit.bandit.simulation import scenario as scenarios
from mlkit.bandit.simulation.scenario import Arm, Jump, Rewards, Scenario
from mlkit.bandit.simulation.simulation import SIMULATED, simulate
from mlkit.errors import BadData, InputMissing, UsageError


def world(*means, rewards=Rewards.bernoulli, jumps=(), steps=1000, runs=32, delay=0, **arm):
    arms = tuple(Arm(mean=mean, **arm) for mean in means)
    return Scenario(rewards, arms, tuple(jumps), steps, runs, delay, ())


GARIVIER = world(0.1, *[0.05] * 3, *[0.02] * 3, *[0.01] * 3, steps=10_000, runs=16)


def test_low_rewards_rank_the_policies_as_in_garivier_and_cappe():
    # Figure 2: KL-UCB loses several times less than UCB; Thompson sampling came later and less yet.
    found = {name: simulate(GARIVIER, name) for name in ("thompson", "kl-ucb", "ucb1")}
    ends = {name: result.regret[-1] for name, result in found.items()}
    assert ends["thompson"] < ends["kl-ucb"] < ends["ucb1"] / 3
    assert all(result.found > 0 for result in found.values())


def test_thompson_sampling_grows_as_the_bound_of_lai_and_robbins():
    # Chapelle and Li (2011), figure 1: the slope in log t is that of the lower bound.
    best, others = 0.5, [0.4] * 9
    found = simulate(world(best, *others, steps=20_000, runs=32), "thompson")
    divergence = 0.4 * np.log(0.4 / 0.5) + 0.6 * np.log(0.6 / 0.5)
    slope = 9 * 0.1 / divergence
    late = found.steps > 5_000
    measured = np.polyfit(np.log(found.steps[late]), found.regret[late], 1)[0]
    assert measured == pytest.approx(slope, rel=0.35)


@pytest.mark.parametrize(
    ("name", "make", "rewards"),
    [
        ("thompson", BetaThompson, Rewards.bernoulli),
        ("ucb1", UCB1, Rewards.bernoulli),
        ("normal", NormalThompson, Rewards.normal),
    ],
)
def test_it_loses_what_the_policies_of_the_library_lose(name, make, rewards):
    means, steps, runs = np.array([0.3, 0.6, 0.5]), 150, 60
    lost = []
    for run in range(runs):
        policy, generator = make(3), np.random.default_rng(run)
        regret = 0.0
        for _ in range(steps):
            arm = policy.select([0, 1, 2], generator)[0]
            regret += 0.6 - means[arm]
            normal = rewards is Rewards.normal
            reward = generator.normal(means[arm]) if normal else generator.random() < means[arm]
            policy.update([arm], [float(reward)])
        lost.append(regret)
    found = simulate(world(*means, rewards=rewards, steps=steps, runs=512), name)
    error = np.hypot(np.std(lost, ddof=1) / runs**0.5, found.error)
    assert found.regret[-1] == pytest.approx(np.mean(lost), abs=5 * error)


@pytest.mark.parametrize("name", SIMULATED)
def test_runs_are_the_same_with_any_number_of_threads(name):
    rewards = Rewards.poisson if name == "gamma-poisson" else Rewards.bernoulli
    here = world(0.2, 0.4, rewards=rewards, steps=200, runs=40)
    one, four = (simulate(here, name, seed=3, threads=n) for n in (1, 4))
    assert one.regret.tolist() == four.regret.tolist()
    more = simulate(replace(here, runs=48), name, seed=3)
    assert more.regret[0] >= 0
    assert simulate(here, name, seed=4).regret.tolist() != one.regret.tolist()


def test_a_jump_makes_another_arm_the_best():
    still = world(0.8, 0.2, steps=2000)
    jump = replace(still, jumps=(Jump(1000, 1, 1.0),))
    quiet, shaken = simulate(still, "thompson"), simulate(jump, "thompson")
    half = np.searchsorted(quiet.steps, 1000, side="right") - 1
    assert quiet.regret[half] == shaken.regret[half]
    assert shaken.regret[-1] > 3 * quiet.regret[-1]


def test_arms_come_and_go():
    arms = (Arm(mean=0.9, leaves=100), Arm(mean=0.1), Arm(mean=0.5, arrives=100))
    here = Scenario(Rewards.bernoulli, arms, (), 100, 32, 0, ())
    assert simulate(here, "thompson").regret[-1] < 100 * 0.8
    later = simulate(replace(here, steps=2000), "epsilon-greedy:scale=0.2")
    assert later.best > 0.5
    nobody = Scenario(Rewards.bernoulli, (Arm(mean=0.5, arrives=5),), (), 5, 2, 0, ())
    assert simulate(nobody, "ucb1").regret[-1] == 0


def test_seasons_and_drift_change_which_arm_is_best():
    season = (Arm(mean=0.5, amplitude=0.4, period=400), Arm(mean=0.5))
    here = Scenario(Rewards.bernoulli, season, (), 4000, 16, 0, ())
    assert 0.3 < simulate(here, "thompson").best < 0.7
    drift = (Arm(mean=0.9, drift=-0.0005), Arm(mean=0.1, drift=0.0005))
    assert simulate(replace(here, arms=drift, steps=1600), "ucb1").regret[-1] > 0


def test_late_rewards_cost_regret():
    now, late = (simulate(world(0.2, 0.6, delay=delay), "ucb1") for delay in (0, 300))
    assert late.regret[-1] > now.regret[-1] + 25


def test_counts_and_amounts():
    counts = simulate(world(2.0, 60.0, rewards=Rewards.poisson), "gamma-poisson")
    assert counts.best > 0.95
    amounts = simulate(world(-3.0, 4.0, rewards=Rewards.normal, deviation=5.0), "normal")
    assert amounts.best > 0.9


# The command

SCENARIO = """
steps = 300
runs = 20
policies = ["thompson", "ucb1"]
[[arm]]
mean = 0.2
[[arm]]
mean = 0.6
"""


def test_the_command_compares_policies(mlkit, tmp_path):
    (tmp_path / "w.toml").write_text(SCENARIO)
    done = mlkit("bandit", "simulate", "w.toml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("thompson") < done.stdout.index("ucb1")
    told = json.loads(mlkit("bandit", "simulate", "w.toml", "--policy", "ucb1", "--json").stdout)
    assert [each["policy"] for each in told["policies"]] == ["ucb1"]
    assert told["policies"][0]["steps"][-1] == 300
    for policy, code in (("lin-ts", 2), ("top-two", 2), ("nonsense", 2)):
        assert mlkit("bandit", "simulate", "w.toml", "--policy", policy).returncode == code


@pytest.mark.parametrize(
    "text",
    [
        "arm = []",
        "steps = 0\n[[arm]]\nmean = 0.5",
        "[[arm]]\nmean = 1.5",
        "[[arm]]\nmean = 0.5\nmeen = 1",
        "[[arm]]\nmean = nan",
        'rewards = "coins"\n[[arm]]\nmean = 0.5',
        "[[arm]]\nmean = 0.5\n[[jump]]\nstep = 1\narm = 1\nmean = 0.1",
        "[[arm",
    ],
)
def test_a_scenario_that_is_wrong_is_refused(tmp_path, text):
    (tmp_path / "w.toml").write_text(text)
    with pytest.raises(BadData):
        scenarios.read(tmp_path / "w.toml")
    with pytest.raises(InputMissing):
        scenarios.read(tmp_path / "none.toml")


def test_policies_of_other_rewards_are_refused():
    for name, rewards in (("ucb1", Rewards.normal), ("gamma-poisson", Rewards.normal)):
        with pytest.raises(UsageError, match="learns from"):
            simulate(world(0.5, rewards=rewards), name)
