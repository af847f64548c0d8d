"""The model that the writer keeps: the journal, and the table that shows its state."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mlkit.bandit.posteriors import file
from mlkit.bandit.server.journal import Journal
from mlkit.bandit.server.state import StateDirectory
from mlkit.bandit.server.tables import GrowingTable
from mlkit.errors import MlkitError


class Replacement(NamedTuple):
    """Other posteriors, ready to take the place of the present ones."""

    facts: dict[str, str]
    copy: Path
    posteriors: GrowingTable


def _renamed(error: MlkitError, before: str, after: str) -> MlkitError:
    """Return an error about one file as one about another."""
    renamed = MlkitError(error.message.replace(before, after), hint=error.hint)
    renamed.exit_code = error.exit_code  # type: ignore[misc]
    return renamed


class Model:
    """The posteriors of a server, and what is durable of them.

    Attributes:
        journal: The journal; a change is committed there before the table shows it.
        posteriors: The table.
        source: The posteriors file.

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
        self.source = source
        self._tables = 0
        state.clear_tables()
        self.journal = Journal(state.journal, window=window)
        if resume:
            self.posteriors = self._load(state.posteriors(self.journal))
        else:
            self.posteriors = self._settle(adopt)
        self.posteriors.restore(self.journal)
        self.compact()

    def _settle(self, adopt: bool) -> GrowingTable:
        """Start from the posteriors file: the one of before, a first one, or another one."""
        digest = file.content_hash(self.source)
        known = self.journal.meta("posteriors_hash")
        self._state.check_owner(known, digest, self.source, adopt=adopt)
        copy = self._state.keep(self.source, digest)
        posteriors = self._load(copy)
        if known != digest:
            self.journal.restart_from(self._state.facts(copy, digest), keep_after=self.journal.seq)
        self._state.drop_other_posteriors(copy)
        return posteriors

    def _load(self, source: Path) -> GrowingTable:
        try:
            return GrowingTable(source, self._next_path)
        except MlkitError as error:
            # The user knows the file that was given, and not our copy of it.
            raise _renamed(error, str(source), str(self.source)) from error

    def _next_path(self) -> Path:
        self._tables += 1
        return self._state.table(self._tables)

    def compact(self) -> None:
        """Move the journal into the snapshot."""
        self.journal.compact(self.posteriors.posterior)

    def prepare_replacement(self, known: str) -> Replacement | None:
        """Read the posteriors file again, beside the running model and from any thread.

        Args:
            known: The hash of the file that the model started from.

        Returns:
            The other posteriors, or None if the file is the same.

        Raises:
            MlkitError: The file cannot be used; nothing has changed.
        """
        digest = file.content_hash(self.source)
        if digest == known:
            return None
        copy = self._state.keep(self.source, digest)
        return Replacement(self._state.facts(copy, digest), copy, self._load(copy))

    def replace(self, new: Replacement, *, keep_after: int) -> None:
        """Go on with other posteriors.

        Args:
            new: The posteriors.
            keep_after: Changes of the journal above this number count in them; they must not
                have been compacted. What was learned up to it is forgotten.
        """
        self.journal.restart_from(new.facts, keep_after=keep_after)
        self.posteriors.path.unlink(missing_ok=True)
        self.posteriors = new.posteriors
        for change in self.journal.changes():
            self.posteriors.apply(change)
        self._state.drop_other_posteriors(new.copy)
