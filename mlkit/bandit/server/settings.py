"""The settings of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mlkit.bandit.defaults import DEDUPE_DAYS, PORT, NewArms
from mlkit.bandit.feature_stores.address import FeatureAddress
from mlkit.bandit.server.api.messages import Limits
from mlkit.bandit.server.decisions.rails import Rails
from mlkit.bandit.stores.redis.address import Address
from mlkit.unpacking import UnpackLimits
from mlkit.web.access import Tokens
from mlkit.web.defaults import DRAIN_TIMEOUT, HOST
from mlkit.web.protocol import ConnectionLimits

ROLES = ("predict", "feedback", "arms", "observe", "operate")
"""What a caller may do; `operate` promotes a candidate, or rolls it back."""


@dataclass(frozen=True)
class FleetSettings:
    """What a host needs to know to be one of a fleet.

    Attributes:
        address: The Redis or Valkey that the hosts share.
        name: The fleet's name there.
        replicas: Replicas of Redis that must have an event before it is acknowledged.
        queue: Whether feedback is kept on this host's disk while Redis is away.
        snapshot_after: Bytes of entries after which a host makes a new snapshot, at least.
    """

    address: Address
    name: str = "bandit"
    replicas: int = 0
    queue: bool = False
    snapshot_after: int = 8 << 20


@dataclass(frozen=True)
class FeatureSettings:
    """Where features come from, and how they are asked for.

    Attributes:
        address: The store.
        chunk: Ids that are asked for at once.
        timeout: Seconds that a prediction waits for them.
    """

    address: FeatureAddress
    chunk: int = 100
    timeout: float = 0.05


@dataclass(frozen=True)
class Settings:
    """The settings of one server.

    Attributes:
        posteriors: The posteriors file; SIGHUP reads it again.
        state: The state directory.
        host: The address to listen at.
        port: The port; 0 takes a free one.
        workers: Processes that answer requests.
        policy: The policy; None: that of the posteriors file.
        half_life: Seconds in which what is known loses half of its weight; None: as the
            posteriors file states.
        window: Hours that count; None: those of the posteriors file.
        adopt: Whether another posteriors file may replace that of the state.
        rails: Limits of what is shown.
        kill_switch: The file that operators make to show the fallback; None: there is none.
        fallback: The arms that are shown then.
        examination: Probabilities that an arm is examined at each position; empty: it always is.
        post_process: The file of business rules; None: there are none.
        new_arm_prior: Parameters (a, b) of Beta posteriors of new arms; None: the file's prior.
        propensities: Share of logged decisions whose propensities are logged too.
        log: Directory of the decision log, or None.
        tokens: The bearer tokens of clients, and what each may do; None: all may do everything.
        dedupe_window: Seconds for which event ids and decision ids are good.
        attribution: Seconds in which a reward must come: without one by then, what was shown
            counts as 0; None: only what is sent counts.
        candidate: The posteriors file of another version, which learns beside the first; None:
            there is none.
        share: The share of users whom it answers.
        new_arms: How arms are added.
        drain_timeout: Seconds to finish the requests in flight on SIGTERM.
        limits: What one request may ask for.
        connections: What one connection may take.
        unpacking: How much the posteriors file may unpack to.
        fleet: The fleet that this host is one of; None: it is alone.
        features: Where features come from, beside requests and the model; None: nowhere else.
    """

    posteriors: Path
    state: Path
    host: str = HOST
    port: int = PORT
    workers: int = 2
    policy: str | None = None
    half_life: float | None = None
    window: int | None = None
    adopt: bool = False
    rails: Rails = field(default_factory=Rails)
    kill_switch: Path | None = None
    fallback: tuple[str, ...] = ()
    examination: tuple[float, ...] = ()
    post_process: Path | None = None
    new_arm_prior: tuple[float, float] | None = None
    propensities: float = 0.0
    log: Path | None = None
    tokens: Tokens | None = field(default=None, repr=False)
    dedupe_window: float = DEDUPE_DAYS * 86400
    attribution: float | None = None
    candidate: Path | None = None
    share: float = 0.0
    new_arms: NewArms = NewArms.PUT
    drain_timeout: float = DRAIN_TIMEOUT
    limits: Limits = field(default_factory=Limits)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    unpacking: UnpackLimits = field(default_factory=UnpackLimits)
    fleet: FleetSettings | None = None
    features: FeatureSettings | None = None
