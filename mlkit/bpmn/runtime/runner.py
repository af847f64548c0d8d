"""The event loop between the engine and the world: workers, timers, messages, the journal.

Each pass applies what happened, commits all of it at once, and only then does what follows
from it: nothing is started, printed or acknowledged before its commit.
"""

from __future__ import annotations

import heapq
import time
import traceback
from collections.abc import Callable

from msgspec import structs

from mlkit.bpmn.engine.effects import (
    AnyEffect,
    Fetch,
    Run,
    Send,
    Stop,
    Store,
    Subscribe,
    Wake,
)
from mlkit.bpmn.engine.events import (
    ASKED,
    DECIDED,
    AnyEvent,
    Complete,
    Crash,
    Fire,
    Hop,
    Migrate,
    Recover,
    Retry,
    StoreRead,
    Unsuspend,
)
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.engine.step import OutOfTime
from mlkit.bpmn.journal.memory import MemoryStores
from mlkit.bpmn.journal.parts import Stores
from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Append, Changes, Damaged, Entry, Log, TakenOver
from mlkit.bpmn.runtime import concurrent_changes, jobs
from mlkit.bpmn.runtime.attempts import Attempts
from mlkit.bpmn.runtime.clock import Clock, RealClock
from mlkit.bpmn.runtime.effects import lock_messages, select_rows, topics, write
from mlkit.bpmn.runtime.pools import Pools
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.running_attempts import this_host
from mlkit.errors import BadData, MlkitError
from mlkit.workers.pool import ScriptPool

INBOX_INTERVAL = 0.2
_TRANSFER_INTERVAL = 0.01
Observer = Callable[["Running", float, list[Hop]], None]
Migrator = Callable[["Running", Migrate, float], tuple[Entry, list[AnyEffect]]]


