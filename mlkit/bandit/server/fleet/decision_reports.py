"""What a host reports of its decisions, so that all hosts know how many each version has made."""

from __future__ import annotations

import random

from mlkit.bandit.server import metrics
from mlkit.bandit.server.candidates.tally import Tally
from mlkit.bandit.server.processes.protocol import DecisionCounts
from mlkit.web.metrics import Counters, SharedCounters


class DecisionReports:
    """Counts decisions by version since the present epoch of the tally began.

    What it knows is in the counters, which outlive the writer's process as those of workers do.

    Args:
        tally: The sums of the fleet.
        writer: The counters of the writer.
        counters: Those of all processes.
    """

    def __init__(self, tally: Tally, writer: Counters, counters: SharedCounters) -> None:
        self._tally, self._counters = tally, counters
        self._values, self._places = writer.values, writer.layout.counters
        if not self._get(metrics.COUNTED_BY):
            self._set(metrics.COUNTED_BY, float(random.getrandbits(52) + 1))
        self._source = f"{int(self._get(metrics.COUNTED_BY)):x}"

    def _get(self, name: str) -> float:
        return self._values[self._places[name]]

    def _set(self, name: str, value: float) -> None:
        self._values[self._places[name]] = value

    def _decisions(self) -> tuple[float, float]:
        sums = self._counters.sums()
        names = metrics.DECISIONS, metrics.CANDIDATE_DECISIONS
        own, its = (sums[self._places[name]] for name in names)
        return own, its

    def align(self) -> None:
        """Begin to count again, if a candidate has started or ended."""
        if self._get(metrics.COUNTED_EPOCH) == self._tally.epoch:
            return
        names = metrics.COUNTED_STABLE, metrics.COUNTED_CANDIDATE
        for name, value in zip(names, self._decisions(), strict=True):
            self._set(name, value)
        self._set(metrics.COUNTED_EPOCH, self._tally.epoch)

    def make(self) -> DecisionCounts | None:
        """Return what is new to the fleet; None: nothing is, or there was no candidate yet."""
        self.align()
        own, its = self._decisions()
        stable = own - self._get(metrics.COUNTED_STABLE)
        candidate = its - self._get(metrics.COUNTED_CANDIDATE)
        epoch = self._tally.epoch
        if not epoch or (stable, candidate) == self._tally.reported(self._source):
            return None
        return DecisionCounts(self._source, epoch, stable, candidate)
