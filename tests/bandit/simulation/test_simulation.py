"""Simulated worlds: known laws of regret, worlds that change, and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mlkit.bandit import UCB1, BetaThompson, LinTS, LinUCB, LogisticThompson, NormalThompson
from mlkit.bandit.simulation import scenario as scenarios
from mlkit.bandit.simulation.scenario import Arm, Features, Jump, Rewards, Scenario
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


@pytest.mark.parametrize(
    ("name", "make", "rewards"),
    [
        ("thompson", BetaThompson, Rewards.bernoulli),
        ("ucb1", UCB1, Rewards.bernoulli),
        ("normal", NormalThompson, Rewards.normal),
    ],
)
@pytest.mark.parametrize("runs", [20, pytest.param(60, marks=pytest.mark.nightly)])
def test_it_loses_what_the_policies_of_the_library_lose(name, make, rewards, runs):
    means, steps = np.array([0.3, 0.6, 0.5]), 150
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


WEIGHTS = np.array([[0.2, 1.0, 0.0], [0.0, -0.5, 1.0], [0.4, 0.0, -1.0]])


def contextual(rewards, jumps=(), steps=1000, runs=32, delay=0, weights=WEIGHTS, **arm):
    arms = tuple(Arm(weights=list(map(float, each)), **arm) for each in weights)
    features = Features(len(weights[0]))
    return Scenario(rewards, arms, tuple(jumps), steps, runs, delay, (), features)


@pytest.mark.parametrize(
    ("name", "make", "rewards"),
    [
        ("lin-ts", LinTS, Rewards.normal),
        ("lin-ucb", LinUCB, Rewards.normal),
        ("logistic", LogisticThompson, Rewards.bernoulli),
        ("lin-ucb", LinUCB, Rewards.bernoulli),
    ],
)
@pytest.mark.parametrize("runs", [12, pytest.param(30, marks=pytest.mark.nightly)])
def test_policies_with_features_lose_what_those_of_the_library_lose(name, make, rewards, runs):
    steps, lost = 100, []
    for run in range(runs):
        policy, generator = make(3, 3), np.random.default_rng(run)
        regret = 0.0
        for _ in range(steps):
            x = np.concatenate([[1.0], generator.normal(size=2)])
            means = WEIGHTS @ x
            if rewards is Rewards.bernoulli:
                means = 1 / (1 + np.exp(-means))
            arm = policy.select([0, 1, 2], generator, features=x)[0]
            regret += means.max() - means[arm]
            normal = rewards is Rewards.normal
            reward = generator.normal(means[arm]) if normal else generator.random() < means[arm]
            policy.update([arm], [float(reward)], x)
        lost.append(regret)
    found = simulate(contextual(rewards, steps=steps, runs=512), name)
    error = np.hypot(np.std(lost, ddof=1) / runs**0.5, found.error)
    assert found.regret[-1] == pytest.approx(np.mean(lost), abs=5 * error)


def test_features_are_worth_what_they_tell():
    here = contextual(Rewards.normal, steps=2000)
    linear, blind = simulate(here, "lin-ts"), simulate(here, "normal")
    assert linear.regret[-1] < blind.regret[-1] / 4
    assert linear.best > 0.85
    assert blind.best < 0.7


def test_late_rewards_are_learned_with_the_features_of_their_decisions():
    prompt = simulate(contextual(Rewards.normal, steps=2000), "lin-ts")
    late = simulate(contextual(Rewards.normal, steps=2000, delay=100), "lin-ts")
    never = simulate(contextual(Rewards.normal, steps=2000, delay=2000), "lin-ts")
    assert prompt.regret[-1] < late.regret[-1] < never.regret[-1] / 4


def test_weights_that_jump_are_learned_anew():
    jumps = [Jump(500, arm, weights=list(-WEIGHTS[arm])) for arm in range(3)]
    still = simulate(contextual(Rewards.normal), "lin-ucb")
    moved = simulate(contextual(Rewards.normal, jumps), "lin-ucb")
    before = moved.steps < 500
    assert moved.regret[before].tolist() == still.regret[before].tolist()
    assert moved.regret[-1] > 2 * still.regret[-1]


@pytest.mark.parametrize("name", SIMULATED)
def test_runs_are_the_same_with_any_number_of_threads(name):
    rewards = Rewards.poisson if name == "gamma-poisson" else Rewards.bernoulli
    here = world(0.2, 0.4, rewards=rewards, steps=200, runs=40)
    if name in ("lin-ts", "lin-ucb", "logistic"):
        here = contextual(rewards, steps=200, runs=40)
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


@pytest.fixture
def users(tmp_path):
    """Two users who like different arms, and one who never saw the third."""
    (tmp_path / "posteriors.csv").write_text(
        "context,arm,a,b,pulls\n,x,50,50,98\n,y,50,50,98\n,z,20,80,98\n"
        "u,x,80,20,90\nu,y,10,90,90\nv,x,10,90,30\nv,y,80,20,30\nv,z,1,99,30\n"
    )

    def read(extra=""):
        text = f"steps = 2000\nruns = 16\n[users]\nposteriors = 'posteriors.csv'\n{extra}"
        (tmp_path / "w.toml").write_text(text)
        return scenarios.read(tmp_path / "w.toml")

    return read


def test_users_of_a_fitted_log_are_worth_what_it_says(users):
    found = users().users
    assert (found.names, found.arms) == (("u", "v"), ("x", "y", "z"))
    assert found.pulls.tolist() == [180, 90]
    assert found.means == pytest.approx(np.array([[0.8, 0.1, 0.2], [0.1, 0.8, 0.01]]))
    assert users("most = 1").users.names == ("u",)


def test_policies_learn_of_users_apart_or_together(users):
    apart, together = (simulate(users(f"apart = {each}"), "thompson") for each in ("true", "false"))
    assert apart.best > 0.95
    # The best arm for all: two thirds of the decisions are for u, who likes x.
    assert together.best == pytest.approx(2 / 3, abs=0.05)
    assert together.regret[-1] == pytest.approx(2000 / 3 * 0.7, rel=0.1)
    chance = simulate(users(), "epsilon-greedy:scale=1")
    assert chance.best == pytest.approx(1 / 3, abs=0.02)


def test_users_need_posteriors_with_contexts(users, tmp_path):
    with pytest.raises(UsageError, match="no features"):
        simulate(users(), "lin-ts")
    for wrong in ("apart = true\n[[arm]]\nmean = 0.5", "most = 0"):
        with pytest.raises(BadData):
            users(wrong)
    (tmp_path / "w.toml").write_text("rewards = 'normal'\n" + (tmp_path / "w.toml").read_text())
    with pytest.raises(BadData):
        scenarios.read(tmp_path / "w.toml")
    (tmp_path / "posteriors.csv").write_text("arm,a,b\nx,1,1\n")
    with pytest.raises(BadData, match="without contexts"):
        users()
    (tmp_path / "posteriors.csv").unlink()
    with pytest.raises(InputMissing):
        users()


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
    assert mlkit("bandit", "simulate", "w.toml", "--policy", "lin-ts:shared=true").returncode == 2
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
        "[[arm]]\nmean = 0.5\n[[jump]]\nstep = 1\narm = 0\nmean = 1.5",
        'rewards = "poisson"\n[[arm]]\nmean = 2\n[[jump]]\nstep = 1\narm = 0\nmean = -1',
        "[[arm]]\nmean = 0.5\narrives = 10\nleaves = 10",
        "[[arm]]\nmean = 0.5\nleaves = 0",
        "[[arm",
        "[[arm]]\ndeviation = 1.0",
        "[[arm]]\nweights = [0.5]",
        "[features]\ndimension = 2\n[[arm]]\nmean = 0.5",
        "[features]\ndimension = 2\n[[arm]]\nweights = [0.5]",
        "[features]\ndimension = 0\n[[arm]]\nweights = []",
        "[features]\ndimension = 1\n[[arm]]\nweights = [0.5]\ndrift = 0.1",
        "[features]\ndimension = 1\n[[arm]]\nweights = [1]\n[[jump]]\nstep = 1\narm = 0\nmean = 0",
        'rewards = "poisson"\n[features]\ndimension = 1\n[[arm]]\nweights = [0.5]',
        "delay = 1000000\n[features]\ndimension = 2\n[[arm]]\nweights = [0.5, 1.0]",
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
