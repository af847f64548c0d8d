"""Policies judged on a log beside pybandits: `python benchmarks/bandit/evaluation.py`.

20 arms in 50 contexts and 1,000 bootstrap samples: a million decisions for mlkit alone, and fewer
for both in turns, since the bootstrap that pybandits takes from scipy (BCa) works in proportion to
the square of the rows. mlkit fits its models of rewards and computes every estimator it has, each
with its interval; pybandits is handed the model and computes its doubly robust estimator alone.

The terms of the estimators that both have are compared first: IPS, SNIPS and the direct method, and
the doubly robust one as pybandits has it, which subtracts the value of the policy where the paper
subtracts what the model expects of the arm shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlkit.bandit.evaluation import estimators
from mlkit.bandit.evaluation.decisions import Decisions
from mlkit.bandit.evaluation.evaluation import judge
from mlkit.bandit.evaluation.target import Target
from mlkit.bandit.evaluation.terms import Settings

ARMS, CONTEXTS = 20, 50


def log_of(rows: int) -> tuple[Decisions, np.ndarray, np.ndarray]:
    """Return a log, the policy to be judged and the mean rewards, shape (contexts, arms)."""
    rng = np.random.default_rng(1)
    logged, judged = rng.dirichlet(np.ones(ARMS) * 3, (2, CONTEXTS))
    means = rng.uniform(0.02, 0.3, (CONTEXTS, ARMS))
    context = rng.integers(CONTEXTS, size=rows)
    edges = logged.cumsum(axis=1)
    arm = np.minimum((rng.random(rows)[:, None] > edges[context]).sum(axis=1), ARMS - 1)
    reward = (rng.random(rows) < means[context, arm]).astype(float)
    none = np.zeros(rows, dtype=np.int64)
    names, places = [str(each) for each in range(ARMS)], [str(each) for each in range(CONTEXTS)]
    propensity, lacking = logged[context, arm], np.zeros((0, ARMS), dtype=bool)
    log = Decisions(names, places, ["0"], arm, reward, propensity, context, none, none, lacking)
    return log, judged, means


def compare(theirs: Any, log: Decisions, policy: np.ndarray, model: np.ndarray) -> None:
    """Hold the terms of the estimators that both have beside one another, on 10,000 rows."""
    rows = slice(10_000)
    action, reward, propensity = log.arm[rows], log.reward[rows], log.propensity[rows]
    table, expected = policy[log.context[rows]], model[log.context[rows]]
    weight = estimators.weights(table[np.arange(len(action)), action], propensity)
    value = (table * expected).sum(axis=1)
    ours = {
        "InverseProbabilityWeighting": estimators.inverse_propensity(weight, reward),
        "SelfNormalizedInverseProbabilityWeighting": estimators.self_normalized(weight, reward),
        "DirectMethod": estimators.direct(value),
        "DoublyRobust": estimators.doubly_robust(weight, reward, value, value),
    }
    for name, terms in ours.items():
        found = getattr(theirs, name)().estimate_sample_rewards(
            action=action, reward=reward, propensity_score=propensity, estimated_policy=table,
            expected_reward=expected,
        )  # fmt: skip
        np.testing.assert_allclose(terms, found, rtol=1e-9, atol=1e-12, err_msg=name)


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def beside(rows: int, resamples: int, rounds: int) -> dict[str, dict[str, float]]:
    """Time mlkit and pybandits in turns on one log."""
    try:
        from pybandits import offline_policy_estimator as theirs
    except ImportError as error:
        sys.exit(f"error: {error}: the peer is missing: pip install pybandits")
    log, policy, means = log_of(rows)
    compare(theirs, log, policy, means)
    peer = theirs.DoublyRobust(n_bootstrap_samples=resamples, random_state=1)
    table, expected = policy[log.context], means[log.context]

    def their() -> object:
        return peer.estimate_policy_value_with_confidence_interval(
            action=log.arm, reward=log.reward.astype(int), propensity_score=log.propensity,
            estimated_policy=table, expected_reward=expected,
        )  # fmt: skip

    times = [(timed(lambda: ours(log, policy, resamples)), timed(their)) for _ in range(rounds)]
    mlkit, pybandits = zip(*times, strict=True)
    return {"mlkit": summary(mlkit), "pybandits": summary(pybandits)}


def ours(log: Decisions, policy: np.ndarray, resamples: int) -> object:
    threshold = len(log) ** 0.5
    how = Settings(clip=threshold, switch=threshold, resamples=resamples)
    return judge(log, Target.of_table("policy", policy, log), how)


def summary(seconds: Sequence[float]) -> dict[str, float]:
    return {"s": statistics.median(seconds), "fastest": min(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-rows", type=int, default=20_000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    both = beside(options.peer_rows, options.resamples, options.rounds)
    log, policy, _ = log_of(options.rows)
    seconds = [timed(lambda: ours(log, policy, options.resamples)) for _ in range(options.rounds)]
    found = both | {"rows": options.rows, "all rows": summary(seconds)}
    for name in ("mlkit", "pybandits"):
        print(f"{name:9} {options.peer_rows} rows: {both[name]['s']:.2f} s")
    ratio = both["pybandits"]["s"] / both["mlkit"]["s"]
    print(f"mlkit is {ratio:.0f} times as fast (goal: 10)")
    print(f"mlkit     {options.rows} rows: {statistics.median(seconds):.2f} s (goal: 10)")
    if options.json:
        options.json.write_text(json.dumps(found | {"load": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    main()
