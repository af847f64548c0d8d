"""A model that the writer keeps and all workers read: the counterpart of `tables.GrowingTable`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from mlkit.bandit.models import loading
from mlkit.bandit.models.features import Named
from mlkit.bandit.models.model import ModelHeader, PolicyModel
from mlkit.bandit.policies import catalog
from mlkit.bandit.posteriors.forgetting import Forgetting
from mlkit.bandit.server.features.packed import unpack
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change, Kind, SnapshotRow
from mlkit.bandit.server.learning.schema import STABLE
from mlkit.bandit.stores.shared_model import SharedModel
from mlkit.errors import MlkitError
from mlkit.storage.sqlite_file import reading
from mlkit.unpacking import UnpackLimits

logger = logging.getLogger("mlkit.bandit.server")
_decode = msgspec.json.Decoder().decode


class ServedModel:
    """A model that follows the journal, an event at a time, and shows itself after each group.

    Attributes:
        model: The model.
        path: The file that workers read; another one after growing.
        new_arm_prior: Not used: the policy's parameters define new arms.

    Args:
        source: The posteriors file to load.
        policy: The policy asked for; None: that of the file.
        next_path: Returns the file of each shared model; None: nobody reads it.
        limits: How much the file may unpack to.
        half_life: Seconds in which what is known loses half of its weight; None: that of the file.
        since: The time of posteriors that name none, in seconds since 1970.

    Raises:
        MlkitError: The file cannot be used.
    """

    def __init__(
        self,
        source: Path,
        policy: str | None,
        next_path: Callable[[], Path] | None,
        limits: UnpackLimits | None = None,
        *,
        half_life: float | None = None,
        since: float | None = None,
    ) -> None:
        self.model: PolicyModel = loading.load(source, policy, limits)
        if half_life is not None:
            self._forget_by(half_life, since or 0.0)
        self._next_path = next_path
        self._changed: set[int] = set()
        self.new_arm_prior: tuple[float, float] | None = None
        self.path = Path()
        if next_path is not None:
            self._share(next_path())

    def _forget_by(self, half_life: float, since: float) -> None:
        before = self.model.header.forgetting
        aging = Forgetting(half_life, since if before is None else before.as_of)
        self.model.header = replace(self.model.header, forgetting=aging)
        self.model.times[:] = aging.as_of

    @property
    def header(self) -> ModelHeader:
        """What the model is."""
        return self.model.header

    @property
    def new_arms_learn(self) -> bool:
        """Whether an arm may come from feedback: a shared model needs its features first."""
        return not self.header.spec.is_shared

    def _share(self, path: Path) -> None:
        self._shared = SharedModel.create(path, self.model)
        self.path = path

    def apply(self, change: Change) -> bool:
        """Apply one change.

        Returns:
            False, and nothing was changed, if the arm is not there: for a reward, if it was
            removed, or if the model cannot learn from it.
        """
        if change.kind in (Kind.REWARD, Kind.WITHDRAW):
            return self._reward(change)
        place = self.model.place(change.arm)
        if change.kind == Kind.REMOVE:
            self.model.remove(change.arm)
        else:
            self._put(change)
        if place is not None:
            self._changed.add(place)
        return place is not None

    def apply_all(self, changes: Sequence[Change]) -> list[bool]:
        """Apply changes one after another; return for each what `apply` does."""
        return [self.apply(change) for change in changes]

    def _put(self, change: Change) -> None:
        try:
            self._changed.add(self.model.put(change.arm, _features(change)))
        except MlkitError as error:
            logger.warning("the arm %r is not added: %s", change.arm, error.message)

    def _reward(self, change: Change) -> bool:
        place = self.model.place(change.arm)
        is_new = change.kind == Kind.REWARD
        if place is None and (self.model.knows(change.arm) or not is_new):
            return False
        try:
            if place is None:
                place = self.model.put(change.arm)
            learn = self.model.learn if is_new else self.model.unlearn
            context, arms = unpack(change.features)
            learn(place, float(change.a or 0.0), context, change.at, arms.get(change.arm))
        except MlkitError as error:
            # It is in the journal: after a restart it is left out in the same way.
            logger.warning("a reward of %r is not learned: %s", change.arm, error.message)
            return False
        self._changed.add(place)
        return True

    def show(self) -> None:
        """Show all workers what has changed since the last call."""
        if self._next_path is None:
            return
        if self._shared.fits():
            if self._changed:
                self._shared.publish(self._changed)
        else:
            before = self.path
            self._share(self._next_path())
            before.unlink(missing_ok=True)  # who has it open keeps it
        self._changed.clear()

    def has(self, arm: str) -> bool:
        """Return whether an arm is there."""
        return self.model.place(arm) is not None

    def knows(self, arm: str) -> bool:
        """Return whether an arm is there, or was there and has been removed."""
        return self.model.knows(arm)

    # The journal

    def compact(self, journal: Journal, table: str = STABLE) -> None:
        """Bring a snapshot to the end of the journal, inside a transaction."""
        shared = catalog.pack(self.model.policy, 0) if self.header.spec.is_shared else None
        journal.compact_into(table, self._state, shared)

    def _state(self, context: str | None, arm: str) -> bytes | None:
        """Return an arm's place, pulls, features, and state if it has one of its own."""
        place = self.model.place(arm)
        if place is None or context is not None:
            return None
        own = [] if self.header.forgetting is None else [self.model.times[place]]
        numbers = [place, self.model.pulls[place], *own, *self.model.vectors[place]]
        head = np.array(numbers, "<f8")
        is_shared = self.header.spec.is_shared
        return head.tobytes() + (b"" if is_shared else catalog.pack(self.model.policy, place))

    def restore(self, journal: Journal, table: str = STABLE, after: int = 0) -> None:
        """Bring the model of the posteriors file to the state of a snapshot and the journal.

        It is the same, bit by bit.

        Args:
            journal: The journal.
            table: The snapshot.
            after: The last change that is in the snapshot, if the journal has it still.
        """
        with reading(table):
            self._restore_snapshot(list(journal.snapshot(table)))
        with reading("journal"):
            for change in journal.changes(after):
                self.apply(change)
        self._changed.update(range(len(self.model.ids)))
        self.show()

    def _restore_snapshot(self, rows: Sequence[SnapshotRow]) -> None:
        for row in rows:
            if row.removed:
                if not self.model.knows(row.arm):
                    self.model.name(row.arm)
                self.model.remove(row.arm)
        states = [(row.arm, row.state) for row in rows if row.state is not None]
        # Arms in the order of before, since draws go by it.
        for arm, state in sorted(states, key=lambda each: _place(*each)):
            self._set(arm, state)

    def _set(self, arm: str, state: bytes) -> None:
        if not arm:
            catalog.unpack(self.model.policy, 0, state)
            return
        found = self.model.place(arm)
        if found is None:
            found = self._revive(arm)
        ages = self.header.forgetting is not None
        head = 16 + 8 * (ages + self.model.vectors.shape[1])
        numbers = np.frombuffer(state[:head], "<f8")
        self.model.pulls[found], self.model.vectors[found] = numbers[1], numbers[2 + ages :]
        if ages:
            self.model.times[found] = numbers[2]
        if not self.header.spec.is_shared:
            catalog.unpack(self.model.policy, found, state[head:])

    def _revive(self, arm: str) -> int:
        if not self.model.knows(arm):
            return self.model.name(arm)
        place = self.model.ids.index(arm)
        self.model.removed[place] = False
        return place


def _place(arm: str, state: bytes) -> float:
    return float(np.frombuffer(state[:8], "<f8")[0]) if arm else -1.0


def _features(change: Change) -> Named | None:
    if change.features is None:
        return None
    found: Named = _decode(change.features)
    return found
