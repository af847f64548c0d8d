"""Decisions of a worker that wait for rewards: they are on disk before they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mlkit.bandit.logs.times import decided_at
from mlkit.bandit.server import metrics
from mlkit.bandit.server.attribution import Details, waiting
from mlkit.bandit.server.commits import Writing
from mlkit.bandit.server.feedback import packed_features
from mlkit.bandit.server.messages import Prediction, PredictRequest
from mlkit.bandit.server.protocol import Kept
from mlkit.bandit.server.records import Shown
from mlkit.bandit.server.writer_client import WriterUnavailable
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
    """

    def __init__(
        self,
        writing: Writing,
        attribution: float,
        examination: Sequence[float],
        counters: Counters,
    ) -> None:
        self._writing, self._attribution = writing, attribution
        self._examination = examination
        self._counters = counters

    async def keep(self, requests: Sequence[PredictRequest], answers: Sequence[Prediction]) -> None:
        """Return when decisions are on disk, or counted as not kept."""
        pairs = zip(requests, answers, strict=True)
        shown = [self._shown(*each) for each in pairs if each[1].arms]
        try:
            reply = await asyncio.wait_for(self._writing.decided(shown), PATIENCE)
        except (WriterUnavailable, TimeoutError):
            reply = None
        if not isinstance(reply, Kept):
            self._counters.add(metrics.UNKEPT, len(shown))

    def _shown(self, request: PredictRequest, answer: Prediction) -> Shown:
        at = decided_at(answer.decision_id) or 0.0
        named = request.features
        features = None if named is None else packed_features(named, "")
        details = Details(request.context, at, features, answer.arms, self._chances(answer.arms))
        return waiting(answer.decision_id, at + self._attribution, details)

    def _chances(self, arms: Sequence[str]) -> list[float] | None:
        if not self._examination:
            return None
        last = len(self._examination) - 1
        return [self._examination[min(place, last)] for place in range(len(arms))]
