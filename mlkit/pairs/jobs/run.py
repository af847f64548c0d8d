"""A job on a log: the loop that polls, processes and commits, and starts again after a failure.

Offsets, output and state of a batch are one transaction of the log. After any crash the job goes
on from the last commit: each record counts exactly once in its state and its output.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlkit import streams
from mlkit.errors import InputMissing, ServiceUnavailable, UsageError
from mlkit.interruption import whole
from mlkit.pairs.jobs import rows
from mlkit.pairs.jobs.file import JobRaised, Task, open_job
from mlkit.streams import Consumer, Fenced, Log, Output, Partition, Record

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
        batch: The most records of a transaction.
        restarts: How often in a row a batch may fail before the job stops.
        until_end: Stop when all records are read, instead of waiting for others.
        rscript: The interpreter of a job in R.
    """

    file: str
    inputs: tuple[str, ...]
    output: str
    log: str
    key: str = "ticker"
    group: str = "job"
    batch: int = 1000
    restarts: int = 3
    until_end: bool = False
    rscript: str = "Rscript"


@dataclass
class Counts:
    """What a job has done.

    Attributes:
        records: Records that it has processed, and committed.
        written: Records that it has written.
        unreadable: Records that were passed over: no JSON object, or without time or key.
        restarts: How often it was started again.
    """

    records: int = 0
    written: int = 0
    unreadable: int = 0
    restarts: int = 0


class Job:
    """Runs a plan, from wherever its group was left.

    Each partition of a topic has a copy of the file with its own state, so that partitions may
    move from one member of the group to another.

    Args:
        plan: What is read and written.
        note: Called when the job is started again.
        pause: Waits so many seconds before.

    Raises:
        UsageError: It is in neither Python nor R, or the output is an input.
        InputMissing: The file cannot be read.
        BadData: The file is no job.
    """

    def __init__(
        self, plan: Plan, note: Note = lambda _: None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        if plan.output in plan.inputs:
            raise UsageError(f"topic '{plan.output}' is read and written by the same job")
        self.counts = Counts()
        self._plan, self._note, self._pause = plan, note, pause
        self._file = open_job(plan.file, plan.key, plan.rscript)
        self._tasks: dict[Partition, Task] = {}
        self._shared: set[str] = set()
        self._failures = 0

    def run(self) -> Counts:
        """Process records until a signal, or until the end if the plan says so.

        Raises:
            JobRaised: The job raised more often than the plan allows; its records are kept.
            BadData: It returned what is no records, or the topic is not partitioned by the key.
            InputMissing: A topic or the log's folder is not there.
            ServiceUnavailable: The log is not there.
            Interrupted: A signal came; all that was processed is committed.
        """
        with contextlib.closing(self._file):
            return self._run()

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
        self._pause(seconds)

    def _final(self, error: JobRaised | ServiceUnavailable) -> JobRaised | ServiceUnavailable:
        if not isinstance(error, JobRaised):
            return error
        times = f"; stopped after {self._failures} restarts" if self._failures else ""
        hint = "the records are kept: correct the file, and run the same command again"
        return JobRaised(error.message + times, error.trace, hint=hint)

    def _session(self) -> None:
        """Take part in the group once; the copies of the file are made anew."""
        self._tasks.clear()
        log = open_log(self._plan.log)
        try:
            partitions = prepare(log, self._plan)
            self._shared = {each.topic for each in partitions if each.number > 0}
            with log.consume(self._plan.group, self._plan.inputs, lost=self._lost) as consumer:
                self._consume(log, consumer, partitions)
        finally:
            log.close()

    def _lost(self, partitions: Sequence[Partition]) -> None:
        for each in partitions:
            self._tasks.pop(each, None)

    def _consume(self, log: Log, consumer: Consumer, partitions: Sequence[Partition]) -> None:
        ends = {each: log.bounds(each) for each in partitions}
        idle = 0
        while True:
            wait = not (self._plan.until_end and self._is_read(log, ends))
            records = consumer.poll(self._plan.batch, POLL if wait else 0.0)
            if records:
                with whole():  # a signal waits until the batch is committed
                    self._take(consumer, records)
            idle = 0 if records or not consumer.assignment else idle + 1
            if self._plan.until_end and not records and (not wait or idle >= IDLE):
                return

    def _is_read(self, log: Log, ends: dict[Partition, tuple[int, int]]) -> bool:
        group = self._plan.group
        return all(
            (log.committed(group, place) or first) >= end for place, (first, end) in ends.items()
        )

    def _take(self, consumer: Consumer, records: Sequence[Record]) -> None:
        """Process a batch and commit it."""
        dealt: dict[Partition, list[Record]] = {}
        for record in records:
            dealt.setdefault(record.partition, []).append(record)
        made, read = [], 0
        for place, some in dealt.items():
            given = self._read(some)
            read += len(given)
            task = self._task(consumer, place)
            made += task.process(given) if given else []
        messages = [rows.message(each, self._plan.key) for each in made]
        kept = {place: self._tasks[place].state() for place in dealt}
        states = {place: each for place, each in kept.items() if each is not None}
        consumer.commit(Output({self._plan.output: messages} if messages else {}, states))
        self._failures = 0
        self.counts.records += read
        self.counts.written += len(messages)
        self.counts.unreadable += len(records) - read

    def _read(self, records: Sequence[Record]) -> list[rows.Row]:
        read = (
            rows.read(each, self._plan.key, shared=each.partition.topic in self._shared)
            for each in records
        )
        return [each for each in read if each is not None]

    def _task(self, consumer: Consumer, place: Partition) -> Task:
        if place not in self._tasks:
            self._tasks[place] = self._file.start(consumer.state(place))
        return self._tasks[place]


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
    """
    there = log.topics()
    for topic in plan.inputs:
        if topic not in there:
            known = ", ".join(sorted(there)) or "none"
            raise InputMissing(f"{plan.log}: no topic '{topic}'", hint=f"its topics: {known}")
    if plan.output not in there:
        log.create(plan.output, max(there[topic] for topic in plan.inputs))
    return [Partition(topic, n) for topic in plan.inputs for n in range(there[topic])]
