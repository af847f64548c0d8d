"""The engine of a server: it runs for ever, and moves whatever instance has work.

An instance at rest belongs to nobody. The host takes one when there is something to do in it (an
event in its inbox, a timer that is due, a script that a process which died has left), and leaves
it when it rests again.

All that this process writes is written by the host's thread, many writes in one transaction: what
clients ask for at the same time costs one `fsync`, and no two writers wait for one another.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlkit.bpmn.journal.protocol import Journal
from mlkit.bpmn.journal.records import Append, Arrivals, Damaged, Entry, Recorded, Row, TakenOver
from mlkit.bpmn.runtime.pools import Pools
from mlkit.bpmn.runtime.resting import RestingStates
from mlkit.bpmn.runtime.runner import INBOX_INTERVAL, Runner
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.session import Session, Settings, require_own
from mlkit.bpmn.runtime.writes import CannotMove, Verdict, Write, Written
from mlkit.errors import MlkitError, ServiceUnavailable
from mlkit.web.defaults import DRAIN_TIMEOUT
from mlkit.workers.pool import ScriptPool

_MOST = 1000
"""Instances that are taken at once."""
_BACKOFF = 10.0
"""Seconds after which an instance is tried again that could not be run."""
_RECOVERY = 1.0
_SOON = 1.0
"""Seconds until a timer for which it does not pay to leave an instance."""
logger = logging.getLogger("mlkit.bpmn")


class Host:
    """Moves the instances of a journal in a thread of its own.

    Args:
        folder: The state folder; it is made where it is missing.
        settings: How scripts run.
        drain_timeout: Seconds that running scripts have to end on `stop`.
        watch: Called, in the host's thread, after a commit with each event of an instance.

    Attributes:
        on_offer: Called, in the host's thread, with the topics of tasks that a commit has offered
            to external workers.
        on_lease: Called, in the host's thread, with a change of ownership and the number of
            instances: `taken`, or `lost` to another host.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        drain_timeout: float = DRAIN_TIMEOUT,
        watch: Callable[[Running, Entry], None] | None = None,
    ) -> None:
        self.folder = folder
        self.settings = replace(settings, external=True)
        self.on_offer: Callable[[set[str]], None] = lambda topics: None
        self.on_lease: Callable[[str, int], None] = lambda change, number: None
        self._drain_timeout = drain_timeout
        self._watch = watch
        self._writes: deque[Write] = deque()
        self._verdicts: dict[int, Future[Verdict]] = {}
        self._lock = threading.Lock()
        self._pools: Pools | None = None
        self._failure: BaseException | None = None
        self._deadline: float | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._may_end = False
        self._look = 0.0
        self._on_failure: Callable[[], None] = lambda: None

    # -- for other threads -----------------------------------------------------------------

    def start(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """Start the thread, and wait until the journal is open.

        Args:
            on_failure: Called in the host's thread when a defect has ended it.

        Raises:
            MlkitError: The journal cannot be used.
        """
        self._on_failure = on_failure
        self._thread.start()
        self._started.wait()
        self.require_alive()

    def require_alive(self) -> None:
        """Raise what ended the host, if something did.

        Raises:
            MlkitError: What was wrong.
        """
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Take no more work; running scripts have until the drain timeout is over.

        What is asked for is still written, until `join` is called.
        """
        if self._deadline is None:
            self._deadline = time.monotonic() + self._drain_timeout
        self.wake()

    def join(self) -> None:
        """Wait until the host has ended, and raise what ended it before its time."""
        self._may_end = True
        self.stop()
        self._thread.join()
        self.require_alive()

    def wake(self) -> None:
        """Let the host look for work at once."""
        self._look = 0.0
        self._wake_thread()

    def _wake_thread(self) -> None:
        with self._lock:
            if self._pools is not None:
                self._pools.wake()

    def write(
        self, function: Callable[[Journal], Any], is_settled_later: bool = False, task: str = ""
    ) -> Future[Any]:
        """Let a function write to the journal, in a transaction with others.

        Args:
            function: Called once, or again where another one of the same transaction failed, or an
                instance could not be moved in it.
                What it raises undoes what it has written, and goes to who waits for it.
            is_settled_later: Whether who waits takes nothing for done before the verdict about an
                event that is written: the commit of the verdict makes both durable.
            task: The external task on which the function reports, by its id: what reports need is
                read together.
        """
        write = Write(function, is_settled_later, task)
        with self._lock:
            if not self._thread.is_alive():
                write.future.set_exception(_stopped())
                return write.future
            is_first = not self._writes
            self._writes.append(write)
        if is_first:  # Whoever came before has woken the thread, which takes them all.
            self._wake_thread()
        return write.future

    def verdict(self, row: int) -> Future[Verdict]:
        """Return what will be decided about an event in an inbox, if this host decides it."""
        with self._lock:
            return self._verdicts.setdefault(row, Future())

    def forget(self, row: int) -> None:
        """Wait no longer for a verdict."""
        with self._lock:
            self._verdicts.pop(row, None)

    # -- the host's thread -----------------------------------------------------------------

    def _work(self) -> None:
        try:
            with Session(self.folder, self.settings, create=True) as session:
                require_own(self.folder)
                self._run(session)
        except BaseException as error:
            self._failure = error
            if self._started.is_set():  # Else who starts it is told.
                self._on_failure()
        finally:
            self._started.set()
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        with self._lock:
            waiting = [*(each.future for each in self._writes), *self._verdicts.values()]
            self._writes.clear()
            self._verdicts.clear()
        for each in waiting:
            if each.set_running_or_notify_cancel():
                each.set_exception(_stopped())

    def _run(self, session: Session) -> None:
        artifacts = self.folder / "artifacts"
        pools = Pools(self.settings.workers, artifacts, self._leave_pool)
        self._pools = self._scripts = pools
        self._session = session
        self._runner = Runner(pools, session.journal)
        self._runner.migrator = session.migrate
        self._runner.on_entry = self._observe
        self._runner.on_verdict = self._on_verdict
        self._runner.rests = lambda running: _rests(running, time.time() + _SOON)
        self._runner.attempts.queues_mail = self.settings.queues_mail
        self._runner.on_offer = lambda topics: self.on_offer(topics)
        self._touched: dict[int, Running] = {}
        self._resting = RestingStates()
        self._not_before: dict[int, float] = {}
        session.journal.register()
        try:
            self._started.set()
            while not self._is_over():
                self._try_pass()
        finally:
            with self._lock:
                self._pools = None
            self._runner.release()
            pools.close()

    def _is_over(self) -> bool:
        if self._deadline is None or self._writes or self._runner.dirty:
            return False
        if not self._runner.attempts.draining:
            self._runner.attempts.draining = True
            self._scripts.withdraw()
        ended = self._runner.attempts.idle or time.monotonic() > self._deadline
        return ended and self._may_end

    def _try_pass(self) -> None:
        try:
            self._pass()
        except MlkitError as error:  # The disk is full, a lock is not free: it may pass.
            logger.error("%s; trying again", error.message)
            time.sleep(_RECOVERY)

    def _pass(self) -> None:
        runner = self._runner
        runner.require_lease()
        self._session.journal.register()
        if runner.hear():
            self._look = 0.0
        runner.commit()
        self._report_problems()
        self._leave_rested()
        # What this does not apply itself is read from the inboxes before anything is left again.
        self._write_all()
        taken = self._deadline is None and self._take()
        # Whatever else there is to do: the next pass leaves what rests, and its inbox unread.
        read = runner.read_inboxes()
        if runner.dirty or runner.effects or read or taken or self._writes:
            return
        runner.proceed()

    def _write_all(self) -> None:
        """Write what was asked for, all in one transaction; where one fails, each in its own."""
        with self._lock:
            waiting, self._writes = self._writes, deque()
        # From here on nobody can withdraw what was asked for.
        writes = [each for each in waiting if each.future.set_running_or_notify_cancel()]
        if not writes:
            return
        if self._try_together(writes):
            return
        for each in writes:
            if not self._try_together([each]):
                self._try_together([each], applies=False)

    def _try_together(self, writes: list[Write], applies: bool = True) -> bool:
        """Write in one transaction; return whether who waits knows now what has come of it.

        Args:
            writes: What to write.
            applies: Whether instances that nobody has move in the same transaction; where that
                fails, they take what is for them from their inboxes.
        """
        try:
            written = self._write_together(writes, applies)
        except Exception as error:
            if len(writes) > 1 or isinstance(error, CannotMove):
                return False
            writes[0].future.set_exception(error)
            return True
        for each, result in zip(writes, written.results, strict=True):
            each.future.set_result(result)
        if written.moved:
            self._touched |= {each.number: each for each in written.moved}
            self.on_lease("taken", len(written.moved))
            self._runner.proceed_from(written.appends)
            self._leave_rested()
        self._take_in(written.arrivals, {each.number for each in written.moved})
        return True

    def _write_together(self, writes: list[Write], applies: bool) -> Written:
        journal = self._session.journal
        # While scripts end before a stop, nothing is taken any more.
        adopts = self._deadline is None and journal.holds()
        applies &= adopts
        here = self._runner.instances.keys() | self._not_before.keys()
        relaxes = not applies and all(each.is_settled_later for each in writes)
        relaxed = journal.relaxed() if relaxes else contextlib.nullcontext()
        moved: list[Running] = []
        is_moving = False

        def work() -> Written:
            nonlocal is_moving
            is_moving = False
            self._forget(moved)
            arrivals.clear()
            journal.foresee({each.task for each in writes if each.task})
            results = [each.function(journal) for each in writes]
            if adopts:
                new = {each.number for each in (*arrivals.created, *arrivals.taken)}
                arrivals.taken += journal.take_free(arrivals.delivered - here - new)
            is_moving = bool(arrivals.handed)
            appends = self._move(arrivals, moved) if is_moving else []
            is_moving = False
            return Written(results, arrivals, moved, appends)

        gathering = journal.gathering(adopts, here if applies else None, len(writes))
        with gathering as arrivals, relaxed:
            try:
                return journal.atomically(work)
            except BaseException as error:
                self._forget(moved)
                if is_moving and isinstance(error, Exception):
                    raise CannotMove from error
                raise

    def _forget(self, moved: list[Running]) -> None:
        for each in moved:
            self._runner.forget(each)
        moved.clear()

    def _move(self, arrivals: Arrivals, moved: list[Running]) -> list[Append]:
        """Apply, inside a transaction, what was handed over; note the instances that it moves."""
        numbers = {each.instance for each in arrivals.handed}
        rows = [each for each in (*arrivals.created, *arrivals.taken) if each.number in numbers]
        for row, recorded in self._read_begun(rows):
            running = self._session.restore(row, recorded)
            running.pool = self._scripts.of(self._session.configuration_of(row))
            moved.append(running)
            self._runner.add(running)
        for number, instance, event in arrivals.handed:
            self._runner.hand(self._runner.instances[instance], number, event)
        return self._runner.write()

    def _read_begun(self, rows: list[Row]) -> list[tuple[Row, Recorded | None]]:
        """Return instances with what the journal has recorded of those that have begun."""
        read = {each.number: self._resting.take(each) for each in rows}
        begun = [each for each in rows if each.sequence and read[each.number] is None]
        read |= {row.number: found for row, found in self._session.journal.load_recorded(begun)}
        return [(each, read[each.number]) for each in rows]

    def _take_in(self, arrivals: Arrivals, moved: set[int]) -> None:
        """Begin what is new; look for who runs what else may go on, if it is not here."""
        new = (*arrivals.created, *arrivals.taken)
        self._restore_all([each for each in new if each.number not in moved])
        self._runner.look_again = 0.0
        if not arrivals.delivered <= self._runner.instances.keys():
            self._look = 0.0

    def _take(self) -> bool:
        """Take instances that have work; return whether there were any."""
        now = time.monotonic()
        if now < self._look:
            return False
        self._look = now + INBOX_INTERVAL
        for number in [each for each, until in self._not_before.items() if until <= now]:
            del self._not_before[number]
        journal = self._session.journal
        rows = journal.work(time.time(), _MOST, {*self._not_before, *self._runner.instances})
        taken = journal.take(rows) if rows else []
        self._restore_all(taken)
        if taken:
            self._runner.look_again = 0.0
        return bool(taken)

    def _restore_all(self, taken: list[Row]) -> None:
        for row, recorded in self._read_begun(taken):
            self._restore(row, recorded)
        if taken:
            self.on_lease("taken", len(taken))

    def _restore(self, row: Row, recorded: Recorded | None) -> None:
        """Go on with an instance; one that is damaged or lacks its interpreter has to wait."""
        try:
            running = self._session.restore(row, recorded)
            running.pool = self._scripts.of(self._session.configuration_of(row))
            self._runner.add(running)
        except Exception as error:  # Damage, or a defect: it stops this instance and no other.
            if not isinstance(error, MlkitError):
                logger.exception("instance %s cannot be taken", row.id)
                error = Damaged(self.folder, row.id, f"internal error: {error}")
            self._postpone(row.number, error)
            self._runner.instances.pop(row.number, None)
            self._session.journal.release([row])
        else:
            self._touched[running.number] = running

    def _postpone(self, number: int, error: MlkitError) -> None:
        logger.error("%s", error.message)
        self._not_before[number] = time.monotonic() + _BACKOFF

    def _leave_rested(self) -> None:
        if not self._touched:
            return
        touched, self._touched = self._touched, {}
        runner, soon = self._runner, time.time() + _SOON
        rested = [
            each
            for each in touched.values()
            if each.number in runner.instances
            and each.number not in runner.dirty
            and (each.is_released or _rests(each, soon))
        ]
        if rested:
            runner.leave(rested)
        for each in rested:
            if each.state.status == "running":
                self._resting.keep(each)

    def _observe(self, running: Running, entry: Entry) -> None:
        self._touched[running.number] = running
        if self._watch is None:
            return
        try:
            self._watch(running, entry)
        except Exception:  # Who watches must not stop what is watched.
            logger.exception("a change of instance %s could not be shown", running.id)

    def _on_verdict(self, running: Running, row: int, refusal: str) -> None:
        with self._lock:
            future = self._verdicts.pop(row, None)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(Verdict(refusal, running.state.effective_status))

    def _report_problems(self) -> None:
        problems, self._runner.problems = self._runner.problems, []
        lost = sum(isinstance(each, TakenOver) for each in problems)
        if lost:
            self.on_lease("lost", lost)
        for each in problems:
            logger.error("%s", each.message)

    def _leave_pool(self, pool: ScriptPool, error: MlkitError) -> None:
        """Leave the instances of a pool that cannot run scripts, for a while."""
        for each in [e for e in self._runner.instances.values() if e.pool is pool]:
            self._runner.drop(each, error)
            self._postpone(each.number, error)


def _rests(running: Running, soon: float) -> bool:
    """Return whether nothing moves an instance but somebody else, or time that is not near."""
    state = running.state
    return not running.jobs and (
        state.status != "running"
        or state.suspended
        or all(
            each.status not in ("working", "fetching") and (each.due is None or each.due > soon)
            for each in state.activations.values()
        )
    )


def _stopped() -> ServiceUnavailable:
    return ServiceUnavailable("the server stops", hint="try again in a moment")
