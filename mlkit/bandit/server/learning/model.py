"""The model that the writer keeps: the journal, and the table that shows its state."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlkit.bandit.server.candidates.course import Course
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change
from mlkit.bandit.server.learning.schema import CANDIDATE
from mlkit.bandit.server.learning.state import StateDirectory
from mlkit.bandit.server.learning.tables import GrowingTable
from mlkit.bandit.server.learning.version_files import Served, VersionFiles, check_kind
from mlkit.bandit.server.processes.protocol import StartCandidate, Switch
from mlkit.errors import UsageError
from mlkit.unpacking import UnpackLimits

_NO_CANDIDATE = dict.fromkeys(("candidate", "candidate_hash", "candidate_since", "candidate_share"))
MOST_BYTES = 64 << 20
"""The largest file of a fleet's candidate, which goes through the stream."""


class Replacement(NamedTuple):
    """Other posteriors, ready to take the place of the present ones."""

    facts: dict[str, Any]
    copy: Path
    posteriors: Served


def _lines(text: str | None) -> list[str]:
    return text.split("\n") if text else []


class Model:
    """The posteriors of a server, and what is durable of them.

    Attributes:
        journal: The journal; a change is committed there before the table shows it.
        posteriors: The table.
        candidate: That of another version, with a share of the traffic; None: there is none.
        source: The posteriors file.
        on_learned: Called with changes that one of them has used.

    Args:
        state: The state directory, which this process has locked.
        source: The posteriors file.
        policy: The policy asked for; None: that of the file.
        half_life: Seconds in which what is known loses half of its weight; None: that of the file.
        hours: The window of rewards that count, in hours; None: that of the file.
        attribution: Whether decisions without a reward count as 0.
        candidate: The posteriors file of another version, which learns beside this one; None: of
            none. In a fleet it comes from the journal.
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
        self._in_fleet = shared is not None
        self.source = source
        self._policy = policy
        self._half_life, self._hours = half_life, hours
        options = policy, half_life, hours, attribution, only_beta, needs_features
        self._version_files = VersionFiles(*options, limits, self._next_path)
        self._version_files.check_window(candidate)
        self._tables = 0
        state.clear_tables()
        self.journal = Journal(state.journal, window=window, shared=shared)
        self.journal.check_facts()
        if not attribution:
            self.journal.end_all()
        for name, content in self.journal.files():
            state.restore(name, content)
        self.candidate: Served | None = None
        self.on_learned: Callable[[Sequence[Change]], None] = lambda changes: None
        self.posteriors: Served = self._resume() if resume else self._settle(adopt, candidate)
        self.posteriors.restore(self.journal)
        goes_on = resume or self._in_fleet
        self.candidate = self._resume_candidate() if goes_on else self._settle_candidate(candidate)
        self.expire()
        self.compact()
        # After the compaction: what was learned before had the prior of before.
        self._new_arm_prior = new_arm_prior
        for version in self._versions():
            version.new_arm_prior = new_arm_prior
        self.journal.set_new_arm_prior(new_arm_prior)
        self._share: float | None = self.journal.meta("candidate_share") if shared else None
        self._drop_other_posteriors()

    def _versions(self) -> list[Served]:
        return [self.posteriors, *([] if self.candidate is None else [self.candidate])]

    def apply(self, change: Change) -> bool:
        """Apply a change to both versions; return whether one has used it."""
        return self.apply_all([change])[0]

    def apply_all(self, changes: Sequence[Change]) -> list[bool]:
        """Apply changes to both versions; return for each whether one has used it."""
        used = self.posteriors.apply_all(changes)
        if self.candidate is not None:
            others = self.candidate.apply_all(changes)
            used = [one or other for one, other in zip(used, others, strict=True)]
        learned = [change for change, is_used in zip(changes, used, strict=True) if is_used]
        if learned:
            self.on_learned(learned)
        return used

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
        return self.posteriors.knows(arm) or (
            self.candidate is not None and self.candidate.knows(arm)
        )

    def has(self, arm: str) -> bool:
        """Return whether a version has an arm."""
        return any(version.has(arm) for version in self._versions())

    def files(self) -> str:
        """Return which files workers are to answer from, and the share, as a text."""
        share = () if self.share is None else (f"share {self.share}",)
        return "\n".join([*(str(version.path) for version in self._versions()), *share])

    def _digest(self) -> str:
        return self._version_files.digest(self.source)

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
        if digest in _lines(self.journal.meta("superseded")) and not adopt:
            return self._resume()  # a candidate was promoted over this file
        fleet = self.journal.meta("fleet")
        self._state.check_owner(known, digest, self.source, adopt=adopt, fleet=fleet)
        copy = self._state.keep(self.source, digest)
        copy = self._shared_copy(copy) or copy
        facts = self._facts(copy, digest)
        if fleet:  # On another host the file may have another name.
            self.journal.set_meta(self._state.facts(copy, digest))
        since = self.journal.meta("since") if known == digest else facts["since"]
        posteriors = self._version_files.load(copy, since, self._policy, self.source)
        if known != digest:
            facts["superseded"] = None
            self._save_candidate(candidate)
            self.journal.restart_from(facts, keep_after=self.journal.seq)
        return posteriors

    def _shared_copy(self, copy: Path) -> Path | None:
        """Return the copy that all hosts of a fleet have under the same name; None: there is none.

        It is of a candidate that was promoted.
        """
        folder = f"{copy.parent.name}/"
        names = (name for name in self.journal.file_names() if name.startswith(folder))
        return next((self._state.path / name for name in names), None)

    def _save_candidate(self, source: Path | None) -> None:
        """Move the journal, which another file makes empty, into the candidate that goes on."""
        meta = self.journal.meta
        if source is None or self._version_files.candidate_digest(source) != meta("candidate_hash"):
            return
        found = self._version_files.load(
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
        return self._version_files.load(path, meta("since"), meta("policy"), self.source)

    def _next_path(self) -> Path:
        self._tables += 1
        return self._state.table(self._tables)

    def compact(self) -> None:
        """Move the journal into the snapshots."""
        with self.journal.transaction():
            self._compact_all()

    def _compact_all(self) -> None:
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
        digest = None if source is None else self._version_files.candidate_digest(source)
        if source is None or digest in (meta("posteriors_hash"), meta("rolled_back")):
            self._end_candidate({})
            return None
        if digest != meta("candidate_hash"):
            copy = self._state.keep(source, str(digest))
            name = f"{copy.parent.name}/{copy.name}"
            facts = {"candidate": name, "candidate_hash": digest, "candidate_since": time.time()}
            with self.journal.transaction():
                self._write_candidate(facts)
        return self._resume_candidate(source)

    def _resume_candidate(self, source: Path | None = None) -> Served | None:
        meta = self.journal.meta
        if meta("candidate") is None:
            return None
        copy = self._state.path / meta("candidate")
        found = self._version_files.load(copy, meta("candidate_since"), None, source or copy)
        check_kind(self.posteriors, found, source or copy)
        found.restore(self.journal, CANDIDATE, meta("candidate_compacted") or 0)
        return found

    def promote(self) -> bool:
        """Put the candidate, with what it has learned, in the stable version's place.

        Returns:
            False, and nothing has changed, if there is none.
        """
        return self._switch(Switch(0, promote=True))

    def roll_back(self) -> bool:
        """Forget the candidate; False if there is none."""
        return self._switch(Switch(0, promote=False))

    def _switch(self, request: Switch) -> bool:
        with self.journal.transaction():
            existed = self.write_switch(request)
        if existed:
            self.show_switch(request)
        return existed

    def write_switch(self, request: Switch) -> bool:
        """Write that the candidate ends, inside a transaction; False: it is not there."""
        course = self.course
        if course.after(request) == course:
            return False
        meta = self.journal.meta
        ended = sorted({*_lines(meta("ended")), meta("candidate_hash")})
        facts: dict[str, Any] = {"ended": "\n".join(ended)} if self._in_fleet else {}
        if request.promote:
            facts |= {
                "posteriors": meta("candidate"),
                "posteriors_hash": meta("candidate_hash"),
                "since": meta("candidate_since"),
                "policy": None,
                "superseded": self._superseded(),
            }
            self._compact_candidate()
            self.journal.promote(facts | _NO_CANDIDATE)
        else:
            facts["rolled_back"] = meta("candidate_hash")
            self.journal.clear_candidate(facts | _NO_CANDIDATE)
        self.journal.drop_other_files(self._names())
        return True

    def _superseded(self) -> str:
        """Return the hashes of the files with which servers go on, as before, from now on."""
        if not self._in_fleet:
            return self._digest()
        meta = self.journal.meta
        return "\n".join({*_lines(meta("superseded")), meta("posteriors_hash")})

    def show_switch(self, request: Switch) -> None:
        """Show that the candidate, of which `write_switch` has written so, has ended."""
        assert self.candidate is not None
        over = self.candidate
        if request.promote:
            over, self.posteriors = self.posteriors, self.candidate
        self.candidate = None
        over.path.unlink(missing_ok=True)
        self._drop_other_posteriors()

    # Candidates of a fleet

    @property
    def course(self) -> Course:
        """What has become of candidates so far."""
        meta = self.journal.meta
        ended = {*_lines(meta("ended")), meta("posteriors_hash"), meta("rolled_back")} - {None}
        return Course(meta("candidate_hash"), meta("candidate_share") or 0.0, frozenset(ended))

    @property
    def share(self) -> float | None:
        """The share of the fleet's candidate; None: there is none."""
        return self._share

    def start_of(self, source: Path, share: float) -> StartCandidate:
        """Return the message with which a file becomes the fleet's candidate.

        Raises:
            MlkitError: It cannot be a candidate.
        """
        self._version_files.check_window(source)
        size = source.stat().st_size
        if size > MOST_BYTES:
            text = f"--candidate {source}: {size} bytes, more than {MOST_BYTES}"
            raise UsageError(text, hint="a fleet's hosts send it to one another; use Parquet")
        found = self._version_files.load(source, time.time(), None, source)
        found.path.unlink(missing_ok=True)
        check_kind(self.posteriors, found, source)
        digest = self._version_files.candidate_digest(source)
        return StartCandidate(digest, share, source.name, source.read_bytes())

    def write_start(self, request: StartCandidate, now: float) -> bool:
        """Write that a candidate starts or has another share, inside a transaction.

        Returns:
            False, and nothing is written, if there is another, or it has ended before.
        """
        course = self.course
        after = course.after(request)
        if after == course:
            return False
        if course.candidate is not None:
            self.journal.set_meta({"candidate_share": after.share})
            return True
        name = self._state.name_of(request.name, request.digest)
        self._state.restore(name, request.content)
        self.journal.put_file(name, request.content)
        facts = {"candidate": name, "candidate_hash": request.digest, "candidate_since": now}
        self._write_candidate(facts | {"candidate_share": after.share})
        return True

    def _write_candidate(self, facts: dict[str, Any]) -> None:
        self._compact_all()  # What was before it is no change of its own.
        # What was learned before is not in its file, perhaps: it starts from now.
        self.journal.clear_candidate(facts | {"candidate_compacted": self.journal.seq})

    def show_start(self) -> None:
        """Show the candidate, or its other share, of which `write_start` has written."""
        if self.candidate is None:
            self.candidate = self._resume_candidate()
            assert self.candidate is not None
            self.candidate.new_arm_prior = self._new_arm_prior
        self._share = self.journal.meta("candidate_share")

    def share_files(self, share: float | None) -> None:
        """Put files that other hosts may lack into the journal, as the state becomes a fleet's.

        Args:
            share: The share of the candidate; None: it ends, as on a single host.
        """
        meta = self.journal.meta
        if share is None:
            self._end_candidate({})
        names = [meta("candidate"), meta("superseded") and meta("posteriors")]
        with self.journal.transaction():
            for name in filter(None, names):
                self.journal.put_file(name, (self._state.path / name).read_bytes())
            if self.candidate is not None:
                self.journal.set_meta({"candidate_share": share})
        self._share = meta("candidate_share")

    def _end_candidate(self, facts: dict[str, Any]) -> None:
        with self.journal.transaction():
            self.journal.clear_candidate(facts | _NO_CANDIDATE)
        if self.candidate is not None:
            self.candidate.path.unlink(missing_ok=True)
        self.candidate = None

    def _drop_other_posteriors(self) -> None:
        self._state.drop_other_posteriors(*(self._state.path / name for name in self._names()))

    def _names(self) -> list[str]:
        """Return where in the state the files of both versions are."""
        names = (self.journal.meta(name) for name in ("posteriors", "candidate"))
        return [name for name in names if name]

    def prepare_replacement(self, known: str, superseded: str | None) -> Replacement | None:
        """Read the posteriors file again, beside the running model and from any thread.

        Args:
            known: The hash of the file that the model started from.
            superseded: Those of files over which a candidate was promoted; None: of none.

        Returns:
            The other posteriors, or None if the file is the same.

        Raises:
            MlkitError: The file cannot be used; nothing has changed.
        """
        digest = self._digest()
        if digest == known or digest in _lines(superseded):
            return None
        copy = self._state.keep(self.source, digest)
        facts = self._facts(copy, digest)
        facts["superseded"] = None
        new = self._version_files.load(copy, facts["since"], self._policy, self.source)
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
