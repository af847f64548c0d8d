"""The settings of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from mlkit.bandit.server.messages import Limits
from mlkit.bandit.server.rails import Rails
from mlkit.unpacking import UnpackLimits
from mlkit.web.protocol import ConnectionLimits

WEEK = 7 * 86400.0


class NewArms(StrEnum):
    """How arms are added to a running server."""

    PUT = "put"
    FROM_FEEDBACK = "from-feedback"


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
            posteriors file says.
        window: Hours that count; None: as the posteriors file says.
        adopt: Whether another posteriors file may replace that of the state.
        rails: Limits of what is shown.
        kill_switch: The file that operators make to show the fallback; None: there is none.
        fallback: The arms that are shown then.
        examination: Probabilities that an arm is examined at each position; empty: it always is.
        new_arm_prior: Parameters (a, b) of Beta posteriors of new arms; None: the file's prior.
        propensities: Share of logged decisions whose propensities are logged too.
        log: Directory of the decision log, or None.
        token: The bearer token of clients, or None.
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
    """

    posteriors: Path
    state: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 2
    policy: str | None = None
    half_life: float | None = None
    window: int | None = None
    adopt: bool = False
    rails: Rails = field(default_factory=Rails)
    kill_switch: Path | None = None
    fallback: tuple[str, ...] = ()
    examination: tuple[float, ...] = ()
    new_arm_prior: tuple[float, float] | None = None
    propensities: float = 0.0
    log: Path | None = None
    token: bytes | None = field(default=None, repr=False)
    dedupe_window: float = WEEK
    attribution: float | None = None
    candidate: Path | None = None
    share: float = 0.0
    new_arms: NewArms = NewArms.PUT
    drain_timeout: float = 8.0
    limits: Limits = field(default_factory=Limits)
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    unpacking: UnpackLimits = field(default_factory=UnpackLimits)
