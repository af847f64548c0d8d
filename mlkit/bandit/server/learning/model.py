"""The model that the writer keeps: the journal, and the table that shows its state."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mlkit.bandit.models import loading
from mlkit.bandit.posteriors import file
from mlkit.bandit.server.learning.journal import CANDIDATE, Journal
from mlkit.bandit.server.learning.records import Change
from mlkit.bandit.server.learning.served_model import ServedModel
from mlkit.bandit.server.learning.state import StateDirectory
from mlkit.bandit.server.learning.tables import GrowingTable, load_table
from mlkit.errors import MlkitError, UsageError
from mlkit.unpacking import UnpackLimits

_NO_CANDIDATE = dict.fromkeys(("candidate", "candidate_hash", "candidate_since"))
Served = GrowingTable | ServedModel


class Replacement(NamedTuple):
    """Other posteriors, ready to take the place of the present ones."""

    facts: dict[str, Any]
    copy: Path
    posteriors: Served


def _rename_file(error: MlkitError, before: str, after: str) -> MlkitError:
    """Return an error about one file as one about another."""
    renamed = MlkitError(error.message.replace(before, after), hint=error.hint)
    renamed.exit_code = error.exit_code  # type: ignore[misc]
    return renamed


class Model:
    """The posteriors of a server, and what is durable of them.

    Attributes:
        journal: The journal; a change is committed there before the table shows it.
        posteriors: The table.
        candidate: That of another version, with a share of the traffic; None: there is none.
        source: The posteriors file.
        on_learned: Called with each change that one of them has used.

    Args:
        state: The state directory, which this process has locked.
        source: The posteriors file.
        policy: The policy asked for; None: that of the file.
        half_life: Seconds in which what is known loses half of its weight; None: that of the file.
        hours: The window of rewards that count, in hours; None: that of the file.
        attribution: Whether decisions without a reward count as 0.
        candidate: The posteriors file of another version, which learns beside this one; None: of
            none.
        new_arm_prior: Parameters of Beta posteriors of new arms; None: the file's prior.
        only_beta: The option that another policy than Thompson sampling refuses; empty: none.
        needs_features: The option that needs a policy with features; empty: none.
        window: Seconds for which the ids of events are remembered.
        adopt: Whether the file may replace the one that the state belongs to.
        resume: Go on from the state's own copy, whatever the file is now.
        limits: How much the file may unpack to.
        shared: Returns the time of the log that the hosts of a fleet share; None: there is none.

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
        hours: int | None = None,
        attribution: bool = False,
        candidate: Path | None = None,
        new_arm_prior: tuple[float, float] | None = None,
        only_beta: str = "",
        needs_features: str = "",
        adopt: bool = False,
        resume: bool = False,
        limits: UnpackLimits | None = None,
        shared: Callable[[], float] | None = None,
    ) -> None:
        self._state = state
        self._limits = limits
        self.source = source
        self._policy = policy
        self._half_life, self._hours = half_life, hours
        if hours is not None and candidate is not None:
            hint = "both versions may have a half-life"
            raise UsageError("--window: not with --candidate", hint=hint)
        self._attribution = attribution
        self._only_beta, self._needs_features = only_beta, needs_features
        self._tables = 0
        state.clear_tables()
        self.journal = Journal(state.journal, window=window, shared=shared)
        if not attribution:
            self.journal.end_all()
        self.candidate: Served | None = None
        self.on_learned: Callable[[Change], None] = lambda change: None
        self.posteriors: Served = self._resume() if resume else self._settle(adopt, candidate)
        self.posteriors.restore(self.journal)
        self.candidate = self._resume_candidate() if resume else self._settle_candidate(candidate)
        self.expire()
        self.compact()
        # After the compaction: what was learned before had the prior of before.
        self._new_arm_prior = new_arm_prior
        for version in self._versions():
            version.new_arm_prior = new_arm_prior
        self.journal.set_new_arm_prior(new_arm_prior)
        self._drop_other_posteriors()

    def _versions(self) -> list[Served]:
        return [self.posteriors, *([] if self.candidate is None else [self.candidate])]

    def apply(self, change: Change) -> bool:
        """Apply a change to both versions; return whether one has used it."""
        used = self.posteriors.apply(change)
        other = self.candidate is not None and self.candidate.apply(change)
        if used or other:
            self.on_learned(change)
        return used or other

    def expire(self) -> None:
        """Forget what is out of the window by now."""
        for version in self._versions():
            if isinstance(version, GrowingTable):
                version.expire(time.time())

    def show(self) -> None:
        """Show all workers what has changed."""
        for version in self._versions():
            version.show()

    def knows(self, arm: str) -> bool:
        """Return whether a version has an arm, or had it."""
        return any(version.knows(arm) for version in self._versions())

    def has(self, arm: str) -> bool:
        """Return whether a version has an arm."""
        return any(version.has(arm) for version in self._versions())

    def files(self) -> str:
        """Return which files workers are to answer from, as a text."""
        return "\n".join(str(version.path) for version in self._versions())

    def _digest(self) -> str:
        """Return what identifies the posteriors file and the policy on it."""
        policy = "" if self._policy is None else f" {self._policy}"
        aging = "" if self._half_life is None else f" half-life {self._half_life:g}"
        aging += "" if self._hours is None else f" window {self._hours}"
        return f"{file.content_hash(self.source)}{policy}{aging}"

    def _facts(self, copy: Path, digest: str) -> dict[str, Any]:
        about = {"policy": self._policy, "half_life": self._half_life, "since": time.time()}
        about["window"] = self._hours
        return {**self._state.facts(copy, digest), **about}

    def _settle(self, adopt: bool, candidate: Path | None) -> Served:
        """Start from the posteriors file: the one of before, a first one, or another one.

        Args:
            adopt: Whether it may be another one.
            candidate: The candidate's file; if it is the one of before, it goes on.
        """
        digest = self._digest()
        known = self.journal.meta("posteriors_hash")
        if digest == self.journal.meta("superseded") and not adopt:
            return self._resume()  # a candidate was promoted over this file
        fleet = self.journal.meta("fleet")
        self._state.check_owner(known, digest, self.source, adopt=adopt, fleet=fleet)
        copy = self._state.keep(self.source, digest)
        facts = self._facts(copy, digest)
        if fleet:  # On another host the file may have another name.
            self.journal.set_meta(self._state.facts(copy, digest))
        since = self.journal.meta("since") if known == digest else facts["since"]
        posteriors = self._load(copy, since, self._policy, self.source)
        if known != digest:
            facts["superseded"] = None
            self._save_candidate(candidate)
            self.journal.restart_from(facts, keep_after=self.journal.seq)
        return posteriors

    def _save_candidate(self, source: Path | None) -> None:
        """Move the journal, which another file makes empty, into the candidate that goes on."""
        meta = self.journal.meta
        if source is None or self._candidate_digest(source) != meta("candidate_hash"):
            return
        found = self._load(
            self._state.path / meta("candidate"), meta("candidate_since"), None, source
        )
        found.restore(self.journal, CANDIDATE, meta("candidate_compacted") or 0)
        with self.journal.transaction():
            found.compact(self.journal, CANDIDATE)
            self.journal.set_meta({"candidate_compacted": self.journal.seq})
        found.path.unlink(missing_ok=True)

    def _resume(self) -> Served:
        """Go on from the state's own copy."""
        path, meta = self._state.posteriors(self.journal), self.journal.meta
        return self._load(path, meta("since"), meta("policy"), self.source)

    def _load(self, source: Path, since: float | None, policy: str | None, named: Path) -> Served:
        try:
            if loading.is_beta(source, policy, self._limits):
                self._check_features(None)
                about = self._half_life, since, self._limits, self._hours
                return load_table(source, self._next_path, *about)
            if self._only_beta:
                hint = "it is about Thompson sampling with Beta posteriors"
                raise UsageError(f"{self._only_beta}: not with the policy of {source}", hint=hint)
            if self._hours is not None:
                hint = "Thompson sampling with Beta posteriors has; others have --half-life"
                text = f"--window: the policy {policy or f'of {source}'} has none"
                raise UsageError(text, hint=hint)
            aging = {"half_life": self._half_life, "since": since}
            served = ServedModel(source, policy, self._next_path, self._limits, **aging)
            self._check_features(served)
            self._check_attribution(served)
            return served
        except MlkitError as error:
            # The user knows the file that was given, and not our copy of it.
            raise _rename_file(error, str(source), str(named)) from error

    def _check_features(self, served: ServedModel | None) -> None:
        """Refuse an option about features where the policy reads none."""
        has_features = served is not None and served.model.header.spec.has_features
        if self._needs_features and not has_features:
            hint = "lin-ts, lin-ucb and logistic read features"
            raise UsageError(f"{self._needs_features}: the policy reads none", hint=hint)

    def _check_attribution(self, served: ServedModel) -> None:
        spec = served.header.spec
        if self._attribution and not spec.takes_back:
            hint = "a reward that comes later takes the zero back"
            text = f"--attribution: the policy {spec} cannot take rewards back"
            raise UsageError(text, hint=hint)

    def _next_path(self) -> Path:
        self._tables += 1
        return self._state.table(self._tables)

    def compact(self) -> None:
        """Move the journal into the snapshots."""
        with self.journal.transaction():
            self.posteriors.compact(self.journal)
            self._compact_candidate()
            self.journal.end_compaction()

    def _compact_candidate(self) -> None:
        if self.candidate is not None:
            self.candidate.compact(self.journal, CANDIDATE)
            self.journal.set_meta({"candidate_compacted": self.journal.seq})

    # Two versions

    def _settle_candidate(self, source: Path | None) -> Served | None:
        """Start the candidate, or go on with it; one that was promoted or rolled back is none."""
        meta = self.journal.meta
        digest = None if source is None else self._candidate_digest(source)
        if source is None or digest in (meta("posteriors_hash"), meta("rolled_back")):
            self._end_candidate({})
            return None
        if digest != meta("candidate_hash"):
            copy = self._state.keep(source, str(digest))
            self.compact()  # What was before it is no change of its own.
            name = f"{copy.parent.name}/{copy.name}"
            facts = {"candidate": name, "candidate_hash": digest, "candidate_since": time.time()}
            with self.journal.transaction():
                # What was learned before is not in its file, perhaps: it starts from now.
                self.journal.clear_candidate(facts | {"candidate_compacted": self.journal.seq})
        return self._resume_candidate(source)

    def _candidate_digest(self, source: Path) -> str:
        aging = "" if self._half_life is None else f" half-life {self._half_life:g}"
        return f"{file.content_hash(source)}{aging}"

    def _resume_candidate(self, source: Path | None = None) -> Served | None:
        meta = self.journal.meta
        if meta("candidate") is None:
            return None
        copy = self._state.path / meta("candidate")
        found = self._load(copy, meta("candidate_since"), None, source or copy)
        self._check_kind(found, source or copy)
        found.restore(self.journal, CANDIDATE, meta("candidate_compacted") or 0)
        return found

    def _check_kind(self, candidate: Served, source: Path) -> None:
        """Refuse a candidate that reads other features, or learns from other rewards."""
        ours, other = self.posteriors, candidate
        if isinstance(ours, ServedModel) and isinstance(other, ServedModel):
            first, second = ours.header, other.header
            same = first.spec.rewards == second.spec.rewards and first.features == second.features
        else:
            same = type(ours) is type(other)
        if not same:
            hint = "both are Beta posteriors, or models of the same features and rewards"
            raise UsageError(f"--candidate {source}: a model of another kind", hint=hint)

    def promote(self) -> bool:
        """Put the candidate, with what it has learned, in the stable version's place.

        Returns:
            False, and nothing has changed, if there is none.
        """
        if self.candidate is None:
            return False
        meta = self.journal.meta
        facts = {
            "posteriors": meta("candidate"),
            "posteriors_hash": meta("candidate_hash"),
            "since": meta("candidate_since"),
            "policy": None,
            "superseded": self._digest(),
        }
        with self.journal.transaction():
            self._compact_candidate()
            self.journal.promote(facts | _NO_CANDIDATE)
        before, self.posteriors, self.candidate = self.posteriors, self.candidate, None
        before.path.unlink(missing_ok=True)
        self._drop_other_posteriors()
        return True

    def roll_back(self) -> bool:
        """Forget the candidate; False if there is none."""
        if self.candidate is None:
            return False
        self._end_candidate({"rolled_back": self.journal.meta("candidate_hash")})
        self._drop_other_posteriors()
        return True

    def _end_candidate(self, facts: dict[str, Any]) -> None:
        with self.journal.transaction():
            self.journal.clear_candidate(facts | _NO_CANDIDATE)
        if self.candidate is not None:
            self.candidate.path.unlink(missing_ok=True)
        self.candidate = None

    def _drop_other_posteriors(self) -> None:
        names = [self.journal.meta(name) for name in ("posteriors", "candidate")]
        self._state.drop_other_posteriors(*(self._state.path / name for name in names if name))

    def prepare_replacement(self, known: str, superseded: str | None) -> Replacement | None:
        """Read the posteriors file again, beside the running model and from any thread.

        Args:
            known: The hash of the file that the model started from.
            superseded: That of a file over which a candidate was promoted; None: of none.

        Returns:
            The other posteriors, or None if the file is the same.

        Raises:
            MlkitError: The file cannot be used; nothing has changed.
        """
        digest = self._digest()
        if digest in (known, superseded):
            return None
        copy = self._state.keep(self.source, digest)
        facts = self._facts(copy, digest)
        facts["superseded"] = None
        new = self._load(copy, facts["since"], self._policy, self.source)
        return Replacement(facts, copy, new)

    def replace(self, new: Replacement, *, keep_after: int) -> None:
        """Go on with other posteriors.

        Args:
            new: The posteriors.
            keep_after: Changes of the journal above this number count in them; they must not
                have been compacted. What was learned up to it is forgotten.
        """
        with self.journal.transaction():
            self._compact_candidate()
        self.journal.restart_from(new.facts, keep_after=keep_after)
        self.posteriors.path.unlink(missing_ok=True)
        self.posteriors = new.posteriors
        self.posteriors.new_arm_prior = self._new_arm_prior
        for change in self.journal.changes():
            self.posteriors.apply(change)
        self.posteriors.show()
        self._drop_other_posteriors()
