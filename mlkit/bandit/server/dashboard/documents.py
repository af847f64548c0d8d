"""What the dashboard shows, as it is answered in JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mlkit.bandit.server.api.messages import Versions

_SHARE = {"minimum": 0, "maximum": 1}


def _describe(text: str) -> Meta:
    return Meta(description=text)


def _share(text: str) -> Meta:
    return Meta(description=text, extra_json_schema=_SHARE)


class ArmOverview(msgspec.Struct, gc=False):
    """An arm: what is known of it, and how much traffic it gets."""

    arm: str
    pulls: Annotated[float, _describe("Rewards that it has learned from.")]
    mean: Annotated[float | None, _describe("Expected reward; null: it depends on features.")]
    low: Annotated[float | None, _describe("Lower end of the interval; null: there is none.")]
    high: Annotated[float | None, _describe("Upper end of the interval.")]
    observed: Annotated[
        bool, _describe("The interval is of the rewards since the start, not of a posterior.")
    ]
    first: Annotated[
        float | None,
        _share("Probability to be shown first without a context; null: not to be computed."),
    ]
    shown: Annotated[float | None, _share("Share of the sampled decisions in which it came first.")]


class Arms(msgspec.Struct, gc=False):
    """The arms with the highest upper ends."""

    total: Annotated[int, _describe("Arms that can be recommended.")]
    level: Annotated[float, _share("Probability inside the intervals.")]
    sampled: Annotated[int, _describe("Decisions that the sample stands for.")]
    arms: list[ArmOverview]


class History(msgspec.Struct, gc=False):
    """What happened since the start: sums up to each time, finer for what is recent."""

    times: Annotated[list[float], _describe("In seconds since 1970.")]
    decisions: Annotated[list[float], _describe("Decisions of this host.")]
    events: Annotated[
        list[float],
        _describe("Rewards that were learned, of all hosts of a fleet, implied zeros included."),
    ]
    rewards: Annotated[list[float], _describe("Their sum.")]


class Stage(msgspec.Struct, gc=False):
    """How long a stage of predictions takes, in seconds."""

    stage: str
    count: Annotated[int, _describe("How often it was measured.")]
    mean: float | None
    p50: float | None
    p99: Annotated[float | None, _describe("Interpolated in the buckets of the metrics.")]


class ProbabilityBin(msgspec.Struct, gc=False):
    """Candidates that were to come first with about the same probability."""

    low: Annotated[float, _share("The least probability.")]
    high: Annotated[float, _share("The largest.")]
    expected: Annotated[float, _describe("How many were expected to come first.")]
    shown: Annotated[float, _describe("How many did.")]
    z: Annotated[float | None, _describe("The difference in standard deviations.")]


class PropensityCheck(msgspec.Struct, gc=False):
    """Whether logged propensities fit what was shown."""

    share: Annotated[float, _share("Of decisions for which propensities are computed.")]
    decisions: Annotated[int, _describe("That were checked.")]
    p: Annotated[float | None, _share("P-value of the largest difference; null: none was checked.")]
    bins: list[ProbabilityBin]


class ArmDrift(msgspec.Struct, gc=False):
    """The mean reward of an arm, before and recently."""

    arm: str
    old: float
    old_rewards: float
    recent: float
    recent_rewards: float
    q: Annotated[float | None, _share("P-value, adjusted for the number of arms.")]


class Drift(msgspec.Struct, gc=False):
    """Arms whose mean reward changed, the surest first."""

    since: Annotated[float, _describe("When what is recent begins, in seconds since 1970.")]
    compared: Annotated[int, _describe("Arms with rewards in both periods.")]
    changed: Annotated[int, _describe("Of these, arms with q <= 0.05.")]
    arms: list[ArmDrift]


class FleetHost(msgspec.Struct, gc=False):
    """A host of a fleet, as it reported last."""

    host: str
    is_this: Annotated[bool, _describe("Whether it is the host that answers.")]
    age: Annotated[float, _describe("Seconds since its report; it reports once a second.")]
    entries: Annotated[int, _describe("Entries of the fleet's stream that it had applied.")]
    behind: Annotated[int, _describe("Entries that it had not yet applied.")]
    stale: Annotated[
        float | None, _describe("Seconds since it had all; null: not since its start.")
    ]
    queued: Annotated[int, _describe("Messages that waited on its disk for the store.")]


class FleetOverview(msgspec.Struct, gc=False):
    """The hosts that learn as one."""

    name: str
    at: Annotated[float, _describe("When the store answered last, in seconds since 1970.")]
    hosts: Annotated[list[FleetHost], _describe("Those of the last day.")]


class Overview(msgspec.Struct, gc=False):
    """What a server does: all its worker processes together."""

    at: Annotated[float, _describe("When, in seconds since 1970.")]
    model: str
    policy: str
    file: Annotated[str, _describe("The first digits of the posteriors file's hash.")]
    uptime: Annotated[float, _describe("Seconds since the start of the server.")]
    workers: int
    restarts: Annotated[int, _describe("Processes that were started again after their death.")]
    decisions: Annotated[int, _describe("Answered predictions.")]
    scored: Annotated[int, _describe("Candidates of all predictions.")]
    unknown: Annotated[int, _describe("Candidates that are no known arm.")]
    feedback: Annotated[int, _describe("Events that were counted.")]
    arms: Arms
    history: History
    stages: list[Stage]
    propensities: PropensityCheck
    drift: Drift
    versions: Annotated[Versions, _describe("Beside a candidate.")] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    fleet: Annotated[FleetOverview, _describe("In a fleet.")] | msgspec.UnsetType = msgspec.UNSET
