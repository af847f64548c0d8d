"""The model that the writer keeps: the journal, and the table that shows its state."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

from mlkit.bandit.models import loading
from mlkit.bandit.posteriors import file
from mlkit.bandit.server.journal import Journal
from mlkit.bandit.server.served_model import ServedModel
from mlkit.bandit.server.state import StateDirectory
from mlkit.bandit.server.tables import GrowingTable, loaded_table
from mlkit.errors import MlkitError, UsageError
from mlkit.unpacking import UnpackLimits

Served = GrowingTable | ServedModel


class Replacement(NamedTuple):
    """Other posteriors, ready to take the place of the present ones."""

    facts: dict[str, Any]
    copy: Path
    posteriors: Served


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
        policy: The policy asked for; None: that of the file.
        half_life: Seconds in which what is known loses half of its weight; None: as the file says.
        attribution: Whether decisions without a reward count as 0.
        new_arm_prior: Parameters of Beta posteriors of new arms; None: the file's prior.
        only_beta: The option that another policy than Thompson sampling refuses; empty: none.
        window: Seconds for which the ids of events are remembered.
        adopt: Whether the file may replace the one that the state belongs to.
        resume: Go on from the state's own copy, whatever the file is now.
        limits: How much the file may unpack to.

    Raises:
        MlkitError: The file cannot be used, or the state belongs to another one.
    """

    def __init__(
        self,
        state: StateDirectory,
        source: Path,
        *,
        window: float,
        policy: str | None = None,
        half_life: float | None = None,
        attribution: bool = False,
        new_arm_prior: tuple[float, float] | None = None,
        only_beta: str = "",
        adopt: bool = False,
        resume: bool = False,
        limits: UnpackLimits | None = None,
    ) -> None:
        self._state = state
        self._limits = limits
        self.source = source
        self._policy = policy
        self._half_life = half_life
        self._attribution = attribution
        self._only_beta = only_beta
        self._tables = 0
        state.clear_tables()
        self.journal = Journal(state.journal, window=window)
        self.posteriors: Served
        if resume:
            self.posteriors = self._load(state.posteriors(self.journal), self.journal.meta("since"))
        else:
            self.posteriors = self._settle(adopt)
        self.posteriors.restore(self.journal)
        self.compact()
        # After the compaction: what was learned before had the prior of before.
        self._new_arm_prior = new_arm_prior
        self.posteriors.new_arm_prior = new_arm_prior
        self.journal.set_new_arm_prior(new_arm_prior)

    def _digest(self) -> str:
        """Return what tells the posteriors file, and the policy on it, from others."""
        policy = "" if self._policy is None else f" {self._policy}"
        aging = "" if self._half_life is None else f" half-life {self._half_life:g}"
        return f"{file.content_hash(self.source)}{policy}{aging}"

    def _facts(self, copy: Path, digest: str) -> dict[str, Any]:
        about = {"policy": self._policy, "half_life": self._half_life, "since": time.time()}
        return {**self._state.facts(copy, digest), **about}

    def _settle(self, adopt: bool) -> Served:
        """Start from the posteriors file: the one of before, a first one, or another one."""
        digest = self._digest()
        known = self.journal.meta("posteriors_hash")
        self._state.check_owner(known, digest, self.source, adopt=adopt)
        copy = self._state.keep(self.source, digest)
        facts = self._facts(copy, digest)
        since = self.journal.meta("since") if known == digest else facts["since"]
        posteriors = self._load(copy, since)
        if known != digest:
            self.journal.restart_from(facts, keep_after=self.journal.seq)
        self._state.drop_other_posteriors(copy)
        return posteriors

    def _load(self, source: Path, since: float | None) -> Served:
        try:
            if loading.is_beta(source, self._policy, self._limits):
                return loaded_table(source, self._next_path, self._half_life, since, self._limits)
            if self._only_beta:
                hint = "it is about Thompson sampling with Beta posteriors"
                raise UsageError(f"{self._only_beta}: not with the policy of {source}", hint=hint)
            self._refuse_forgetting(source)
            served = ServedModel(source, self._policy, self._next_path, self._limits)
            self._check_attribution(served)
            return served
        except MlkitError as error:
            # The user knows the file that was given, and not our copy of it.
            raise _renamed(error, str(source), str(self.source)) from error

    def _check_attribution(self, served: ServedModel) -> None:
        spec = served.header.spec
        if self._attribution and not spec.takes_back:
            hint = "a reward that comes later takes the zero back"
            text = f"--attribution: the policy {spec} cannot take rewards back"
            raise UsageError(text, hint=hint)

    def _refuse_forgetting(self, source: Path) -> None:
        if self._half_life is not None:
            policy = self._policy or f"of {source}"
            hint = "only Beta posteriors of Thompson sampling forget"
            raise UsageError(f"--half-life: not with the policy {policy}", hint=hint)

    def _next_path(self) -> Path:
        self._tables += 1
        return self._state.table(self._tables)

    def compact(self) -> None:
        """Move the journal into the snapshot."""
        self.posteriors.compact(self.journal)

    def prepare_replacement(self, known: str) -> Replacement | None:
        """Read the posteriors file again, beside the running model and from any thread.

        Args:
            known: The hash of the file that the model started from.

        Returns:
            The other posteriors, or None if the file is the same.

        Raises:
            MlkitError: The file cannot be used; nothing has changed.
        """
        digest = self._digest()
        if digest == known:
            return None
        copy = self._state.keep(self.source, digest)
        facts = self._facts(copy, digest)
        return Replacement(facts, copy, self._load(copy, facts["since"]))

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
        self.posteriors.new_arm_prior = self._new_arm_prior
        for change in self.journal.changes():
            self.posteriors.apply(change)
        self.posteriors.show()
        self._state.drop_other_posteriors(new.copy)
