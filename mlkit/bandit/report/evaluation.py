"""The report of `mlkit bandit evaluate`: how policies were judged on a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlkit import page
from mlkit.bandit.evaluation import estimators
from mlkit.bandit.evaluation.evaluation import Estimate, Judgement, difference
from mlkit.bandit.evaluation.target import Target, shares
from mlkit.bandit.evaluation.terms import name_of
from mlkit.bandit.logs.decisions import Logged
from mlkit.bandit.report import charts
from mlkit.drawing import Vector

TEMPLATES = Path(__file__).parent / "templates"
LISTED = 15
"""Arms in the table of a policy."""


@dataclass(frozen=True)
class Evaluation:
    """All that a page is about.

    Attributes:
        sources: The names of the logs.
        logged: Their rows.
        own: What the log's own policy earned.
        targets: The policies.
        judged: What was found of each of them, in the same order.
        settings: How, as the page lists it.
        level: The confidence of the intervals.
    """

    sources: Sequence[str]
    logged: Logged
    own: Estimate
    targets: Sequence[Target]
    judged: Sequence[Judgement]
    settings: dict[str, Any]
    level: float


def write(path: Path, found: Evaluation) -> None:
    """Write one page about an evaluation.

    Raises:
        InputMissing: The directory does not exist or cannot be written.
    """
    page.write(path, page.render(TEMPLATES, "evaluation.html", context(found), {}))


def context(found: Evaluation) -> dict[str, Any]:
    """Return all that the template shows."""
    pairs = zip(found.targets, found.judged, strict=True)
    return {
        "sources": found.sources,
        "logged": found.logged,
        "own": found.own,
        "level": found.level,
        "settings": found.settings,
        "policies": [_policy(found, *each) for each in pairs],
    }


def _policy(found: Evaluation, target: Target, judged: Judgement) -> dict[str, Any]:
    decisions, first = found.logged.decisions, found.judged[0]
    weight = estimators.weights(target.taken, decisions.propensity)
    names = {each.estimator: name_of(each.estimator) for each in judged.estimates}
    by_policy, by_log = shares(target, decisions), charts.logged_shares(decisions)
    return {
        "judged": judged,
        "names": names,
        "zero": float((weight == 0).mean()),
        "arms": _arms(found.logged, by_policy, by_log),
        "advantages": []
        if judged is first
        else [
            gain
            for each in judged.estimates
            if (gain := difference(first, judged, each.estimator, found.level)) is not None
        ],
        "pictures": {
            "estimates": charts.estimates(judged.estimates, names, found.own),
            "weights": charts.weights(weight),
            "overlap": charts.overlap(by_policy, by_log),
            "time": charts.over_time(decisions.reward, weight, found.logged.time),
        },
    }


def _arms(logged: Logged, by_policy: Vector, by_log: Vector) -> list[dict[str, Any]]:
    """Return the arms that the policy shows most."""
    decisions, count = logged.decisions, len(logged.decisions.arms)
    rows = np.bincount(decisions.arm, minlength=count)
    sums = np.bincount(decisions.arm, decisions.reward, minlength=count)
    order = np.argsort(-by_policy, kind="stable")[:LISTED]
    return [
        {
            "arm": decisions.arms[at],
            "policy": float(by_policy[at]),
            "log": float(by_log[at]),
            "rows": int(rows[at]),
            "reward": float(sums[at] / rows[at]) if rows[at] else None,
        }
        for at in order.tolist()
    ]
