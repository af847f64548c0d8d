"""A job on a log: the loop that polls, processes and commits, and starts again after a failure.

Offsets, output and state of a batch are one transaction of the log. After any crash the job goes
on from the last commit: each record counts exactly once in its state and its output.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from mlkit import streams
from mlkit.errors import InputMissing, Interrupted, MlkitError, ServiceUnavailable, UsageError
from mlkit.interruption import whole
from mlkit.pairs.defaults import BATCH, KEY, RESTARTS, RSCRIPT
from mlkit.pairs.jobs import copies, rows
from mlkit.pairs.jobs.copies import Copy, Made
from mlkit.pairs.jobs.file import JobRaised, open_job
from mlkit.pairs.jobs.job_status import Board
from mlkit.pairs.jobs.join import JoinPlan, late_document
from mlkit.streams import Consumer, Fenced, Log, Output, Partition, Record

FIRST, SHORTEST, LONGEST = 1000, 0.25, 1.0
"""Records of the first batch, and the seconds of a batch within which the next is as large."""
POLL = 0.5
"""Seconds that a poll waits for records."""
IDLE = 10
"""Polls without records after which a topic counts as read, where its end cannot be known."""
LONGEST_PAUSE = 30.0

Note = Callable[[str], None]
"""Called with what a person should know."""


@dataclass(frozen=True)
class Plan:
    """What a job reads and writes.

    Attributes:
        file: Its file.
        inputs: The topics that it reads.
        output: The topic that it writes; created with as many partitions as the inputs have.
        log: A folder or `kafka://HOST:PORT`.
        key: The field by which the topics are partitioned.
        group: Its consumer group, which keeps offsets and state.
        batch: The most records of a transaction; fewer of a job that takes long for them.
        restarts: How often in a row a batch may fail before the job stops.
        until_end: Stop when all records are read, instead of waiting for others.
        rscript: The interpreter of a job in R.
        join: How the inputs become one topic; None for records as they come.
    """

    file: str
    inputs: tuple[str, ...]
    output: str
    log: str
    key: str = KEY
    group: str = "job"
    batch: int = BATCH
    restarts: int = RESTARTS
    until_end: bool = False
    rscript: str = RSCRIPT
    join: JoinPlan | None = None

    @property
    def late(self) -> str:
        """The topic of records that came too late to be joined."""
        return f"{self.output}.late"

    def unit(self, place: Partition) -> Partition:
        """Return the partition under which the state of what reads another one is kept."""
        return place if self.join is None else Partition(self.inputs[0], place.number)

    def parts(self, unit: Partition) -> tuple[Partition, ...]:
        """Return the partitions that are read together."""
        if self.join is None:
            return (unit,)
        return tuple(Partition(topic, unit.number) for topic in self.inputs)


@dataclass
class Counts:
    """What a job has done.

    Attributes:
        records: Records that it has processed, and committed.
        written: Records that it has written.
        unreadable: Records that were passed over: no JSON object, or without time or key.
        restarts: How often it was started again.
        late: Records that came too late to be joined, and went to the side topic.
    """

    records: int = 0
    written: int = 0
    unreadable: int = 0
    restarts: int = 0
    late: int = 0


class Job:
    """Runs a plan, from wherever its group was left.

    Each partition of a topic has a copy of the file with its own state, so that partitions may
    move from one member of the group to another.

    Args:
        plan: What is read and written.
        note: Called when the job is started again.
        pause: Seconds to wait first.

    Raises:
        UsageError: It is in neither Python nor R, or the output is an input.
        InputMissing: The file cannot be read.
        BadData: The file is not a job.
    """

    def __init__(
        self, plan: Plan, note: Note = lambda _: None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        if plan.output in plan.inputs:
            raise UsageError(f"topic '{plan.output}' is read and written by the same job")
        self.counts = Counts()
        self._plan, self._note, self._pause = plan, note, pause
        self._file = open_job(plan.file, plan.key, plan.rscript)
        self._copies: dict[Partition, Copy] = {}
        self._shared: set[str] = set()
        self._failures = 0
        self._most = min(plan.batch, FIRST)
        cells = {"file": plan.file, "inputs": plan.inputs, "output": plan.output}
        self._board = Board(plan.log, plan.group, cells)

    def run(self) -> Counts:
        """Process records until a signal, or until the end if the plan asks for it.

        Raises:
            JobRaised: The job raised more often than the plan allows; its records are kept.
            BadData: It returned what is not records, or the topic is not partitioned by the key.
            InputMissing: A topic or the log's folder is not there.
            ServiceUnavailable: The log is not there.
            Interrupted: A signal came; all that was processed is committed.
        """
        self._board.open()
        with contextlib.closing(self._file), contextlib.closing(self._board):
            try:
                self._show("running", force=True)
                counts = self._run()
            except BaseException as error:
                self._board.note(_last_words(error))
                self._show("ended" if isinstance(error, Interrupted) else "stopped", force=True)
                raise
            self._show("ended", force=True)
            return counts

    def _show(self, state: str, *, force: bool = False) -> None:
        self._board.show(state, asdict(self.counts), force=force)

    def _run(self) -> Counts:
        while True:
            try:
                self._session()
                return self.counts
            except Fenced:
                self._note("partitions have gone to another member: joining the group again")
            except (JobRaised, ServiceUnavailable) as error:
                if self._failures >= self._plan.restarts:
                    raise self._final(error) from error
                self._restart(error)

    def _restart(self, error: JobRaised | ServiceUnavailable) -> None:
        seconds = min(LONGEST_PAUSE, 0.5 * 2**self._failures)
        self._failures += 1
        self.counts.restarts += 1
        number = f"{self._failures} of {self._plan.restarts}"
        self._note(f"{error.message}; restart {number} in {seconds:g} s")
        self._board.note(f"{_last_words(error)}\nrestart {number} in {seconds:g} s")
        self._show("restarting", force=True)
        self._pause(seconds)

    def _final(self, error: JobRaised | ServiceUnavailable) -> JobRaised | ServiceUnavailable:
        if not isinstance(error, JobRaised):
            return error
        times = f"; stopped after {self._failures} restarts" if self._failures else ""
        hint = "the records are kept: correct the file, and run the same command again"
        return JobRaised(error.message + times, error.trace, hint=hint)

    def _session(self) -> None:
        """Take part in the group once; the copies of the file are made again."""
        self._copies.clear()
        log = open_log(self._plan.log)
        try:
            partitions = prepare(log, self._plan)
            self._shared = {each.topic for each in partitions if each.number > 0}
            with log.consume(self._plan.group, self._plan.inputs, lost=self._drop_lost) as consumer:
                self._consume(log, consumer, partitions)
        finally:
            log.close()

    def _drop_lost(self, partitions: Sequence[Partition]) -> None:
        for each in partitions:
            self._copies.pop(self._plan.unit(each), None)

    def _consume(self, log: Log, consumer: Consumer, partitions: Sequence[Partition]) -> None:
        ends = {each: log.bounds(each) for each in partitions}
        idle = 0
        while True:
            read = self._plan.until_end and self._is_read(log, consumer, ends)
            # What waits in a join is known only of partitions that are assigned.
            done = read and (self._plan.join is None or bool(consumer.assignment))
            records = consumer.poll(self._most, 0.0 if done else POLL)
            if records or self._plan.join is not None:
                begun = time.monotonic()
                with whole():  # a signal waits until the batch is committed
                    self._take(consumer, records)
                self._adapt(len(records), time.monotonic() - begun)
            idle = 0 if records or not (read or consumer.assignment) else idle + 1
            if self._plan.until_end and not records and (done or idle >= IDLE):
                with whole():
                    self._take(consumer, [], last=True)
                return

    def _adapt(self, count: int, seconds: float) -> None:
        """Choose the size of the next batch, so that slow jobs commit every now and then."""
        if seconds > LONGEST:
            self._most = max(1, self._most // 2)
        elif seconds < SHORTEST and count == self._most:
            self._most = min(self._plan.batch, 2 * self._most)

    def _is_read(
        self, log: Log, consumer: Consumer, ends: dict[Partition, tuple[int, int]]
    ) -> bool:
        # First what this member knows: to ask brokers what a group has committed is expensive.
        group = self._plan.group
        return all(map(consumer.is_at_end, consumer.assignment)) and all(
            (log.committed(group, place) or first) >= end for place, (first, end) in ends.items()
        )

    def _take(self, consumer: Consumer, records: Sequence[Record], *, last: bool = False) -> None:
        """Process a batch and commit it."""
        made, read = Made(), 0
        dealt = self._deal(consumer, records)
        for unit, some in dealt.items():
            taken, count = self._process(consumer, unit, some)
            read += count
            for each in (taken, self._copies[unit].finish() if last else Made()):
                made.add(each)
        if records or made.rows:
            self._commit(consumer, made, dealt)
            self.counts.records += read
            self.counts.unreadable += len(records) - read

    def _process(
        self, consumer: Consumer, unit: Partition, records: Sequence[Record]
    ) -> tuple[Made, int]:
        """Return what a copy makes of records, and how many of them could be read."""
        copy = self._copy(consumer, unit)
        if records:
            made = copy.take_plain(records, shared=self._is_shared(records[0]))
            if made is not None:
                return made, len(records)
        given = self._read(records)
        return copy.take(given, self._unread(consumer, unit)), len(given)

    def _deal(self, consumer: Consumer, records: Sequence[Record]) -> dict[Partition, list[Record]]:
        """Return the records by what they are processed with; joined time moves on without, too."""
        dealt: dict[Partition, list[Record]] = {}
        if self._plan.join is not None:
            held = consumer.assignment
            units = {self._plan.unit(each) for each in held}
            dealt = {each: [] for each in sorted(units & held)}
        for place, some in groupby(records, attrgetter("partition")):
            dealt.setdefault(self._plan.unit(place), []).extend(some)
        return dealt

    def _unread(self, consumer: Consumer, unit: Partition) -> set[str]:
        parts = self._plan.parts(unit) if self._plan.join is not None else ()
        return {each.topic for each in parts if not consumer.is_at_end(each)}

    def _commit(self, consumer: Consumer, made: Made, units: Iterable[Partition]) -> None:
        key = self._plan.key
        late = [late_document(each, key) for each in made.late]
        topics = {self._plan.output: made.rows, self._plan.late: late}
        messages = {
            topic: [rows.message(row, key) for row in some] for topic, some in topics.items()
        }
        messages[self._plan.output] += made.messages
        kept = {unit: self._copies[unit].state() for unit in units}
        states = {unit: each for unit, each in kept.items() if each is not None}
        consumer.commit(Output({topic: some for topic, some in messages.items() if some}, states))
        self._failures = 0
        self.counts.written += len(messages[self._plan.output])
        self.counts.late += len(made.late)
        self._show("running")

    def _read(self, records: Sequence[Record]) -> list[tuple[str, rows.Row]]:
        read = (
            (each.partition.topic, rows.read(each, self._plan.key, shared=self._is_shared(each)))
            for each in records
        )
        return [(topic, row) for topic, row in read if row is not None]

    def _is_shared(self, record: Record) -> bool:
        return record.partition.topic in self._shared

    def _copy(self, consumer: Consumer, unit: Partition) -> Copy:
        if unit not in self._copies:
            state = consumer.state(unit)
            self._copies[unit] = copies.start(self._file, self._plan.join, state)
        return self._copies[unit]


def _last_words(error: BaseException) -> str:
    """Return why a job ends, with the traceback of its own code if it has one."""
    said = error.message if isinstance(error, MlkitError) else f"{type(error).__name__}: {error}"
    return f"{said}\n{error.trace}" if isinstance(error, JobRaised) and error.trace else said


def open_log(url: str) -> Log:
    """Open a log that is there.

    Raises:
        InputMissing: There is no such folder.
        ServiceUnavailable: The broker does not answer.
    """
    if not url.startswith("kafka://") and not Path(url).is_dir():
        raise InputMissing(f"{url}: no log there", hint="--log FOLDER or --log kafka://HOST:PORT")
    return streams.open(url)


def prepare(log: Log, plan: Plan) -> list[Partition]:
    """Create the output topic where it is missing, and return the partitions of the inputs.

    Raises:
        InputMissing: An input topic is not there.
        UsageError: Topics that are joined have different numbers of partitions.
    """
    there = log.topics()
    for topic in plan.inputs:
        if topic not in there:
            known = ", ".join(sorted(there)) or "none"
            raise InputMissing(f"{plan.log}: no topic '{topic}'", hint=f"its topics: {known}")
    if plan.output not in there:
        log.create(plan.output, max(there[topic] for topic in plan.inputs))
    if plan.join is not None:
        _require_alike(there, plan)
        if plan.late not in there:
            log.create(plan.late, there[plan.inputs[0]])
    return [Partition(topic, n) for topic in plan.inputs for n in range(there[topic])]


def _require_alike(there: Mapping[str, int], plan: Plan) -> None:
    """Refuse a join of topics whose records of a key are in partitions of different numbers."""
    counts = {topic: there[topic] for topic in plan.inputs}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{topic} {count}" for topic, count in counts.items())
        raise UsageError(
            f"topics of a join have different numbers of partitions: {listed}",
            hint=f"as many for each, with the {plan.key} as the key of messages",
        )