class Runner:
    """Moves instances on until nothing is left that moves alone.

    Args:
        pool: Where scripts run, or all pools of the instances.
        journal: Where events are kept; None keeps nothing.
        clock: Real or simulated.
        observer: Called after each commit with an instance, the time and its new trace.
        until: The clock's time at which to stop, for diagrams that never end.
        waits: Whether to wait for timers that are not due yet.

    Attributes:
        on_entry: Called after a commit with each event of an instance.
        on_verdict: Called after a commit with an instance, the number of each row of its inbox that
            was decided, and why it was refused.
        on_offer: Called after a commit with the topics of the tasks that it has offered to external
            workers.
        rests: Returns whether an instance rests after a commit, which then leaves it to anybody;
            whoever sets it calls `leave` before anything else is applied to it.
        attempts: The scripts of the instances.
        transfers: Stored values on their way; None without a journal.
        migrator: Moves an instance to another version of its definition; returns what the journal
            gets, and what follows.
    """

    def __init__(
        self,
        pool: ScriptPool | Pools,
        journal: Journal | None = None,
        clock: Clock | None = None,
        observer: Observer | None = None,
        until: float | None = None,
        waits: bool = True,
    ) -> None:
        self.pool = pool
        self.journal = journal
        self.stores: Stores = MemoryStores() if journal is None else journal.stores
        self.clock = clock or RealClock()
        self.observer = observer
        self.until = until
        self.waits = waits
        self.instances: dict[int, Running] = {}
        self.timers: list[tuple[float, int, int]] = []
        self.dirty: dict[int, Running] = {}
        self.effects: list[tuple[Running, AnyEffect]] = []
        self._raises = False
        self.look_again = 0.0
        self.problems: list[MlkitError] = []
        self.on_entry: Callable[[Running, Entry], None] | None = None
        self.on_verdict: Callable[[Running, int, str], None] | None = None
        self.on_offer: Callable[[set[str]], None] | None = None
        self.rests: Callable[[Running], bool] = lambda running: False
        self.migrator: Migrator | None = None
        self.attempts = Attempts(pool, journal, self.clock, self.apply)
        self.transfers = self.attempts.transfers

    # -- instances -------------------------------------------------------------------------

    def add(self, running: Running) -> None:
        """Take an instance in; what it waits for is set up again."""
        self.instances[running.number] = running
        self.look_again = 0.0
        if running.row is not None and running.row.due != running.state.due:
            self.dirty[running.number] = running  # Its row is of an older version.
        pending = running.engine.pending(running.state)
        runs = [each for each in pending if isinstance(each, Run)]
        if running.sequence == running.options.get("forked"):
            # What the instance that it comes from had begun begins here for the first time.
            self.effects += [(running, each) for each in runs]
        elif runs:
            self.apply(running, Recover())
        # Subscriptions are rows of the journal: they have outlived the engine.
        self.effects += [(running, each) for each in pending if isinstance(each, Wake | Fetch)]

    def apply(self, running: Running, event: AnyEvent, log: Log | None = None) -> None:
        """Apply an event to an instance; the next commit makes it durable."""
        at = self.clock.now() if log is None else log.ended  # The log has just read the clock.
        try:
            outcome = running.engine.apply(running.state, event, at)
        except Exception as error:
            if isinstance(error, MlkitError) and not isinstance(error, OutOfTime):
                raise
            # A defect, or a script without end, stops this instance and no other.
            self._record_crash(running, event, error, log)
            return
        self._note_applied(running, Entry(at, event, outcome.trace, log), outcome.effects)

    def _note_applied(self, running: Running, entry: Entry, effects: list[AnyEffect]) -> None:
        entry.ends = running.state.status != "running" and not running.has_ended
        running.has_ended |= entry.ends
        running.changes.entries.append(entry)
        self.dirty[running.number] = running
        for each in effects:
            self.effects.append((running, each))

    def _record_crash(
        self, running: Running, event: AnyEvent, error: Exception, log: Log | None
    ) -> None:
        """Keep an event at which the engine failed as an incident, with the traceback in the log.

        What the failed step has changed already is forgotten.
        """
        if self.journal is None or running.row is None or self._raises:
            raise error
        at = self.clock.now()
        if isinstance(error, OutOfTime):
            problem, text = error.message, error.message
        else:
            problem = f"internal error: {type(error).__name__}: {error}"
            text = "".join(traceback.format_exception(error))
        crash = Crash(event, problem)
        node = running.state.activations.get(getattr(event, "id", 0))
        log = log or Log(
            running.engine.processes[0].id if node is None else node.node,
            "" if node is None else node.iteration,
            0 if node is None else node.attempt,
            at, 0.0, 0, "crashed", "", "", this_host(),
        )  # fmt: skip
        log = structs.replace(log, outcome="crashed", stderr=log.stderr + text)
        try:
            running.state = self._rebuild(running)
            outcome = running.engine.apply(running.state, crash, at)
        except Exception as again:
            self.drop(running, again)
            return
        self._note_applied(running, Entry(at, crash, outcome.trace, log), outcome.effects)

    def _rebuild(self, running: Running) -> State:
        """Return the state before the step that failed: what is on disk, and what will be."""
        assert self.journal is not None
        assert running.row is not None
        state, _ = self.journal.replay(running.row, running.engine)
        for entry in running.changes.entries:
            running.engine.apply(state, entry.event, entry.at, replayed=True)
        return state

    def drop(self, running: Running, error: Exception) -> None:
        """Leave an instance alone, without what was not committed; the others go on."""
        if not isinstance(error, MlkitError):
            error = Damaged(
                self.journal.folder if self.journal else "", running.id, f"internal error: {error}"
            )
        self.problems.append(error)
        running.is_dropped = True
        self.attempts.stop_all(running)
        self.forget(running)
        if self.journal is not None and running.row is not None and self.journal.holds():
            self.journal.release([running.row])

    # -- the loop --------------------------------------------------------------------------

    def run(self) -> None:
        """Work until every instance has ended or waits for somebody.

        Raises:
            ServiceUnavailable: The journal cannot be written; nothing is lost by it.
        """
        self.read_inboxes()  # Who suspends or cancels an instance wants nothing of it to begin.
        while True:
            self.require_lease()
            self.commit()
            self.hear()
            if self.dirty or self.read_inboxes():
                continue
            if not self._moves_alone():
                # What came since the last look is for this run, not for the next one.
                self.look_again = 0.0
                if not self.read_inboxes():
                    return
                continue
            self.proceed()

    def _moves_alone(self) -> bool:
        due = self._next_due()
        if not self.attempts.idle or due is None:
            return not self.attempts.idle
        if self.until is not None and due > self.until:
            return False
        return self.waits or due <= self.clock.now() or self._pauses()

    def _pauses(self) -> bool:
        """Return whether a task is between two attempts."""
        states = (running.state for running in self.instances.values())
        return any(a.status == "pausing" for state in states for a in state.activations.values())

    def require_lease(self) -> bool:
        """Drop all instances where this process may have lost them: it must not act any more."""
        journal = self.journal
        if journal is None or journal.holds():
            return True
        journal.disown()  # Also where nothing is lost by it: what comes next needs a new lease.
        lost = list(self.instances.values())
        for running in lost:
            assert running.row is not None
            self.drop(running, TakenOver(running.row))
        return not lost

    def proceed(self) -> None:
        """Wait for what comes first, and apply it: results, a timer, the next look for events."""
        due = self._next_due()
        wait = self.clock.wait(due, self.attempts.idle)
        if self.journal is not None:
            wait = INBOX_INTERVAL if wait is None else min(wait, INBOX_INTERVAL)
        if self.transfers is not None and self.transfers.pending:
            wait = _TRANSFER_INTERVAL if wait is None else min(wait, _TRANSFER_INTERVAL)
        bell = None if self.journal is None else self.journal.bell()
        for result in self.pool.wait(wait, bell):
            self.attempts.finish(result)
        if self.transfers is not None:
            self.transfers.finish()
        now = self.clock.now()
        self.attempts.look(now)
        while self.timers and self.timers[0][0] <= now:
            due, number, activation = heapq.heappop(self.timers)
            if self._is_due(due, number, activation):
                self.apply(self.instances[number], Fire(activation))

    def _next_due(self) -> float | None:
        while self.timers and not self._is_due(*self.timers[0]):
            heapq.heappop(self.timers)
        return self.timers[0][0] if self.timers else None

    def _is_due(self, due: float, number: int, activation: int) -> bool:
        running = self.instances.get(number)
        if running is None or running.state.suspended:
            return False
        found = running.state.activations.get(activation)
        return found is not None and found.due == due

    # -- commit, then act ------------------------------------------------------------------

    def commit(self, releases: bool = True) -> None:
        """Make everything that was applied durable, then do what follows from it.

        Args:
            releases: Whether instances that rest may be left to anybody; see `rests`.
        """
        if not self.dirty and not self.effects:
            return
        appends: list[Append] = []
        if self.journal is not None:
            try:
                appends = self.journal.atomically(lambda: self.write(releases))
            except TakenOver as error:
                self.drop(self.instances[error.number], error)
                self.commit(releases)
                return
        self.proceed_from(appends)

    def proceed_from(self, appends: list[Append]) -> None:
        """Do what follows from a commit: from what `write` has written, and all that led to it."""
        dirty, effects = dict(self.dirty), self.effects
        for each in appends:
            dirty[each.number].sequence = each.after
            dirty[each.number].is_released = each.releases
        if not self.require_lease():
            for running in dirty.values():  # They are durable nevertheless.
                self._report_verdicts(running, running.changes)
            return
        self.dirty, self.effects = {}, []
        for running in dirty.values():
            changes, running.changes = running.changes, Changes()
            if self.transfers is not None:
                self.transfers.note_folder(running, changes)
            self._report(running, changes)
        for running, effect in effects:
            self._act(running, effect)
        if self.on_offer is not None and (offered := set(topics(effects))):
            self.on_offer(offered)
        self.pool.send()

    def _report(self, running: Running, changes: Changes) -> None:
        """Show what is durable now to who watches, and to who has asked for it."""
        if self.observer is not None:
            for entry in changes.entries:
                self.observer(running, entry.at, entry.trace)
        if self.on_entry is not None:
            for entry in changes.entries:
                self.on_entry(running, entry)
        self._report_verdicts(running, changes)

    def _report_verdicts(self, running: Running, changes: Changes) -> None:
        if self.on_verdict is not None:
            for row, refusal in changes.verdicts.items():
                self.on_verdict(running, row, refusal)

    def write(self, releases: bool = True) -> list[Append]:
        """Write what was applied, inside a transaction; when durable, `proceed_from` follows."""
        journal = self.journal
        assert journal is not None
        # One that has taken nothing has nobody who watches it, and would leave it.
        appends = [
            Append(
                running.row,
                running.sequence,
                running.state,
                running.changes,
                releases and bool(running.changes.entries) and self.rests(running),
            )
            for _, running in sorted(self.dirty.items())
            if running.row is not None
        ]
        journal.append_all(appends)
        rows = select_rows(self.effects)
        if rows:
            now = self.clock.now()
            lock_messages(journal, rows)
            for running, effect in rows:
                write(journal, running, effect, now)
        # What was sent may be for an instance here, and what is waited for may be there already.
        if any(isinstance(effect, Send | Subscribe) for _, effect in rows):
            self.look_again = 0.0
        return appends

    def hand(self, running: Running, number: int, event: AnyEvent) -> None:
        """Apply an event from outside, inside the transaction that `write` then completes.

        A defect is raised: who calls forgets the instance, which takes the event from its inbox.
        """
        self._raises = True
        try:
            running.changes.verdicts[number] = self._take(running, event)
        finally:
            self._raises = False
        self.dirty[running.number] = running

    def forget(self, running: Running) -> None:
        """Forget an instance that a transaction has brought and that was undone."""
        self.instances.pop(running.number, None)
        self.dirty.pop(running.number, None)
        self.effects = [each for each in self.effects if each[0] is not running]

    def _act(self, running: Running, effect: AnyEffect) -> None:
        # Not by `match`, which takes several times as long: every step has an effect.
        if isinstance(effect, Run) and not self.attempts.draining:
            self._start(running, effect.id)
        elif isinstance(effect, Fetch) and not running.state.suspended:
            self._supply(running, effect.id)
        elif isinstance(effect, Store) and self.journal is None:
            self.stores.set(effect.name, effect.value, running.number, self.clock.now())
        elif isinstance(effect, Wake):
            heapq.heappush(self.timers, (effect.due, running.number, effect.id))
        elif isinstance(effect, Stop):
            self.attempts.stop(running, effect.id)

    def _start(self, running: Running, identifier: int) -> None:
        self.attempts.start(running, identifier)

    def _supply(self, running: Running, identifier: int) -> None:
        activation = running.state.activations.get(identifier)
        if activation is not None and activation.status == "fetching":
            reads = running.engine.graph.behaviors[activation.node].node.reads
            self.apply(running, StoreRead(identifier, self.stores.get(reads)))

    def hear(self) -> bool:
        """Return whether another process has delivered something; the inboxes are looked at then.

        From the first call on, what is delivered ends the wait of `proceed`.
        """
        heard = self.journal is not None and self.journal.wait(0)
        if heard:
            self.look_again = 0.0
        return heard

    def read_inboxes(self) -> bool:
        """Apply what other processes, or other instances, have for the instances here."""
        if self.journal is None or time.monotonic() < self.look_again:
            return False
        self.look_again = time.monotonic() + INBOX_INTERVAL
        has_read = False
        for row, number, event in self.journal.mailbox.inbox(self.instances):
            running = self.instances.get(number)
            if running is None or (running.state.suspended and not isinstance(event, DECIDED)):
                continue
            if isinstance(event, Migrate):
                # Nothing of the older version is left to be replayed on the new one; of what was
                # read here, there may be more for an instance that rests.
                self.commit(releases=False)
                if number not in self.instances:
                    continue
            running.changes.verdicts[row] = self._take(running, event)
            self.dirty[number] = running
            has_read = True
            if isinstance(event, Unsuspend):  # What came before it is taken now.
                self.look_again = 0.0
        return has_read

    def _take(self, running: Running, event: AnyEvent) -> str:
        """Apply an event from outside; return why it was refused, empty where it was not."""
        if running.state.suspended and isinstance(event, ASKED):
            return f"instance {running.id} is suspended"
        is_there = getattr(event, "id", 0) in (0, *running.state.activations)
        if not is_there and not isinstance(event, Retry):
            return f"{running.id}/{event.id} no longer waits"  # type: ignore[union-attr]
        try:
            if isinstance(event, Migrate):
                self._migrate(running, event)
            else:
                event, log = jobs.split_printed(event, running.state, self.clock.now())
                self.apply(running, self._settle_files(running, event), log)
        except BadData as error:
            return error.message
        return ""

    def _settle_files(self, running: Running, event: AnyEvent) -> AnyEvent:
        """Return an event with what a worker elsewhere changes in the files as they are now."""
        if not (isinstance(event, Complete) and event.files):
            return event
        files = concurrent_changes.receive(running, event.files, self.clock.now())
        return structs.replace(event, files=files)

    def _migrate(self, running: Running, event: Migrate) -> None:
        if self.migrator is None:
            raise BadData("this process cannot move instances to other versions")
        try:
            entry, effects = self.migrator(running, event, self.clock.now())
        except MlkitError as error:
            raise BadData(error.message) from error
        except Exception as error:  # A defect stops this move and nothing else.
            raise BadData(f"internal error: {type(error).__name__}: {error}") from error
        self._note_applied(running, entry, effects)

    def leave(self, rested: list[Running]) -> None:
        """Let any process have instances that rest; those that have ended need no owner."""
        for each in rested:
            self.instances.pop(each.number, None)
        if self.journal is not None:
            self.journal.release(
                each.row
                for each in rested
                if each.row and each.state.status == "running" and not each.is_released
            )

    def release(self) -> None:
        """Let other processes have the instances."""
        if self.journal is not None:
            self.journal.release(each.row for each in self.instances.values() if each.row)
        if self.transfers is not None:
            self.transfers.close()
