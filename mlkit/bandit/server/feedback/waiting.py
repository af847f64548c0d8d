"""Decisions of a worker that wait for rewards: they are on disk before they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mlkit.bandit.logs.decision_times import decided_at
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import Prediction, PredictRequest
from mlkit.bandit.server.decisions.decision import DecisionIds
from mlkit.bandit.server.feedback.attribution import Details, waiting
from mlkit.bandit.server.feedback.commits import Writing
from mlkit.bandit.server.learning.records import Shown
from mlkit.bandit.server.processes.protocol import Kept
from mlkit.bandit.server.processes.writer_client import WriterUnavailable
from mlkit.web.metrics import Counters

PATIENCE = 2.0
"""Seconds that an answer waits for the journal; serving goes on without it."""


class WaitingDecisions:
    """Hands decisions to the writer.

    Args:
        writing: Makes changes durable.
        attribution: Seconds in which a reward must come.
        examination: Probabilities that an arm is examined at each position; empty: it always is.
        counters: Where to count decisions that could not be kept.
        ids: Resolves the ids of decisions, which carry the features.
    """

    def __init__(
        self,
        writing: Writing,
        attribution: float,
        examination: Sequence[float],
        counters: Counters,
        ids: DecisionIds,
    ) -> None:
        self._writing, self._attribution = writing, attribution
        self._examination = examination
        self._counters, self._ids = counters, ids

    async def keep(self, requests: Sequence[PredictRequest], answers: Sequence[Prediction]) -> None:
        """Wait until decisions are on disk, or counted as not kept."""
        pairs = zip(requests, answers, strict=True)
        shown = [self._show(*each) for each in pairs if each[1].arms]
        try:
            reply = await asyncio.wait_for(self._writing.commit_decisions(shown), PATIENCE)
        except (WriterUnavailable, TimeoutError):
            reply = None
        if not isinstance(reply, Kept):
            self._counters.add(metrics.UNKEPT, len(shown))

    def _show(self, request: PredictRequest, answer: Prediction) -> Shown:
        at = decided_at(answer.decision_id) or 0.0
        features = self._ids.resolve(answer.decision_id).features
        details = Details(request.context, at, features, answer.arms, self._chances(answer.arms))
        return waiting(answer.decision_id, at + self._attribution, details)

    def _chances(self, arms: Sequence[str]) -> list[float] | None:
        if not self._examination:
            return None
        last = len(self._examination) - 1
        return [self._examination[min(place, last)] for place in range(len(arms))]
