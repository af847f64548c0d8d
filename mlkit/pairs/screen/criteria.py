"""What a screen looks for, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from mlkit.errors import UsageError
from mlkit.pairs.cluster import Cluster
from mlkit.pairs.screen.cointegration import Trend
from mlkit.pairs.settings import FDR, PRIOR, TREND, Method, Prior, Selection

Scale = Literal["log", "levels"]


@dataclass(frozen=True)
class Filters:
    """What a pair has to satisfy besides its rank.

    The first four are applied before the tests and lower their number; half-life and Hurst
    exponent belong to the spread that is tested, and are applied after.

    Attributes:
        min_correlation: Of the returns.
        groups: A group for each ticker; both of a pair have to share it, unless the groups
            are the prior.
        min_price: The least close of both in the window.
        half_life: Bounds in bars.
        max_hurst: The Hurst exponent stays below it.
    """

    min_correlation: float | None = None
    groups: Mapping[str, str] | None = None
    min_price: float | None = None
    half_life: tuple[float, float] = (0.0, np.inf)
    max_hurst: float | None = None


@dataclass(frozen=True)
class Criteria:
    """What the screen looks for.

    Attributes:
        method: `cointegration` ranks by p-value, `correlation` by the size of the returns'
            correlation, `distance` by the squared deviation of normalised prices (Gatev,
            Goetzmann and Rouwenhorst 2006).
        scale: `log`: the hedge ratio weighs money; `levels`: it weighs shares.
        trend: What the cointegrating regression holds besides the other series.
        lags: Lagged changes of the test; None lets Akaike's criterion choose.
        fdr: The control of false discoveries (cointegration only).
        alpha: The share of false discoveries that is accepted.
        prior: What weighs the pairs before the tests (`prior`): the correlation of their
            steps, the groups of the filters, or nothing.
        keep_stationary: Test tickers that have no unit root themselves, too.
        top: The most pairs to return; None for all.
        filters: What a pair has to satisfy besides.

    Raises:
        UsageError: The prior is the groups, and there are none.
    """

    method: Method = Selection.method
    scale: Scale = "log"
    trend: Trend = TREND
    lags: int | None = None
    fdr: FDR = Selection.fdr
    alpha: float = Selection.alpha
    prior: Prior = PRIOR
    keep_stationary: bool = False
    top: int | None = None
    filters: Filters = field(default_factory=Filters)

    def __post_init__(self) -> None:
        if self.prior == "groups" and self.filters.groups is None:
            raise UsageError("the prior is the groups, and there are none", hint="--groups FILE")

    @property
    def groups(self) -> Mapping[str, str] | None:
        """The groups within which pairs have to lie."""
        return None if self.prior == "groups" else self.filters.groups


@dataclass(frozen=True)
class Resources:
    """What a screen may use; its result does not depend on it.

    Attributes:
        threads: Threads to use.
        checkpoint: A directory that keeps finished portions, for a screen that goes on after
            it was stopped; None keeps nothing.
        cluster: Machines that test the pairs; None: this one does.
    """

    threads: int = 1
    checkpoint: Path | None = None
    cluster: Cluster | None = None
