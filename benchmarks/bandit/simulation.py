"""Simulations beside MABWiser's: `python benchmarks/bandit/simulation.py [--json FILE]`.

Ten arms with Bernoulli rewards; Thompson sampling, UCB1 and epsilon-greedy with the same parameters
on both sides. mlkit simulates ten million steps, in runs of 10,000. MABWiser has two sides:

- Its loop: `predict`, and `partial_fit` of one reward, in the same world. Regrets are compared
  first: at three points of the course, the means have to be within four standard errors, else the
  speeds say nothing.
- Its `Simulator`, in chronological order with batches of one row. It has no world: it predicts and
  learns row by row from a log, here of random decisions, so that only its speed compares.

KL-UCB, which MABWiser does not have, is timed alone. Sides take turns. Ratios are also in processor
time, since mlkit uses all cores and MABWiser one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlkit.bandit.simulation.scenario import Arm, Rewards, Scenario
from mlkit.bandit.simulation.simulation import simulate

Array = NDArray[np.float64]
MEANS = (0.30, 0.10, 0.22, 0.14, 0.18, 0.12, 0.26, 0.16, 0.20, 0.24)
RUN, GOAL_SECONDS, GOAL_RATIO = 10_000, 2.0, 100.0
POLICIES = {
    "thompson": "thompson",
    "ucb1": "ucb1:exploration=2",
    # MABWiser's begins with a reward of each arm; an arm without one is preferred here.
    "epsilon-greedy": "epsilon-greedy:scale=0.05,unknown=2",
}
ALONE = "kl-ucb"


def peer_policy(theirs: Any, name: str) -> Any:
    """Return MABWiser's policy with the parameters of ours."""
    if name == "thompson":
        return theirs.ThompsonSampling()
    if name == "ucb1":
        return theirs.UCB1(alpha=1.0)  # mean + alpha sqrt(2 ln t / n)
    return theirs.EpsilonGreedy(epsilon=0.05)


def world(steps: int, runs: int) -> Scenario:
    arms = tuple(Arm(mean=mean) for mean in MEANS)
    return Scenario(Rewards.bernoulli, arms, (), steps, runs, 0, ())


