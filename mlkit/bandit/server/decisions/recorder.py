"""What is logged of decisions: enough to compute their propensities now or later."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np

from mlkit.bandit.models.features import Named
from mlkit.bandit.policies.catalog import THOMPSON, PolicySpec
from mlkit.bandit.propensities import ERROR, TopK
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import PredictRequest, Propensities
from mlkit.bandit.server.decisions.choice import FALLBACK
from mlkit.bandit.server.decisions.decision_log import DecisionLine, DecisionLog
from mlkit.bandit.server.decisions.predictor import Predicted
from mlkit.bandit.server.features.fetching import NO_ARM_FEATURES
from mlkit.web.metrics import Counters

_INTEGRATED = ("gamma-poisson", "normal", "softmax")
_DIRECT = (
    b'{"type":"decision","at":"%b","decision_id":"%b","context":%b,%b,"policy":"thompson",'
    b'"version":"%b","k":%d,"seed":%d,"source":"policy","candidates":%b,"features":null,'
    b'"propensities":null,"first":null,"arm_features":null,"post_process":null}'
)


class Recorder:
    """Writes decisions to the log.

    Args:
        log: The log; None: nothing is logged.
        share: Share of decisions whose propensities are logged.
        writer: The counters of the writer, which show what workers answer with; None: unknown.
    """

    def __init__(self, log: DecisionLog | None, share: float, writer: Counters | None) -> None:
        self.log = log
        self._share = share if log is not None else 0.0
        self._writer = writer
        self._random = random.Random()
        self._spec: PolicySpec | None = None
        self._base = ""
        if writer is not None:
            places = writer.layout.counters
            self._begun, self._shown = places[metrics.BEGUN], places[metrics.SHOWN]

    def use(self, spec: PolicySpec | None, base: str) -> None:
        """Log decisions of another policy, or of other posteriors."""
        self._spec, self._base = spec, base

    def seed(self) -> int:
        """Return a seed for a decision without one."""
        return self._random.getrandbits(64)

    def wants_propensities(self) -> bool:
        """Return whether this decision is one of those whose propensities are logged."""
        return self._share > 0 and self._random.random() < self._share

    def mark(self) -> float:
        """Return how many changes workers answer with, before a decision."""
        return 0.0 if self._writer is None else self._writer.values[self._shown]

    def _version(self, mark: float) -> str:
        after = mark if self._writer is None else self._writer.values[self._begun]
        upto = "" if after == mark else f"-{after:.0f}"
        return f"{self._base}.{mark:.0f}{upto}"

    def error(self, source: str) -> float | None:
        """Return the relative error of propensities; None: a closed form, or counted draws."""
        if source == FALLBACK:
            return None
        spec = self._spec
        if spec is None or spec.name in _INTEGRATED or spec.inner or spec.name == "top-two":
            return ERROR
        is_sampled = spec.name in ("lin-ts", "logistic")
        return ERROR if is_sampled and not spec.is_shared else None

    def document(self, found: TopK, source: str) -> Propensities:
        """Return propensities as a document."""
        ranks, count = np.minimum(found.ranks, 1.0), len(found.ranks)
        return Propensities(
            ranks[:, 0].tolist() if count else [],
            found.included.tolist() if count else [],
            [float(ranks[place, place]) for place in range(count)],
            found.slate,
            self.error(source),
        )

    def direct_decision(
        self, last: tuple[bytes, bytes | None, bytes, int, int | None, bytes], mark: float
    ) -> None:
        """Log a decision of plain Thompson sampling, byte by byte as `decision` does.

        Args:
            last: What `DirectPredictor.last` returns of it.
            mark: What `mark` returned before.
        """
        assert self.log is not None
        decision_id, context, answer, *asked = last
        named = b"null" if context is None else b'"%b"' % context
        ranked = answer[: answer.rindex(b',"unknown":')]
        about = self.log.now().encode(), decision_id, named, ranked, self._version(mark).encode()
        self.log.line(_DIRECT % (*about, *asked))

    def decision(
        self,
        decision_id: str,
        request: PredictRequest,
        found: Predicted,
        seed: int,
        mark: float,
        *,
        arms: Mapping[str, Named] = NO_ARM_FEATURES.named,
    ) -> None:
        """Log a decision, with the features of arms that a store had."""
        assert self.log is not None
        ranks = found.propensities
        self.log.decision(
            DecisionLine(
                self.log.now(),
                decision_id,
                request.context,
                found.arms,
                found.scores,
                THOMPSON if self._spec is None else str(self._spec),
                self._version(mark),
                request.k,
                seed,
                found.source,
                _as_list(found.candidates),
                request.features,
                None if ranks is None else self.document(ranks, found.source),
                found.first,
                {each: arms[each] for each in found.candidates if each in arms} or None,
                found.post_process,
            )
        )


def _as_list(candidates: Sequence[str]) -> Sequence[str]:
    return candidates if isinstance(candidates, list) else list(candidates)
