"""A worker's view of a shared model: what predictions, arms and feedback need of it."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from mlkit.bandit.models.features import FeatureSchema, Named
from mlkit.bandit.models.model import PolicyModel
from mlkit.bandit.policies.catalog import PolicySpec
from mlkit.bandit.stores.shared_model import SharedModel

T = TypeVar("T")


class ArmState(NamedTuple):
    """An arm of a model.

    Attributes:
        arm: Its id.
        pulls: Rewards that it has learned from.
        mean: Its expected reward; None: it depends on the features.
    """

    arm: str
    pulls: float
    mean: float | None


class PolicyReader:
    """Reads a shared model.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._shared = SharedModel.open(path)

    @property
    def spec(self) -> PolicySpec:
        """The policy."""
        return self._shared.model.header.spec

    @property
    def schema(self) -> FeatureSchema:
        """The features that it reads."""
        return self._shared.model.header.features

    def read(self, function: Callable[[PolicyModel], T]) -> T:
        """Return what a function computes from a whole state, as of now: see `SharedModel.read`."""
        if self._shared.model.header.forgetting is None:
            return self._shared.read(function)
        now = time.time()
        return self._shared.read(lambda model: function(model.as_of(now)))

    def size(self) -> tuple[int, int]:
        """Count the arms; there are no posteriors of contexts."""
        return self.read(len), 0

    def names(self) -> list[str]:
        """List the ids of all arms."""
        return self.read(lambda model: [model.ids[place] for place in model.present()])

    def arm(self, arm: str) -> ArmState | None:
        """Return an arm; None if it is not there."""
        return self.read(lambda model: _state(model, arm))

    def arms(self, after: str | None, limit: int) -> list[ArmState]:
        """List arms in the order of their ids' code points, from behind an id."""

        def page(model: PolicyModel) -> list[ArmState]:
            names = sorted(model.ids[place] for place in model.present())
            begin = 0 if after is None else bisect_right(names, after)
            found = (_state(model, name) for name in names[begin : begin + limit])
            return [each for each in found if each is not None]

        return self.read(page)

    def check_context(self, features: Named | None) -> None:
        """Refuse features of a context that the model cannot read.

        Raises:
            BadData: A feature is missing, not declared or wrong.
        """
        self.schema.context_vector(features)

    def check_arm(self, features: Named | None) -> None:
        """Refuse features of an arm that the model cannot read.

        Raises:
            BadData: A feature is missing, not declared or wrong.
        """
        self.schema.arm_vector(features)


def _state(model: PolicyModel, arm: str) -> ArmState | None:
    place = model.place(arm)
    if place is None:
        return None
    mean = None
    if not model.header.spec.has_features:
        mean = float(model.policy.expected([place])[0])
    return ArmState(arm, float(model.pulls[place]), mean)