def ours(policy: str, steps: int) -> object:
    """Simulate so many steps, in runs of 10,000."""
    return simulate(world(RUN, max(1, steps // RUN)), policy, threads=cores())


def loop(theirs: Any, name: str, steps: int, seed: int) -> Array:
    """Let MABWiser decide and learn, step by step; return the regret after each step."""
    mab = theirs.MAB(list(range(len(MEANS))), peer_policy(theirs.LearningPolicy, name), seed=seed)
    rng = np.random.default_rng(seed)
    places = rng.permutation(MEANS)  # ties go to the first arm there, to any here
    uniforms = rng.random(steps)
    lost = places.max() - places
    chosen = np.empty(steps, dtype=int)
    first = 0
    if name == "thompson":
        mab.fit(np.empty(0, dtype=int), np.empty(0))
    else:
        first = len(places)
        chosen[:first] = np.arange(first)
        mab.fit(chosen[:first].copy(), (uniforms[:first] < places).astype(float))
    for step in range(first, steps):
        arm = mab.predict()
        chosen[step] = arm
        mab.partial_fit([arm], [float(uniforms[step] < places[arm])])
    return np.cumsum(lost[chosen])


def check_regret(theirs: Any, name: str, steps: int, runs: int) -> dict[str, list[float]]:
    """Hold the mean regret of both sides beside each other, at three steps."""
    courses = np.array([loop(theirs, name, steps, seed) for seed in range(runs)])
    course = simulate(world(steps, 4096), POLICIES[name], threads=cores())
    found: dict[str, list[float]] = {"step": [], "mlkit": [], "MABWiser": [], "errors": []}
    for share in (0.1, 0.4, 1.0):
        at = int(np.argmin(np.abs(course.steps - share * steps)))
        regret = courses[:, course.steps[at] - 1]
        # The standard deviation of MABWiser's runs serves for both sides.
        error = regret.std(ddof=1) * (1 / runs + 1 / 4096) ** 0.5
        away = abs(course.regret[at] - regret.mean()) / error
        values = (
            float(course.steps[at]),
            float(course.regret[at]),
            float(regret.mean()),
            float(away),
        )
        for key, value in zip(found, values, strict=True):
            found[key].append(value)
        if away > 4:
            sys.exit(f"error: {name}: the regrets differ by {away:.1f} standard errors: {found}")
    return found


def replay(theirs: Any, name: str, rows: int) -> Callable[[], object]:
    """Return the run of MABWiser's simulator over a log of random decisions."""
    rng = np.random.default_rng(1)
    decisions = rng.integers(len(MEANS), size=rows)
    rewards = (rng.random(rows) < np.array(MEANS)[decisions]).astype(float)
    mab = theirs.MAB(list(range(len(MEANS))), peer_policy(theirs.LearningPolicy, name))
    logging.disable(logging.CRITICAL)
    simulator = theirs.Simulator(
        [(name, mab)], decisions, rewards, test_size=0.9, is_ordered=True, batch_size=1,
        is_quick=True,
    )  # fmt: skip
    return simulator.run  # type: ignore[no-any-return]


def import_peer() -> Any:
    warnings.simplefilter("ignore")  # those of its dependencies
    try:
        from mabwiser.mab import MAB, LearningPolicy
        from mabwiser.simulator import Simulator
    except ImportError as error:
        sys.exit(f"error: {error}: the peer is missing: pip install mabwiser")
    return argparse.Namespace(MAB=MAB, LearningPolicy=LearningPolicy, Simulator=Simulator)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - cpu


def measure(theirs: Any, name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Time a policy on all sides in turns; times are microseconds a step."""
    replayed = int(given.peer_rows * 0.9)  # the rest is what it fits first
    sides: dict[str, tuple[int, Callable[[], object]]] = {
        "mlkit": (given.steps, lambda: ours(POLICIES[name], given.steps)),
        "loop": (given.peer_steps, lambda: loop(theirs, name, given.peer_steps, 1)),
    }
    times: dict[str, list[tuple[float, float]]] = {side: [] for side in (*sides, "Simulator")}
    for _ in range(given.rounds):
        for side, (_, work) in sides.items():
            times[side].append(timed(work))
        times["Simulator"].append(timed(replay(theirs, name, given.peer_rows)))
    steps = {side: count for side, (count, _) in sides.items()} | {"Simulator": replayed}
    found: dict[str, Any] = {}
    for side, measured in times.items():
        wall, cpu = (statistics.median(each) for each in zip(*measured, strict=True))
        found[side] = {"s": wall, "us": wall / steps[side] * 1e6, "cpu_us": cpu / steps[side] * 1e6}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000_000)
    parser.add_argument("--peer-steps", type=int, default=10_000)
    parser.add_argument("--peer-rows", type=int, default=2_000)
    parser.add_argument("--check-steps", type=int, default=1_000)
    parser.add_argument("--check-runs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    theirs = import_peer()
    found: dict[str, Any] = {"load": os.getloadavg()[0], "steps": given.steps}
    for name in POLICIES:
        regret = check_regret(theirs, name, given.check_steps, given.check_runs)
        row = measure(theirs, name, given) | {"regret": regret}
        own = row["mlkit"]
        total = own["cpu_us"] * given.steps / 1e6
        print(
            f"{name}: mlkit {own['s']:.2f} s (goal: {GOAL_SECONDS:g}),"
            f" {total:.2f} in processor time"
        )
        for side in ("loop", "Simulator"):
            peer = row[side]
            row[f"{side} ratio"] = ratio = peer["us"] / own["us"]
            cpu = peer["cpu_us"] / own["cpu_us"]
            print(
                f"  MABWiser's {side:9} {peer['us']:8.1f} us a step: {ratio:,.0f} times as fast"
                f" (goal: {GOAL_RATIO:g}), {cpu:,.0f} in processor time"
            )
        pairs = zip(*(regret[key] for key in ("step", "mlkit", "MABWiser", "errors")), strict=True)
        texts = [f"{b:.1f} and {c:.1f} at {a:.0f} ({d:.1f} errors)" for a, b, c, d in pairs]
        print(f"  regret: {', '.join(texts)}")
        found[name] = row
    seconds, cpu = timed(lambda: ours(ALONE, given.steps))
    print(f"{ALONE}: mlkit {seconds:.2f} s, {cpu:.2f} in processor time")
    found[ALONE] = {"mlkit": {"s": seconds, "cpu_s": cpu}}
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
