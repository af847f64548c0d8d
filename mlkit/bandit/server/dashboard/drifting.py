"""Arms whose mean reward is recently another than before."""

from __future__ import annotations

import numpy as np

from mlkit.bandit.server.dashboard.documents import ArmDrift, Drift
from mlkit.bandit.server.dashboard.observer import Observed, RewardSums

MOST_COMPARED = 100
"""Arms that are compared: those with the most rewards."""
MOST_SHOWN = 10
SIGNIFICANT = 0.05
_Sums = dict[str, RewardSums]


def drift(observed: Observed) -> Drift:
    """Test the recent rewards of each arm against those before, by `posteriors.drift`."""
    old, recent = observed.old, observed.recent
    names = _select_arms(old, recent)
    if not names:
        return Drift(observed.since, 0, 0, [])
    q = _adjust_p_values(names, old, recent)
    arms = [
        _arm(name, old[name], recent[name], value) for name, value in zip(names, q, strict=True)
    ]
    arms.sort(key=lambda each: 2.0 if each.q is None else each.q)
    changed = sum(each.q is not None and each.q <= SIGNIFICANT for each in arms)
    return Drift(observed.since, len(arms), changed, arms[:MOST_SHOWN])


def _select_arms(old: _Sums, recent: _Sums) -> list[str]:
    both = [arm for arm in recent if arm in old and min(old[arm].count, recent[arm].count) >= 1]
    both.sort(key=lambda arm: -(old[arm].count + recent[arm].count))
    return both[:MOST_COMPARED]


def _adjust_p_values(names: list[str], old: _Sums, recent: _Sums) -> list[float]:
    # Imported late: it brings scipy.stats, which no worker needs that nobody looks at.
    from mlkit.bandit.posteriors.drift import Moments, adjust, p_values

    def moments(sums: _Sums) -> Moments:
        rows = [(sums[arm].count, sums[arm].total, sums[arm].squares) for arm in names]
        return Moments(*np.array(rows, float).T)

    found: list[float] = adjust(p_values(moments(old), moments(recent))).tolist()
    return found


def _arm(name: str, old: RewardSums, recent: RewardSums, q: float) -> ArmDrift:
    means = (each.total / each.count for each in (old, recent))
    before, now = means
    return ArmDrift(
        name, before, old.count, now, recent.count, None if np.isnan(q) else min(q, 1.0)
    )
