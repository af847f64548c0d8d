"""The posterior table of a server: it grows, and it follows the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from mlkit.bandit.posteriors.posterior import Header
from mlkit.bandit.server.journal import Change, Journal, Kind
from mlkit.bandit.stores import memory_mapped
from mlkit.bandit.stores.memory_mapped import PosteriorTable, TableFull

_GROWTH = 1.5
T = TypeVar("T")


class GrowingTable:
    """A posterior table that is replaced by a larger one when it is full.

    Attributes:
        header: What the posteriors file says of all rows.
        table: The table.
        path: The table's file; another one after growing.
        new_arm_prior: Parameters of arms that come from feedback; None: the file's prior.

    Args:
        posteriors: The posteriors file to load.
        next_path: Returns the file of each table.

    Raises:
        InputMissing: The posteriors file cannot be read.
        BadData: It has a bad row.
    """

    def __init__(self, posteriors: Path, next_path: Callable[[], Path]) -> None:
        self._next_path = next_path
        self.new_arm_prior: tuple[float, float] | None = None
        self.path = next_path()
        self.header: Header
        self.table: PosteriorTable
        self.header, self.table = memory_mapped.load(posteriors, self.path)

    def apply(self, change: Change) -> bool:
        """Apply one change.

        Returns:
            False, and nothing was changed, if the arm is not there: for a reward, if it was
            removed.
        """
        if change.kind == Kind.REWARD:
            if self.new_arm_prior is not None and not self.table.knows(change.arm):
                self._do(PosteriorTable.put_arm, change.arm, *self.new_arm_prior)
            examined = 1.0 if change.b is None else change.b
            reward = change.context, change.arm, change.a, examined
            return self._do(PosteriorTable.add_reward, *reward)
        if change.kind == Kind.REMOVE:
            return self._do(PosteriorTable.remove_arm, change.arm)
        existed = self.table.arm(change.arm) is not None
        self._do(PosteriorTable.put_arm, change.arm, change.a, change.b, change.pulls)
        return existed

    def _do(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            return function(self.table, *arguments)
        except TableFull:
            before, self.path = self.path, self._next_path()
            self.table = memory_mapped.grow(self.table, self.path, factor=_GROWTH)
            before.unlink(missing_ok=True)  # who has it open keeps it
            return function(self.table, *arguments)

    def show(self) -> None:
        """Show all workers what has changed: the table always does."""

    def compact(self, journal: Journal) -> None:
        """Move the journal into its snapshot."""
        journal.compact(self.posterior)

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

    def restore(self, journal: Journal) -> None:
        """Bring a table of the posteriors file to the state of the journal."""
        self.new_arm_prior = journal.new_arm_prior
        for row in journal.snapshot():
            if row.removed and not row.context:
                # Put first: an arm that the file does not have must be known as removed.
                self._do(PosteriorTable.put_arm, row.arm, *self.table.prior)
                self._do(PosteriorTable.remove_arm, row.arm)
            posterior = row.a, row.b, row.pulls
            if row.a is not None and row.context:
                self._do(PosteriorTable.put_pair, row.context, row.arm, *posterior)
            elif row.a is not None:
                self._do(PosteriorTable.put_arm, row.arm, *posterior)
        for change in journal.changes():
            self.apply(change)

    def posterior(self, context: str | None, arm: str) -> tuple[float, float, float] | None:
        """Return a, b and pulls of an arm, or of an arm in a context; None if it has none."""
        return self.table.arm(arm) if context is None else self.table.pair(context, arm)
