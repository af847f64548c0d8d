"""The model that the writer keeps: the journal, and the table that shows its state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from mlkit.bandit import posterior_file
from mlkit.bandit._posterior_table import PosteriorTable, TableFull
from mlkit.bandit.posterior import Header
from mlkit.bandit.server import tables
from mlkit.bandit.server.journal import Change, Journal
from mlkit.bandit.server.state import StateDirectory
from mlkit.errors import MlkitError

T = TypeVar("T")


class Replacement(NamedTuple):
    """Other posteriors, ready to take the place of the present ones."""

    facts: dict[str, str]
    copy: Path
    header: Header
    table: PosteriorTable
    path: Path


class Model:
    """The posteriors of a server, and what is durable of them.

    Attributes:
        journal: The journal; append to it before `apply`.
        header: What the posteriors file says of all rows.
        table: The table.
        path: The table's file. It is another one when the table has grown or was replaced.

    Args:
        state: The state directory, which this process has locked.
        source: The posteriors file.
        window: Seconds for which the ids of events are remembered.
        adopt: Whether the file may replace the one that the state belongs to.
        resume: Go on from the state's own copy, whatever the file is now.

    Raises:
        MlkitError: The file cannot be used, or the state belongs to another one.
    """

    def __init__(
        self,
        state: StateDirectory,
        source: Path,
        *,
        window: float,
        adopt: bool = False,
        resume: bool = False,
    ) -> None:
        self._state = state
        self._source = source
        self._number = 0
        state.clear_tables()
        self.journal = Journal(state.journal, window=window)
        if resume:
            copy = state.posteriors(self.journal)
        else:
            digest = posterior_file.content_hash(source)
            copy = state.settle(self.journal, source, digest, adopt=adopt)
        self.path = self._next_path()
        self.header, self.table = self._load(copy, self.path)
        for function, *arguments in tables.restoring(self.table, self.journal):
            self._change(function, *arguments)
        self.compact()

    def _next_path(self) -> Path:
        self._number += 1
        return self._state.table(self._number)

    def _load(self, copy: Path, path: Path) -> tuple[Header, PosteriorTable]:
        try:
            return tables.load(copy, path)
        except MlkitError as error:
            # The user knows the file that was given, and not our copy of it.
            error.message = error.message.replace(str(copy), str(self._source))
            raise

    def _change(self, function: Callable[..., T], *arguments: Any) -> T:
        """Change the table; one that is full is replaced by a larger one."""
        try:
            return function(self.table, *arguments)
        except TableFull:
            before, self.path = self.path, self._next_path()
            self.table = tables.grow(self.table, self.path)
            before.unlink(missing_ok=True)
            return function(self.table, *arguments)

    def apply(self, change: Change) -> bool:
        """Show a change that is in the journal; see `tables.apply`."""
        return self._change(tables.apply, change)

    def compact(self) -> None:
        """Move the journal into the snapshot."""
        self.journal.compact(self._posterior)

    def _posterior(self, context: str | None, arm: str) -> tuple[float, float, float] | None:
        return self.table.arm(arm) if context is None else self.table.pair(context, arm)

    def prepare_replacement(self, known: str) -> Replacement | None:
        """Read the posteriors file again, beside the running model and from any thread.

        Args:
            known: The hash of the file that the model started from.

        Returns:
            The other posteriors, or None if the file is the same.

        Raises:
            MlkitError: The file cannot be used; nothing has changed.
        """
        digest = posterior_file.content_hash(self._source)
        if digest == known:
            return None
        copy = self._state.keep(self._source, digest)
        path = self._next_path()
        header, table = self._load(copy, path)
        return Replacement(self._state.facts(copy, digest), copy, header, table, path)

    def replace(self, new: Replacement, *, keep_after: int) -> None:
        """Go on with other posteriors.

        Args:
            new: The posteriors.
            keep_after: Changes of the journal above this number count in them; they must not
                have been compacted. What was learned up to it is forgotten.
        """
        self.journal.restart_from(new.facts, keep_after=keep_after)
        self.path.unlink(missing_ok=True)
        self.header, self.table, self.path = new.header, new.table, new.path
        for change in self.journal.changes(after=keep_after):
            self.apply(change)
        self._state.drop_other_posteriors(new.copy)
