"""From requests to what they change: in the journal first, then in the tables that workers see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mlkit.bandit.server import metrics
from mlkit.bandit.server.feedback.attribution import Settled, settle_due
from mlkit.bandit.server.feedback.event_batch import Appended, Reason, Rejection, append_events
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.learning.records import Change, Kind
from mlkit.bandit.server.processes.protocol import (
    Accepted,
    ArmChange,
    ArmChanged,
    Conflict,
    Decided,
    Feedback,
    Kept,
    Reply,
    Request,
    Tick,
    UnknownArm,
    UnknownEvent,
)
from mlkit.web.metrics import Counters

SETTLED_AT_ONCE = 2000
"""Decisions that a `Tick` settles at most."""
Outcome = Appended | Rejection | Settled | bool
"""Of feedback what was appended, or a rejection; of an arm whether there was anything to do."""


class Batch(NamedTuple):
    """Requests that are applied together.

    Attributes:
        requests: The requests.
        time: When they were made, in seconds since 1970.
        is_own: Whether workers of this host sent them: only those are counted.
    """

    requests: Sequence[Request]
    time: float
    is_own: bool = True


class Applier:
    """Applies requests in their order; the same requests have the same effect on every host.

    Args:
        model: The model, which nobody else changes.
        counters: Where to count.
        new_arms: Whether feedback may bring arms that were never added.
        clock: Set to the time of each batch before it is read; None: the journal has its own.

    Attributes:
        since_compaction: Changes in the journal since it was compacted.
    """

    def __init__(
        self,
        model: Model,
        counters: Counters,
        *,
        new_arms: bool,
        clock: Callable[[float], None] | None = None,
    ) -> None:
        self._model = model
        self._counters = counters
        self._new_arms = new_arms
        self._set_clock = clock
        self._begun = counters.layout.counters[metrics.BEGUN]
        self._shown = counters.layout.counters[metrics.SHOWN]
        for place in (self._begun, self._shown):
            counters.values[place] = model.journal.seq
        self.since_compaction = 0

    def commit(
        self, batches: Sequence[Batch], facts: dict[str, Any] | None = None
    ) -> list[list[Reply]]:
        """Apply batches in one transaction, and show all workers what has changed.

        Args:
            batches: The batches.
            facts: What to set about the state in the same transaction.

        Raises:
            SqliteFailure: The journal cannot be written; nothing has changed.
        """
        seq = self._model.journal.seq
        try:
            with self._model.journal.transaction():
                outcomes = [self._write_all(batch) for batch in batches]
                self._model.journal.set_meta(facts or {})
        except BaseException:
            self._model.journal.seq = seq
            raise
        self._counters.add(metrics.COMMITS)
        self._counters.values[self._begun] = self._model.journal.seq
        replies = [self._apply_all(*each) for each in zip(batches, outcomes, strict=True)]
        self._model.show()
        self._counters.values[self._shown] = self._model.journal.seq
        return replies

    def is_known(self, arm: str) -> bool:
        """Return whether an arm may be rewarded."""
        learn = self._new_arms and self._model.posteriors.new_arms_learn
        return learn or self._model.knows(arm)

    # To the journal

    def _write_all(self, batch: Batch) -> list[Outcome]:
        if self._set_clock is not None:
            self._set_clock(batch.time)
        return [self._write(request, batch.time) for request in batch.requests]

    def _write(self, request: Request, now: float) -> Outcome:
        journal = self._model.journal
        if isinstance(request, Feedback):
            return append_events(journal, request.events, self.is_known)
        if isinstance(request, Decided):
            journal.keep(request.decisions)
            return True
        if isinstance(request, Tick):
            return settle_due(journal, now, SETTLED_AT_ONCE, self._model.knows)
        change = request.change
        if change.kind == Kind.REMOVE and not self._model.has(change.arm):
            return False
        journal.append([change])
        return True

    # To the tables

    def _apply_all(self, batch: Batch, outcomes: list[Outcome]) -> list[Reply]:
        pairs = zip(batch.requests, outcomes, strict=True)
        return [self._apply(*each, is_own=batch.is_own) for each in pairs]

    def _apply(self, request: Request, outcome: Outcome, *, is_own: bool) -> Reply:
        if isinstance(outcome, Settled):
            return self._settle(outcome)
        if isinstance(request, ArmChange):
            self.since_compaction += bool(outcome)
            existed = bool(outcome) and self._model.apply(request.change)
            return ArmChanged(request.number, existed)
        if isinstance(outcome, Rejection):
            return self.rejected(request, outcome, is_own=is_own)
        if not isinstance(outcome, Appended):
            return Kept(request.number)
        ignored = [self._is_ignored(changes) for changes in outcome.changes]
        self.since_compaction += sum(map(len, outcome.changes))
        if is_own:
            self._count(outcome, ignored)
        return Accepted(request.number, outcome.repeats, ignored, outcome.replaced)

    def _settle(self, settled: Settled) -> Reply:
        self._counters.add(metrics.ZEROS, len(settled.zeros))
        self.since_compaction += len(settled.zeros)
        for change in settled.zeros:
            self._model.apply(change)
        return Kept(settled.decisions)

    def rejected(self, request: Request, rejection: Rejection, *, is_own: bool = True) -> Reply:
        """Return the reply to feedback that is refused."""
        if rejection.reason is Reason.UNKNOWN_EVENT:
            return UnknownEvent(request.number, rejection.place)
        is_conflict = rejection.reason is Reason.CONFLICT
        self._counters.add(metrics.CONFLICTS if is_conflict else metrics.UNKNOWN_EVENTS, is_own)
        reply = Conflict if is_conflict else UnknownArm
        return reply(request.number, rejection.place)

    def _is_ignored(self, changes: list[Change]) -> bool:
        """Apply the changes of an event; return whether there were some, and none was of use."""
        applied = [self._model.apply(change) for change in changes]
        return bool(applied) and not any(applied)

    def _count(self, appended: Appended, ignored: list[bool]) -> None:
        duplicates, unused = sum(appended.repeats), sum(ignored)
        counted = len(ignored) - duplicates - unused
        amended = sum(replaced is not None for replaced in appended.replaced)
        self._counters.add(metrics.DUPLICATES, duplicates)
        self._counters.add(metrics.IGNORED, unused)
        self._counters.add(metrics.EVENTS, counted)
        self._counters.add(metrics.AMENDED, amended)
