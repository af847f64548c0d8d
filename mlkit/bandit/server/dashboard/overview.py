"""What the dashboard shows, from what all processes of a server have counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from mlkit.bandit._posterior_table import ThompsonSampler
from mlkit.bandit.server import metrics
from mlkit.bandit.server.candidates.variants import Variants
from mlkit.bandit.server.candidates.versions import compare
from mlkit.bandit.server.dashboard import arms, calibration, hosts, observer, shares
from mlkit.bandit.server.dashboard.documents import Drift, History, Overview, Stage
from mlkit.bandit.server.dashboard.drifting import drift
from mlkit.bandit.server.settings import Settings
from mlkit.bandit.stores.shared_model import Unreadable
from mlkit.web.errors import unavailable
from mlkit.web.metrics import SharedCounters
from mlkit.web.shared_document import SharedDocument

FRESH = 0.9
"""Seconds for which an answer serves all who ask."""
_DRIFT_FRESH = 10.0


@dataclass(frozen=True)
class Boards:
    """What the processes of a server publish for one another; made before they are forked.

    Attributes:
        observed: What the writer has observed.
        shown: What came first, of each worker.
        fleet: What the hosts of the fleet report.
    """

    observed: SharedDocument
    shown: tuple[SharedDocument, ...]
    fleet: SharedDocument

    @staticmethod
    def of(workers: int) -> Boards:
        """Return those of a server with this number of workers."""
        shown = tuple(SharedDocument(shares.ROOM) for _ in range(workers))
        return Boards(SharedDocument(observer.ROOM), shown, SharedDocument(hosts.ROOM))


class Overviews:
    """Makes the document of the dashboard, at most about once a second.

    Args:
        settings: The server's settings.
        counters: The counters of all processes.
        boards: What processes publish.
        answering: Returns the versions that answer.
        started: When the server started, on the monotonic clock.
    """

    def __init__(
        self,
        settings: Settings,
        counters: SharedCounters,
        boards: Boards,
        answering: Callable[[], Variants],
        started: float,
    ) -> None:
        self._settings, self._counters, self._boards = settings, counters, boards
        self._answering, self._started = answering, started
        self._sampler = ThompsonSampler()
        self._lock = asyncio.Lock()
        self._made_at = self._drift_at = -float("inf")
        self._document = b""
        self._drift: Drift | None = None

    def signature(self) -> tuple[float, ...]:
        """Return numbers that change when there is something new to show."""
        sums, places = self._counters.sums(), self._counters.layout.counters
        first = min(places.values())
        boards = self._boards
        documents = [boards.observed, boards.fleet, *boards.shown]
        return (*sums[first : first + len(places)], *(each.number for each in documents))

    async def document(self) -> bytes:
        """Return the document, as JSON.

        Raises:
            RequestError: 503: the posteriors are being loaded or changed.
        """
        async with self._lock:
            if time.monotonic() - self._made_at > FRESH:
                self._document = msgspec.json.encode(await self._make())
                self._made_at = time.monotonic()
        return self._document

    async def _make(self) -> Overview:
        variants = self._answering()
        try:
            # Read in the thread of the event loop, as predictions are.
            leading = await arms.leading(variants.stable.store, self._sampler)
        except Unreadable:
            raise unavailable("the model is being changed") from None
        return await asyncio.to_thread(self._described, variants, leading)

    def _described(self, variants: Variants, leading: arms.Leading) -> Overview:
        sums, places = self._counters.sums(), self._counters.layout.counters
        observed = observer.read(self._boards.observed)
        shown, stable = shares.merge(self._boards.shown), variants.stable

        def total(*names: str) -> int:
            return int(sum(sums[places[name]] for name in names))

        return Overview(
            at=time.time(),
            model=stable.model,
            policy=stable.policy,
            file=stable.base,
            uptime=time.monotonic() - self._started,
            workers=self._settings.workers,
            restarts=total(metrics.RESTARTS),
            decisions=total(metrics.DECISIONS, metrics.CANDIDATE_DECISIONS),
            scored=total(metrics.PREDICTIONS),
            unknown=total(metrics.UNKNOWN_ARMS),
            feedback=total(metrics.EVENTS),
            arms=arms.describe(leading, self._settings.rails, observed.by_arm(), shown),
            history=History(observed.times, observed.decisions, observed.events, observed.rewards),
            stages=self._stages(),
            propensities=calibration.check(self._counters, self._settings.propensities),
            drift=self._drifting(observed),
            versions=(compare(variants, self._counters) if variants.candidate else msgspec.UNSET),
            fleet=hosts.read(self._boards.fleet) or msgspec.UNSET,
        )

    def _drifting(self, observed: observer.Observed) -> Drift:
        if self._drift is None or time.monotonic() - self._drift_at > _DRIFT_FRESH:
            self._drift, self._drift_at = drift(observed), time.monotonic()
        return self._drift

    def _stages(self) -> list[Stage]:
        found = {name: self._counters.histogram(each) for name, each in metrics.STAGES.items()}
        found["whole request"] = self._counters.request_histogram("/predict")
        return [
            Stage(name, int(each.count), each.mean, each.quantile(0.5), each.quantile(0.99))
            for name, each in found.items()
        ]
