"""Whether the propensities of a log fit how often arms were shown first.

Under the log's own propensities p_t(i), the number of times that arm i came first has the mean
sum p_t(i) and the variance sum p_t(i) (1 - p_t(i)), whatever the posteriors learned meanwhile: the
differences are a martingale. So each arm has a score z, Normal(0, 1) for many decisions; arms that
are expected less than `FEWEST` times are counted together. The p-value of the log is that of its
largest |z|, times the number of tests (Bonferroni), which is at least the true one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scipy import special

from mlkit.bandit.logs import served
from mlkit.bandit.logs.served import BadLines, Decision
from mlkit.errors import BadData
from mlkit.unpacking import STREAMED, UnpackLimits

FEWEST = 10.0
"""Expected firsts below which arms, or bins of probabilities, are counted together."""
_TOLERANCE = 1e-3
"""How far the probabilities of all candidates may be from a sum of 1."""


class ArmCheck(NamedTuple):
    """How often an arm came first.

    Attributes:
        arm: Its id; None: all arms that were expected too rarely for a test of their own.
        expected: By the log's propensities.
        shown: In fact.
        z: The difference in standard deviations.
    """

    arm: str | None
    expected: float
    shown: int
    z: float


class Verified(NamedTuple):
    """What the check found.

    Attributes:
        decisions: Decisions in the log.
        checked: Of these, those with the probabilities of all candidates.
        p_value: Of the largest difference; small if the propensities are wrong.
        arms: The arms, the largest difference first.
    """

    decisions: int
    checked: int
    p_value: float
    arms: list[ArmCheck]


@dataclass
class _Sums:
    """What is counted of an arm."""

    expected: float = 0.0
    variance: float = 0.0
    shown: int = 0

    def add(self, p: float, shown: int) -> None:
        self.expected += p
        self.variance += p * (1 - p)
        self.shown += shown


def verify(
    logs: Sequence[Path], limits: UnpackLimits = STREAMED, bad: BadLines | None = None
) -> Verified:
    """Compare propensities with frequencies.

    Args:
        logs: The logs.
        limits: How much a compressed file may unpack to.
        bad: What becomes of lines that are wrong; None: they are refused.

    Raises:
        InputMissing: A log cannot be read.
        BadData: A line is wrong, probabilities do not sum to 1, or no decision has any.
    """
    sums: dict[str, _Sums] = {}
    decisions = checked = 0
    for line in served.read(logs, limits, bad):
        if not isinstance(line, Decision):
            continue
        decisions += 1
        if line.first and line.arms:
            _add(sums, line)
            checked += 1
    if not checked:
        hint = "`mlkit bandit serve --log DIR --propensities 0.1` logs them"
        raise BadData(f"{', '.join(map(str, logs))}: no decision has propensities", hint=hint)
    arms = sorted(_checks(sums), key=lambda each: -abs(each.z))
    largest = abs(arms[0].z) if arms else 0.0
    p_value = min(1.0, 2 * len(arms) * float(special.ndtr(-largest)))
    return Verified(decisions, checked, p_value, arms)


def _add(sums: dict[str, _Sums], decision: Decision) -> None:
    assert decision.first is not None
    assert decision.candidates is not None
    total = sum(decision.first)
    if abs(total - 1) > _TOLERANCE:
        text = f"the probabilities of its candidates sum to {total:.6g}, not 1"
        raise BadData(f"the decision {decision.decision_id:.40}: {text}")
    for arm, p in zip(decision.candidates, decision.first, strict=True):
        sums.setdefault(arm, _Sums()).add(min(max(p, 0.0), 1.0), arm == decision.arms[0])


def _checks(sums: dict[str, _Sums]) -> list[ArmCheck]:
    rest, found = _Sums(), []
    for arm, each in sums.items():
        if each.expected >= FEWEST:
            found.append(_check(arm, each))
            continue
        rest.expected += each.expected
        rest.variance += each.variance
        rest.shown += each.shown
    return [*found, _check(None, rest)] if rest.expected > 0 or rest.shown else found


def _check(arm: str | None, sums: _Sums) -> ArmCheck:
    away = sums.shown - sums.expected
    # Half a count is what rounding of a certain choice may amount to, and no evidence.
    spread = max(sums.variance, 0.25) ** 0.5
    return ArmCheck(arm, sums.expected, sums.shown, away / spread)
