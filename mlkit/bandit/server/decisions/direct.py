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

DirectlyPredicted = tuple[bytes | None, bytes, bytes, int, int, int]


class _Shown(msgspec.Struct):
    """What an answer begins with."""

    arms: list[str]


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
        self._ids = ids
        self._sampler = sampler
        self._limits = limits
        self._counters, self._shown = counters, shown
        self._turn = 0
        self._predictions = metrics.PredictionCounters(counters)
        self._values = counters.values
        self._decided = counters.layout.counters[metrics.DECISIONS]
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
                max_candidates=self._limits.max_candidates,
                max_k=self._limits.max_k,
                default_k=PredictRequest().k,
            )

    def answer(self, body: bytes) -> bytes | None:
        """Return the answer's JSON; None: the general endpoint answers."""
        if self._predictor is None:
            return None
        if self._turn + 1 == metrics.DIRECT_MEASURED_EVERY:
            return self._answer_and_count(self._predictor, body)
        found = self._predict(self._predictor, body)
        if found is None:
            return None
        self._turn += 1
        return found[0]

    def _answer_and_count(self, predictor: DirectPredictor, body: bytes) -> bytes | None:
        """Answer, and count for the dashboard; the next request is counted if this one is not."""
        begin = perf_counter()
        found = self._predict(predictor, body)
        if found is None:
            return None
        self._counters.observe(metrics.STAGES[metrics.DIRECT], perf_counter() - begin)
        if self._shown is not None:
            arms = _shown_in(b"{" + found[1]).arms
            self._shown.add(arms, metrics.DIRECT_MEASURED_EVERY)
        self._turn = 0
        return found[0]

    def _predict(self, predictor: DirectPredictor, body: bytes) -> tuple[bytes, bytes] | None:
        """Return an answer, and the part of it from its arms on; None: there is none."""
        recorder, seed, mark = self._recorder, None, 0.0
        if recorder is not None:
            seed, mark = recorder.seed(), recorder.mark()
        found = predictor.predict(body, seed)
        if found is None or (recorder is not None and self._leave(recorder, body)):
            return None
        decision_id = self._ids.sign(found[1], found[0])
        if recorder is not None:
            recorder.direct_decision(decision_id, found[0], found[2], predictor.last(), mark)
        return self._complete(decision_id, found), found[2]

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

    def _complete(self, decision_id: bytes, found: DirectlyPredicted) -> bytes:
        """Return an answer with its decision id, and count it."""
        _, _, rest, count, unknown_contexts, unknown_arms = found
        self._predictions.add(count, unknown_contexts, unknown_arms)
        self._values[self._decided] += 1
        return b'{"decision_id":"%b",%b' % (decision_id, rest)
