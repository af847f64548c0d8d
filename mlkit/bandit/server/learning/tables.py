"""The posterior table of a server: it grows, and it follows the journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from mlkit.bandit.posteriors import file
from mlkit.bandit.posteriors.forgetting import MOST_HALVINGS, factor
from mlkit.bandit.posteriors.posterior import Header
from mlkit.bandit.posteriors.window import HOUR, Buckets, Key, own_decode, own_encode
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change, Kind, SnapshotRow
from mlkit.bandit.server.learning.schema import STABLE
from mlkit.bandit.stores import memory_mapped
from mlkit.bandit.stores.memory_mapped import PosteriorTable, TableFull
from mlkit.storage.sqlite_file import reading
from mlkit.unpacking import UnpackLimits

_GROWTH = 1.5
_NAMES = "context", "arm"
_RESTORED_AT_ONCE = 1000
T = TypeVar("T")


class GrowingTable:
    """A posterior table that is replaced by a larger one when it is full.

    Attributes:
        header: What applies to all rows of the posteriors file.
        table: The table.
        path: The table's file; another one after growing.
        new_arm_prior: Parameters of arms that come from feedback; None: the file's prior.

    Args:
        posteriors: The posteriors file to load.
        next_path: Returns the file of each table.
        half_life: Seconds in which what is known loses half of its weight; None: it keeps it.
        since: The time of posteriors that name none, in seconds since 1970.
        window: Hours that count; None: all time.
        limits: How much the file may unpack to.

    Raises:
        InputMissing: The posteriors file cannot be read.
        BadData: It has a bad row.
    """

    def __init__(
        self,
        posteriors: Path,
        next_path: Callable[[], Path],
        *,
        half_life: float | None = None,
        since: float = 0.0,
        window: int | None = None,
        limits: UnpackLimits | None = None,
    ) -> None:
        self._next_path = next_path
        self.new_arm_prior: tuple[float, float] | None = None
        self.path = next_path()
        self.header: Header
        self.table: PosteriorTable
        aging = half_life if window is None else math.inf
        self.header, self.table = memory_mapped.load(
            posteriors, self.path, half_life=aging, since=since, limits=limits
        )
        self.buckets = None if window is None else Buckets(window)
        if self.buckets is not None:
            self._fill(self.buckets, posteriors, since, limits)

    def _fill(
        self, buckets: Buckets, posteriors: Path, since: float, limits: UnpackLimits | None
    ) -> None:
        """Take the buckets of the file; what has none is of the start."""
        known = self.header.window
        for batch in file.read_batches(posteriors, limits)[1]:
            for context, arm in zip(*(batch[name].to_pylist() for name in _NAMES), strict=True):
                key = context, arm
                if known is not None:
                    buckets.set(key, known.buckets.of(key))
                elif (row := self.table.stored(*key)) is not None:
                    buckets.set(key, [(int(since // HOUR), row[0], row[1], int(row[2]))])

    def expire(self, at: float) -> None:
        """Forget what is out of the window at a time, in seconds since 1970."""
        if self.buckets is not None:
            for context, arm in self.buckets.expire(at):
                if self.has(arm):
                    self._sum((context, arm))

    def _sum(self, key: Key) -> None:
        assert self.buckets is not None
        self._do(PosteriorTable.put_evidence, *key, *self.buckets.sum(key))

    def apply(self, change: Change) -> bool:
        """Apply one change.

        Returns:
            False, and nothing was changed, if the arm is not there: for a reward, if it was
            removed.
        """
        at = change.at or 0.0
        if self.buckets is not None:
            return self._apply_by_hour(self.buckets, change, at)
        self._keep_base_near(at)
        if change.kind in (Kind.REWARD, Kind.WITHDRAW):
            return self._reward(change, at)
        if change.kind == Kind.REMOVE:
            return self._do(PosteriorTable.remove_arm, change.arm)
        existed = self.table.arm(change.arm) is not None
        self._do(PosteriorTable.put_arm, change.arm, change.a, change.b, change.pulls, at)
        return existed

    def apply_all(self, changes: Sequence[Change]) -> list[bool]:
        """Apply changes one after another; return for each what `apply` would."""
        if not self._are_plain(changes):
            return [self.apply(change) for change in changes]
        used, add = [], self.table.add_reward
        for kind, context, arm, a, b, _, _, at in changes:
            examined = 1.0 if b is None else b
            reward = context, arm, a or 0.0, examined, at or 0.0, kind == Kind.WITHDRAW
            try:
                used.append(add(*reward))
            except TableFull:
                used.append(self._do(PosteriorTable.add_reward, *reward))
                add = self.table.add_reward
        return used

    def _are_plain(self, changes: Sequence[Change]) -> bool:
        """Return whether changes are rewards that concern nothing but the table as it is."""
        if self.buckets is not None or self.new_arm_prior is not None or self.table.half_life:
            return False
        return all(each.kind in (Kind.REWARD, Kind.WITHDRAW) for each in changes)

    def _apply_by_hour(self, buckets: Buckets, change: Change, at: float) -> bool:
        existed, arm = self.has(change.arm), change.arm
        if change.kind == Kind.REMOVE:
            buckets.drop(arm)
            return self._do(PosteriorTable.remove_arm, arm)
        if change.kind == Kind.PUT:
            self._put_by_hour(buckets, arm, (change.a or 0, change.b or 0, change.pulls or 0), at)
            return existed
        if not existed and (self.knows(arm) or change.kind == Kind.WITHDRAW):
            return False
        if not existed:
            self._put_by_hour(buckets, arm, (*(self.new_arm_prior or self.table.prior), 0), at)
        for context in dict.fromkeys((None, change.context)):
            a, b = self._evidence(change, context)
            if change.kind == Kind.WITHDRAW:
                buckets.take((context, arm), at, a, b)
            else:
                buckets.add((context, arm), at, a, b, 1)
            self._sum((context, arm))
        return True

    def _put_by_hour(
        self, buckets: Buckets, arm: str, posterior: tuple[float, float, float], at: float
    ) -> None:
        a, b = self.table.prior
        own = posterior[0] - a, posterior[1] - b, int(posterior[2])
        buckets.set((None, arm), [(int(at // HOUR), *own)])
        self._sum((None, arm))

    def _evidence(self, change: Change, context: str | None) -> tuple[float, float]:
        """Return a reward as evidence; what is missing to 1 counts if it was looked at."""
        reward, examined = change.a or 0.0, 1.0 if change.b is None else change.b
        if examined == 1:
            return reward, 1 - reward
        now = None if context is None else self.table.pair(context, change.arm)
        a, b, _ = now or self.table.arm(change.arm) or (*self.table.prior, 0)
        missed = examined * (b / (a + b))
        return reward, (1 - reward) * missed / (missed + 1 - examined)

    def _reward(self, change: Change, at: float) -> bool:
        withdrawn = change.kind == Kind.WITHDRAW
        prior = None if withdrawn else self.new_arm_prior
        if prior is not None and not self.table.knows(change.arm):
            self._do(PosteriorTable.put_arm, change.arm, *prior, 0.0, at)
        examined = 1.0 if change.b is None else change.b
        reward = change.context, change.arm, change.a, examined, at, withdrawn
        return self._do(PosteriorTable.add_reward, *reward)

    def _do(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            return function(self.table, *arguments)
        except TableFull:
            self._replace(self.table.base)
            return function(self.table, *arguments)

    def _replace(self, base: float) -> None:
        before, self.path = self.path, self._next_path()
        self.table = memory_mapped.grow(self.table, self.path, factor=_GROWTH, base=base)
        before.unlink(missing_ok=True)  # who has it open keeps it

    def _keep_base_near(self, at: float) -> None:
        """Bring evidence to a later base before what is added would outgrow its numbers."""
        half_life = self.table.half_life
        if half_life and at - self.table.base > MOST_HALVINGS * half_life:
            self._replace(at)

    def show(self) -> None:
        """Show all workers what has changed: the table always does."""

    def compact(self, journal: Journal, table: str = STABLE) -> None:
        """Bring a snapshot to the end of the journal, inside a transaction."""
        journal.compact_into(table, self.posterior, at=self.table.base)

    def has(self, arm: str) -> bool:
        """Return whether an arm is there."""
        return self.table.arm(arm) is not None

    @property
    def new_arms_learn(self) -> bool:
        """Whether an arm may come from feedback."""
        return True

    def knows(self, arm: str) -> bool:
        """Return whether an arm is there, or was there and has been removed."""
        return self.table.knows(arm)

    def restore(self, journal: Journal, table: str = STABLE, after: int = 0) -> None:
        """Bring a table of the posteriors file to the state of a snapshot and the journal.

        Args:
            journal: The journal.
            table: The snapshot.
            after: The last change that is in the snapshot, if the journal has it still.
        """
        self.new_arm_prior = journal.new_arm_prior
        with reading(table):
            self._restore_snapshot(journal, table)
        changes = journal.changes(after)
        with reading("journal"):
            while some := list(islice(changes, _RESTORED_AT_ONCE)):
                self.apply_all(some)

    def _restore_snapshot(self, journal: Journal, table: str) -> None:
        for row in journal.snapshot(table):
            if row.removed and not row.context:
                # Put first: an arm that the file does not have must be known as removed.
                self._do(PosteriorTable.put_arm, row.arm, *self.table.prior)
                self._do(PosteriorTable.remove_arm, row.arm)
            if self.buckets is not None:
                self._restore_buckets(self.buckets, row)
                continue
            if self.table.half_life:
                self._put_evidence(row)
                continue
            posterior = row.a, row.b, row.pulls
            if row.a is not None and row.context:
                self._do(PosteriorTable.put_pair, row.context, row.arm, *posterior)
            elif row.a is not None:
                self._do(PosteriorTable.put_arm, row.arm, *posterior)

    def _restore_buckets(self, buckets: Buckets, row: SnapshotRow) -> None:
        if row.removed and not row.context:
            buckets.drop(row.arm)
        if row.state is not None:
            key = row.context or None, row.arm
            buckets.set(key, own_decode(row.state))
            self._sum(key)

    def _put_evidence(self, row: SnapshotRow) -> None:
        if row.a is None or row.b is None:
            return
        at = row.at or 0.0
        self._keep_base_near(at)
        scale = factor(at, self.table.base, self.table.half_life)
        evidence = row.context or None, row.arm, scale * row.a, scale * row.b, row.pulls
        self._do(PosteriorTable.put_evidence, *evidence)

    def posterior(self, context: str | None, arm: str) -> tuple[float, float, float] | bytes | None:
        """Return a, b and pulls of an arm, or of an arm in a context; None if it has none.

        Where they age, of what was added to the prior, in the weight of the table's base; of a
        window its buckets.
        """
        found = self.table.stored(context, arm)
        if self.buckets is None or found is None:
            return found
        return own_encode(self.buckets.of((context, arm)))


def load_table(
    source: Path,
    next_path: Callable[[], Path],
    half_life: float | None,
    since: float | None,
    limits: UnpackLimits | None = None,
    window: int | None = None,
) -> GrowingTable:
    """Return the table of a posteriors file.

    Args:
        source: The file.
        next_path: Returns the file of each table.
        half_life: Seconds in which what is known loses half of its weight; None: that of the file.
        since: The time of posteriors that name none, in seconds since 1970.
        limits: How much the file may unpack to.
        window: Hours that count; None: that of the file.

    Raises:
        MlkitError: The file cannot be used.
    """
    header, _ = file.read_batches(source, limits)
    if half_life is None and window is None and header.forgetting is not None:
        half_life = header.forgetting.half_life
    if half_life is None and window is None and header.window is not None:
        window = header.window.buckets.hours
    start = since or 0.0
    return GrowingTable(
        source, next_path, half_life=half_life, since=start, window=window, limits=limits
    )
