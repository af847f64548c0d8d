"""The place between the policy and the answer, where business rules change what is shown.

Filters and pins keep propensities exact: the policy chooses among what the filters leave, and a
pinned arm is certain. What depends on the ranking itself (diversity, a Python file) has none but
that of the first arm under diversity without pins, where the best arm is always shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from mlkit.bandit.propensities import TopK
from mlkit.bandit.server import metrics
from mlkit.bandit.server.api.messages import PredictRequest
from mlkit.bandit.server.decisions.choice import Wanted, prepend_pinned
from mlkit.bandit.server.decisions.decision_log import PostProcessed
from mlkit.bandit.server.decisions.predictor import Predicted
from mlkit.bandit.server.post_process import rules
from mlkit.bandit.server.post_process.script import Script, ScriptFailed
from mlkit.errors import ConfigurationError, UsageError
from mlkit.web.errors import RequestError, unavailable
from mlkit.web.metrics import Counters

REFUSAL = (
    "propensities: what is shown depends on the whole ranking (--post-process): it has none that "
    "are exact"
)
Known = Mapping[str, Mapping[str, Any]]
logger = logging.getLogger("mlkit.bandit.server")


class PostProcess:
    """What the rules of a file make of rankings.

    Attributes:
        features: The features of arms that the rules read.

    Args:
        path: The file: Python, or a list of rules as TOML.
        counters: Where to count.

    Raises:
        MlkitError: It cannot be used.
    """

    def __init__(self, path: Path, counters: Counters) -> None:
        self._script = Script(path) if path.suffix == ".py" else None
        if self._script is None and path.suffix != ".toml":
            hint = "a Python file is .py, a list of rules .toml"
            raise UsageError(f"--post-process {path}: neither .py nor .toml", hint=hint)
        self.rules = rules.Rules() if self._script is not None else rules.read(path)
        self.features = self.rules.features if self._script is None else self._script.features
        self._counters = counters
        self._name = f"{path.name}@{blake2b(path.read_bytes(), digest_size=4).hexdigest()}"

    def check(self, *, has_store: bool) -> None:
        """Refuse rules about features that nothing knows.

        Raises:
            ConfigurationError: There is such a feature.
        """
        own = {name for row in self.rules.arms.values() for name in row}
        unknown = [name for name in self.features if name not in own]
        if unknown and not has_store:
            hint = "--features STORE has the features of arms; so may [arms.ID] in a list of rules"
            raise ConfigurationError(f"{self._name}: nothing has {unknown[0]!r}", hint=hint)

    def begin(
        self,
        request: PredictRequest,
        arms: Sequence[str],
        may_pin: Callable[[str], bool],
        known: Known,
    ) -> Decision:
        """Return a decision that has begun: the policy's part comes next.

        Args:
            request: What is asked for.
            arms: All candidates.
            may_pin: Returns whether a candidate may be pinned.
            known: Features of arms by the store.
        """
        allowed = self.rules.select_allowed(arms, known)
        kept = set(allowed)
        removed = [arm for arm in arms if arm not in kept]
        self._counters.add(metrics.REMOVED, len(removed))
        places = {rule.position - 1: rule.arm for rule in self.rules.pin if rule.arm in kept}
        pins = {
            place: places[place]
            for place in sorted(places)
            if place < request.k and may_pin(places[place])
        }
        return Decision(self, request, allowed, removed, pins, known)

    @property
    def is_exact(self) -> bool:
        """Whether what is shown has exact propensities."""
        return self._script is None and not self.rules.diversity

    def plan_policy(self, wanted: Wanted) -> Wanted:
        """Return what the policy's part is to compute."""
        if self.is_exact:
            return wanted
        return Wanted(propensities=False, first=wanted.first and self._script is None)

    def choose(
        self,
        request: PredictRequest,
        seed: int,
        found: Predicted,
        pins: Sequence[str],
        known: Known,
    ) -> list[str]:
        """Return the arms beside those pinned.

        Raises:
            RequestError: 503: the Python file failed.
        """
        if self._script is None:
            return self.rules.diverse(found.arms, request.k - len(pins), pins, known)
        about = {
            "context": request.context,
            "features": dict(request.features or {}),
            "k": request.k,
            "seed": seed,
        }
        ranking = list(zip(found.arms, found.scores, strict=True))
        try:
            return self._script.choose(about, ranking, known)[: request.k]
        except ScriptFailed as error:
            self._counters.add(metrics.POST_FAILURES)
            logger.error("%s: %s", self._name, error)
            raise unavailable("the post-processing of the ranking failed") from None

    def to_log(self, ranked: list[str], removed: list[str]) -> PostProcessed:
        """Return what is logged of a decision."""
        return PostProcessed(self._name, ranked, removed)


