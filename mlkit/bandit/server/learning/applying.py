"""From requests to what they change: in the journal first, then in the tables that workers see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from mlkit.bandit.server import metrics
from mlkit.bandit.server.candidates.tally import Tally
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
    DecisionCounts,
    Feedback,
    Kept,
    Reply,
    Request,
    StartCandidate,
    Switch,
    Switched,
    Tick,
    UnknownArm,
    UnknownEvent,
)
from mlkit.web.metrics import Counters

SETTLED_AT_ONCE = 2000
"""Decisions that a `Tick` settles at most."""
Outcome = Appended | Rejection | Settled | bool
"""Of feedback what was appended, or a rejection; of others whether there was anything to do."""


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
        tally: What the versions of the fleet have earned; None: there is no fleet.

    Attributes:
        on_switched: Called when the candidate has started, or ended: with whether it is promoted.
        since_compaction: Changes in the journal since it was compacted.
    """

    def __init__(
        self,
        model: Model,
        counters: Counters,
        *,
        new_arms: bool,
        clock: Callable[[float], None] | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._tally = tally
        self.on_switched: Callable[[bool], None] = lambda is_promoted: None
        self._model = model
        self._counters = counters
        self._new_arms = new_arms
        self._set_clock = clock
        self._begun = counters.layout.counters[metrics.BEGUN]
        self._shown = counters.layout.counters[metrics.SHOWN]
        for place in (self._begun, self._shown):
            counters.values[place] = model.journal.seq
        self.since_compaction = 0
        if tally is not None:
            tally.publish(counters)

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
        sums = None if self._tally is None else self._tally.save()
        try:
            with self._model.journal.transaction():
                outcomes = [self._write_all(batch) for batch in batches]
                self._model.journal.set_meta((facts or {}) | self._counted(sums))
        except BaseException:
            self._model.journal.seq = seq
            if self._tally is not None:
                self._tally.restore(sums)
            raise
        self._counters.add(metrics.COMMITS)
        self._counters.values[self._begun] = self._model.journal.seq
        replies = [self._apply_all(*each) for each in zip(batches, outcomes, strict=True)]
        self._model.show()
        if self._tally is not None:
            self._tally.publish(self._counters)
        self._counters.values[self._shown] = self._model.journal.seq
        return replies

    def _counted(self, before: str | None) -> dict[str, Any]:
        """Return what to set about the state if versions have earned something."""
        after = None if self._tally is None else self._tally.save()
        return {} if after == before else {"tally": after}

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
            outcome = append_events(journal, request.events, self.is_known)
            self._tally_up(request, outcome)
            return outcome
        if isinstance(request, Decided):
            journal.keep(request.decisions)
            return True
        if isinstance(request, Tick):
            return settle_due(journal, now, SETTLED_AT_ONCE, self._model.knows)
        if isinstance(request, ArmChange):
            return self._write_arm(request)
        return self._write_version(request, now)

    def _write_arm(self, request: ArmChange) -> bool:
        change = request.change
        if change.kind == Kind.REMOVE and not self._model.has(change.arm):
            return False
        self._model.journal.append([change])
        return True

    def _write_version(self, request: Switch | StartCandidate | DecisionCounts, now: float) -> bool:
        tally = self._tally
        if isinstance(request, DecisionCounts):
            if tally is not None:
                tally.report(request)
            return True
        if isinstance(request, Switch):
            existed = self._model.write_switch(request)
            if existed and tally is not None:
                tally.end(now, is_promoted=request.promote)
            return existed
        had = self._model.candidate is not None
        starts = self._model.write_start(request, now)
        if starts and not had and tally is not None:
            tally.start(now)
        return starts

    def _tally_up(self, request: Feedback, outcome: Appended | Rejection) -> None:
        """Count rewards of decisions, where hosts do so together."""
        if self._tally is None or isinstance(outcome, Rejection):
            return
        for event, is_repeat in zip(request.events, outcome.repeats, strict=True):
            if event.decided and event.amends is None and not is_repeat:
                self._tally.count(event)

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
        if isinstance(request, (Switch, StartCandidate)):
            return self._switch(request, existed=bool(outcome))
        if isinstance(outcome, Rejection):
            return self.rejected(request, outcome, is_own=is_own)
        if not isinstance(outcome, Appended):
            return Kept(request.number)
        ignored = self._apply_events(outcome.changes)
        self.since_compaction += sum(map(len, outcome.changes))
        if is_own:
            self._count(outcome, ignored)
        return Accepted(request.number, outcome.repeats, ignored, outcome.replaced)

    def _switch(self, request: Switch | StartCandidate, *, existed: bool) -> Reply:
        if existed and isinstance(request, Switch):
            self._model.show_switch(request)
            self.on_switched(request.promote)
        elif existed:
            self._model.show_start()
            self.on_switched(False)
        return Switched(request.number, existed)

    def _settle(self, settled: Settled) -> Reply:
        self._counters.add(metrics.ZEROS, len(settled.zeros))
        self.since_compaction += len(settled.zeros)
        self._model.apply_all(settled.zeros)
        return Kept(settled.decisions)

    def rejected(self, request: Request, rejection: Rejection, *, is_own: bool = True) -> Reply:
        """Return the reply to feedback that is refused."""
        if rejection.reason is Reason.UNKNOWN_EVENT:
            return UnknownEvent(request.number, rejection.place)
        is_conflict = rejection.reason is Reason.CONFLICT
        self._counters.add(metrics.CONFLICTS if is_conflict else metrics.UNKNOWN_EVENTS, is_own)
        reply = Conflict if is_conflict else UnknownArm
        return reply(request.number, rejection.place)

    def _apply_events(self, events: list[list[Change]]) -> list[bool]:
        """Apply the changes of events.

        Returns:
            Of each event whether there were some, and none was of use.
        """
        applied = self._model.apply_all([change for changes in events for change in changes])
        if all(applied):
            return [False] * len(events)
        used = iter(applied)
        found = [list(islice(used, len(changes))) for changes in events]
        return [bool(each) and not any(each) for each in found]

    def _count(self, appended: Appended, ignored: list[bool]) -> None:
        duplicates, unused = sum(appended.repeats), sum(ignored)
        counted = len(ignored) - duplicates - unused
        amended = sum(replaced is not None for replaced in appended.replaced)
        self._counters.add(metrics.DUPLICATES, duplicates)
        self._counters.add(metrics.IGNORED, unused)
        self._counters.add(metrics.EVENTS, counted)
        self._counters.add(metrics.AMENDED, amended)
