"""Predictions from the bytes of a request to those of its answer.

What plain Thompson sampling needs of a usual request is done by one kernel, without making objects
of the candidates; everything else is the general endpoint's, in `endpoints`. Both answer alike.
"""

from __future__ import annotations

from collections import Counter
from time import perf_counter

import msgspec

from mlkit.bandit._posterior_table import DirectPredictor, PosteriorTable, ThompsonSampler
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import Limits, PredictRequest
from mlkit.bandit.server.dashboard.shares import ShownArms
from mlkit.bandit.server.decisions.decision import DecisionIds
from mlkit.bandit.server.decisions.recorder import Recorder
from mlkit.web.metrics import Counters


class _Shown(msgspec.Struct):
    """What is counted of an answer."""

    arms: list[str]


_COUNTED = (
    metrics.PREDICTIONS,
    metrics.UNKNOWN_CONTEXTS,
    metrics.UNKNOWN_ARMS,
    metrics.DECISIONS,
)
_MOST_LEFT = 1000
"""Requests that may wait for the general endpoint; more never came there."""
_shown_in = msgspec.json.Decoder(_Shown).decode


class DirectPredictions:
    """Answers usual requests for predictions while a table is all that they need.

    Args:
        ids: Makes decision ids.
        sampler: Draws from the posteriors.
        counters: Where predictions are counted.
        limits: What one request may ask for.
        shown: Counts which arms come first, of a sample; None: nobody asks.
    """

    def __init__(
        self,
        ids: DecisionIds,
        sampler: ThompsonSampler,
        counters: Counters,
        limits: Limits,
        shown: ShownArms | None = None,
    ) -> None:
        self._ids, self._clock = ids, ids.clock
        self._sampler = sampler
        self._limits = limits
        self._counters, self._shown = counters, shown
        self._turn = 0
        self._predictor: DirectPredictor | None = None
        self._recorder: Recorder | None = None
        self._left: Counter[bytes] = Counter()

    def use(self, table: PosteriorTable | None, recorder: Recorder | None = None) -> None:
        """Answer from a table from now on.

        Args:
            table: The table; None: the general endpoint answers everything.
            recorder: Logs decisions; None: there is no log.
        """
        self._predictor, self._recorder = None, recorder
        if table is not None:
            self._predictor = DirectPredictor(
                table,
                self._sampler,
                self._ids.signer,
                self._counters.values,
                [self._counters.layout.counters[name] for name in _COUNTED],
                max_candidates=self._limits.max_candidates,
                max_k=self._limits.max_k,
                default_k=PredictRequest().k,
            )

    def answer(self, body: bytes) -> bytes | None:
        """Return the answer's JSON; None: the general endpoint answers."""
        if self._predictor is None:
            return None
        turn = self._turn + 1
        if turn == metrics.DIRECT_MEASURED_EVERY:
            return self._answer_and_measure(self._predictor, body)
        found = self._predict(self._predictor, body)
        if found is not None:
            self._turn = turn
        return found

    def _answer_and_measure(self, predictor: DirectPredictor, body: bytes) -> bytes | None:
        """Answer, and measure for the dashboard; the next one is measured if this one is not."""
        begin = perf_counter()
        found = self._predict(predictor, body)
        if found is None:
            return None
        self._counters.observe(metrics.STAGES[metrics.DIRECT], perf_counter() - begin)
        if self._shown is not None:
            self._shown.add(_shown_in(found).arms, metrics.DIRECT_MEASURED_EVERY)
        self._turn = 0
        return found

    def _predict(self, predictor: DirectPredictor, body: bytes) -> bytes | None:
        """Return an answer, which is counted; None: there is none."""
        if self._recorder is None:
            found = predictor.predict(body, self._clock())
        else:
            found = self._predict_and_log(predictor, self._recorder, body)
        if found is not None:
            predictor.count()
        return found

    def _predict_and_log(
        self, predictor: DirectPredictor, recorder: Recorder, body: bytes
    ) -> bytes | None:
        seed, mark = recorder.seed(), recorder.mark()
        found = predictor.predict(body, self._clock(), seed)
        if found is None or self._leave(recorder, body):
            return None
        recorder.direct_decision(predictor.last(), mark)
        return found

    def _leave(self, recorder: Recorder, body: bytes) -> bool:
        """Leave a request whose propensities are to be logged to the general endpoint."""
        if not recorder.wants_propensities():
            return False
        if len(self._left) >= _MOST_LEFT:
            self._left.clear()
        self._left[body] += 1
        return True

    def take_left(self, body: bytes) -> bool:
        """Return whether a request was left for its propensities, which are logged once then.

        Requests are told apart by their bodies: which of two equal ones is logged is the same.
        """
        if body not in self._left:
            return False
        self._left[body] -= 1
        if not self._left[body]:
            del self._left[body]
        return True