class Decision:
    """A decision between its policy and its answer.

    Attributes:
        request: What the policy is asked for.
        seconds: How long the end took.
    """

    seconds = 0.0

    def __init__(
        self,
        process: PostProcess,
        request: PredictRequest,
        allowed: list[str],
        removed: list[str],
        pins: Mapping[int, str],
        known: Known,
    ) -> None:
        self._process, self._asked, self._removed = process, request, removed
        self._pins, self._known = pins, known
        pinned = set(pins.values())
        free = [arm for arm in allowed if arm not in pinned]
        k = request.k - len(pins) if process.is_exact else max(len(free), 1)
        self.request = msgspec.structs.replace(request, candidates=free, k=k)

    def end(self, found: Predicted, seed: int) -> Predicted:
        """Return what is shown.

        Raises:
            RequestError: 503: the Python file failed.
        """
        start = perf_counter()
        pins, k = list(self._pins.values()), self._asked.k
        rest = found.arms
        if not self._process.is_exact:
            rest = self._process.choose(self._asked, seed, found, pins, self._known)
        order = _order(list(self._pins), len(rest), k)
        every, scores = [*pins, *rest], dict(zip(found.arms, found.scores, strict=True))
        arms = [every[place] for place in order]
        shown = found._replace(
            arms=arms,
            scores=[scores.get(arm, 0.0) for arm in arms],
            candidates=[*pins, *found.candidates],
            propensities=_reorder(prepend_pinned(len(pins), found.propensities, len(arms)), order),
            first=self._first(found.first),
            post_process=self._process.to_log(found.arms[:k], self._removed),
        )
        if not self._process.is_exact:
            shown = shown._replace(refusal=REFUSAL)
        self.seconds = perf_counter() - start
        return shown

    def refuse_propensities(self, place: str) -> None:
        """Refuse to compute what does not exist.

        Raises:
            RequestError: 422.
        """
        if self._asked.propensities and not self._process.is_exact:
            raise RequestError(422, f"{place}{REFUSAL}", "ask without propensities")

    def _first(self, found: list[float] | None) -> list[float] | None:
        if found is None:
            return None
        pins = len(self._pins)
        if 0 in self._pins:
            return [1.0] + [0.0] * (pins - 1 + len(found))
        # A pinned arm may be too much like the policy's first, which is not shown then.
        return [0.0] * pins + found if self._process.is_exact or not pins else None


def _order(pins: Sequence[int], free: int, k: int) -> list[int]:
    """Return which of the pinned and then the free arms is at each place; none stays empty."""
    found: list[int] = []
    pinned, others = 0, len(pins)
    while len(found) < k and (pinned < len(pins) or others < len(pins) + free):
        is_due = pinned < len(pins) and pins[pinned] <= len(found)
        if is_due or others == len(pins) + free:
            found.append(pinned)
            pinned += 1
        else:
            found.append(others)
            others += 1
    return found


def _reorder(found: TopK | None, order: Sequence[int]) -> TopK | None:
    """Return propensities of arms, and of places, in another order."""
    if found is None or not len(found.ranks):
        return found
    return TopK(found.ranks[np.ix_(order, order)], found.slate)
