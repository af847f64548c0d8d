"""Warm worker processes that run scripts and callables outside the engine, in parallel."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mlkit.errors import ServiceUnavailable
from mlkit.scratch import Scratch
from mlkit.workers.child.slots import BATCH, MAX_CANCELLED, MAX_RECORD, Slots

_PER_WORKER = 16
# Scripts that took less than this many seconds travel together: waking a worker costs more.
_SHORT = 0.001
_MOST_STILLBORN = 3
# A job's number is used once in a process, so that several pools can be waited for together.
_NUMBERS = itertools.count(1)
_PATIENCE = 10.0
_LINE_END = re.compile(rb"[\r\n]")
_KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "USER",
    "VIRTUAL_ENV",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a script may use.

    Attributes:
        timeout: Seconds of real time for one attempt, 0 for no limit.
        cpu: Seconds of processor time for one attempt, 0 for no limit.
        memory: Megabytes of data for a worker, 0 for no limit.
        variables: Names of environment variables that scripts get beyond the harmless ones.
    """

    timeout: float = 0
    cpu: int = 0
    memory: int = 0
    variables: tuple[str, ...] = ()


KeptFile = tuple[str, int, int, int]
"""A file that a task has changed: hash, size, permissions, and when it was changed (ctime, ns)."""


class Result(msgspec.Struct, frozen=True):
    """How an attempt ended.

    Attributes:
        job: The number that `submit` gave.
        outcome: `completed`, `error` (a BPMN error) or `failed`.
        files: What the task has changed in its working folder, if the job carries it, by path;
            None for what is gone.
    """

    job: int = msgspec.field(name="id")
    outcome: str
    variables: dict[str, Any] = {}
    code: str = ""
    message: str = ""
    duration: float = 0.0
    peak: int = 0
    stdout: str = ""
    stderr: str = ""
    files: dict[str, KeptFile | None] = {}


class Printing(NamedTuple):
    """A job that runs: for how many seconds, and the end of what it has printed so far."""

    job: int
    seconds: float
    stdout: str
    stderr: str


_encode = msgspec.json.Encoder().encode
_RESULT = msgspec.json.Decoder(Result)
_RESULTS = msgspec.json.Decoder(list[Result])


class _Job(msgspec.Struct):
    """A job on its way: its number, its record, and the batch that it travels in."""

    number: int
    record: bytes
    source: str
    batch: int = 0
    reason: str = ""


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    slot: int
    pidfd: int
    outputs: tuple[int, int]


class ScriptPool:
    """Workers that share one socket of jobs.

    Args:
        size: How many workers; they start when the first job comes.
        python: The interpreter, the running one by default.
        limits: What scripts may use.
        artifacts: The folder of stored values.
        rscript: The interpreter of scripts in R.
    """

    def __init__(
        self,
        size: int | None = None,
        python: str | None = None,
        limits: Limits = Limits(),
        artifacts: Path | None = None,
        rscript: str | None = None,
    ) -> None:
        self.size = size or os.cpu_count() or 1
        self.python = _interpreter(python)
        self.rscript = rscript or "Rscript"
        self.limits = limits
        self.folder = Scratch("mlkit-scripts-")
        self.scratch = str(self.folder.path)
        self.artifacts = str((artifacts or Path(self.scratch) / "artifacts").resolve())
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (self.near, self.far):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.near.setblocking(False)
        self.shared = os.memfd_create("mlkit-slots")
        os.ftruncate(self.shared, Slots.size(self.size))
        self.slots = Slots(self.shared)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.near, selectors.EVENT_READ)
        self.workers: dict[int, _Worker] = {}
        self.waiting: deque[_Job] = deque()
        self.sent: dict[int, _Job] = {}
        self.durations: dict[str, float] = {}
        self.cancelled: deque[int] = deque(maxlen=MAX_CANCELLED)
        self.stillborn = 0

    @property
    def idle(self) -> bool:
        """Whether no job is open."""
        return not self.sent and not self.waiting

    def submit(self, job: dict[str, Any]) -> int:
        """Queue a job; return the number that its result will carry."""
        number = job["id"] = next(_NUMBERS)
        record = _encode(job)
        if len(record) > MAX_RECORD:
            record = self._spill(record)
        self.waiting.append(_Job(number, record, job["source"]))
        return number

    def _spill(self, record: bytes) -> bytes:
        handle, path = tempfile.mkstemp(dir=self.scratch)
        with os.fdopen(handle, "wb") as file:
            file.write(b"[" + record + b"]")
        return b"@" + path.encode()

    def send(self) -> None:
        """Hand queued jobs to the workers, as many as they can soon begin."""
        if not self.idle and len(self.workers) < self.size:
            self._grow()
        share = min(_PER_WORKER, -(-len(self.waiting) // self.size))
        while self.waiting and len(self.sent) < self.size * _PER_WORKER:
            batch = self._batch(share)
            try:
                self.near.send(_together(batch))
            except BlockingIOError:
                self.waiting.extendleft(reversed(batch))
                return
            for job in batch:
                job.batch = batch[0].number
                self.sent[job.number] = job

    def _batch(self, share: int) -> list[_Job]:
        """Take the jobs that one worker gets at once: several only if they are short."""
        first = self.waiting.popleft()
        batch, size = [first], len(first.record)
        if not self._is_short(first):
            return batch
        while self.waiting and len(batch) < share:
            size += len(self.waiting[0].record)
            if size > MAX_RECORD or not self._is_short(self.waiting[0]):
                break
            batch.append(self.waiting.popleft())
        return batch

    def _is_short(self, job: _Job) -> bool:
        spilled = job.record[:1] == b"@"
        return not spilled and self.durations.get(job.source, 1.0) < _SHORT

    def wait(self, timeout: float | None, bell: int | None = None) -> list[Result]:
        """Wait for results, at most `timeout` seconds (None: until there is one).

        `bell` is a file descriptor that ends the wait, too, once it can be read.
        """
        self.send()
        if self.limits.timeout and self.sent:
            timeout = min(timeout if timeout is not None else 1.0, 0.05)
        results = []
        for key, _ in poll(self.selector, timeout, bell):
            if key.fileobj is not self.near:
                results += self._bury(key.data)
        results = self._receive() + results
        self._expire()
        return results

    def _receive(self) -> list[Result]:
        results: list[Result] = []
        while True:
            try:
                record = self.near.recv(1 << 20)
            except BlockingIOError:
                return results
            if record[:1] == b"@":
                path = Path(os.fsdecode(record[1:]))
                record = path.read_bytes()
                path.unlink()
            batch = record[:1] == b"["
            self._take(_RESULTS.decode(record) if batch else [_RESULT.decode(record)], results)

    def _take(self, replies: list[Result], results: list[Result]) -> None:
        """Add replies to the results: those to jobs that are still wanted, once each."""
        for each in replies:
            job = self.sent.pop(each.job, None)
            if job is not None:
                if job.reason and each.outcome == "failed":
                    each = _explain(each, job.reason)
                self.durations[job.source] = each.duration
                results.append(each)

    def stop(self, job: int) -> None:
        """End a job: drop it where it waits, kill its worker where it runs."""
        self.waiting = deque(each for each in self.waiting if each.number != job)
        if self.sent.pop(job, None) is not None:
            self.cancelled.append(job)
            self.slots.cancel(self.cancelled)
            self._kill(job)

    def _kill(self, job: int) -> None:
        """Kill the worker that runs a job, if one does."""
        for worker in self.workers.values():
            if self.slots.current(worker.slot)[0] == job:
                # Frozen first, so that it cannot begin another job before the kill. By its number:
                # `send_signal` would reap a worker that has ended, before it is buried.
                number = worker.process.pid
                os.kill(number, signal.SIGSTOP)
                os.waitid(os.P_PID, number, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                if self.slots.current(worker.slot)[0] == job:
                    os.kill(self.slots.apart(worker.slot) or number, signal.SIGKILL)
                os.kill(number, signal.SIGCONT)
                return

    def _expire(self) -> None:
        if not self.limits.timeout:
            return
        for worker in self.workers.values():
            number, started = self.slots.current(worker.slot)
            job = self.sent.get(number)
            late = time.monotonic() - started > self.limits.timeout
            if job is not None and late and not job.reason:
                job.reason = f"stopped after {self.limits.timeout:g} s (--timeout)"
                self._kill(number)

    def _bury(self, worker: _Worker) -> list[Result]:
        """Bury a worker that died; the job that it had has failed."""
        code, peak = _wait(worker.process)
        results = self._receive()
        self._take(_RESULTS.decode(self.slots.read_held(worker.slot)), results)
        number, started = self.slots.current(worker.slot)
        job = self.sent.pop(number, None)
        if apart := self.slots.apart(worker.slot):
            with contextlib.suppress(OSError):
                os.killpg(apart, signal.SIGKILL)
        outputs = [_tail(each) for each in worker.outputs]
        self._requeue(self.slots.batch(worker.slot))
        self._release(worker)
        if job is not None:
            message = job.reason or self._cause(code)
            lost = Result(
                number, "failed", message=message, duration=time.monotonic() - started, peak=peak,
                stdout=outputs[0], stderr=f"{outputs[1]}{message}\n",
            )  # fmt: skip
            results.append(lost)
        self._count_stillborn(number == 0, code, outputs[1])
        return results

    def _count_stillborn(self, stillborn: bool, code: int, stderr: str) -> None:
        """Give up on an interpreter whose processes end before they begin a script."""
        self.stillborn = self.stillborn + 1 if stillborn else 0
        if self.stillborn == _MOST_STILLBORN:
            said = stderr.strip().rpartition("\n")[2]
            message = f"{self.python}: {self._cause(code)}, before any script began"
            raise ServiceUnavailable(f"{message}: {said}" if said else message, hint="see --python")

    def _cause(self, code: int) -> str:
        """Return by what a worker died."""
        if code == -signal.SIGXCPU:
            return f"stopped after {self.limits.cpu} s of processor time (--cpu)"
        died = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"the script's process ended by {died}"

    def _requeue(self, batch: int) -> None:
        """Queue again what has not begun of the batch of a worker that died."""
        for each in reversed([each for each in self.sent.values() if each.batch == batch]):
            del self.sent[each.number]
            self.waiting.appendleft(each)

    def _release(self, worker: _Worker) -> None:
        self.selector.unregister(worker.pidfd)
        for each in (worker.pidfd, *worker.outputs):
            os.close(each)
        del self.workers[worker.slot]

    def _grow(self) -> None:
        wanted = min(self.size, len(self.waiting) + len(self.sent))
        for slot in range(self.size):
            if len(self.workers) >= wanted:
                return
            if slot not in self.workers:
                self._start(slot)

    def _start(self, slot: int) -> None:
        outputs = _output("stdout"), _output("stderr")
        self.slots.clear(slot)
        program = str(Path(__file__).parent / "child")
        numbers = (self.far.fileno(), self.shared, slot, os.getpid(), self.limits.cpu)
        arguments = [*map(str, numbers), self.artifacts, self.scratch, self.rscript]
        try:
            process = subprocess.Popen(
                [self.python, "-u", program, *arguments],
                stdin=subprocess.DEVNULL, stdout=outputs[0], stderr=outputs[1],
                pass_fds=(self.far.fileno(), self.shared),
                env=filter_environment(self.limits.variables),
            )  # fmt: skip
        except OSError as error:
            raise ServiceUnavailable(f"{self.python}: {error.strerror}") from error
        if self.limits.memory:
            import resource

            limit = self.limits.memory << 20
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit, limit))
        worker = _Worker(process, slot, os.pidfd_open(process.pid), outputs)
        self.workers[slot] = worker
        self.selector.register(worker.pidfd, selectors.EVENT_READ, worker)

    def running(self) -> Iterator[Printing]:
        """Yield the jobs that workers run, with the end of what each has printed so far."""
        for worker in self.workers.values():
            job, started = self.slots.current(worker.slot)
            if job in self.sent:
                seconds = time.monotonic() - started
                yield Printing(job, seconds, *(_tail(each) for each in worker.outputs))

    def output(self, job: int) -> str:
        """Return the end of what a running job has printed so far."""
        for worker in self.workers.values():
            if self.slots.current(worker.slot)[0] == job:
                return _tail(worker.outputs[0])
        return ""

    def close(self) -> None:
        """End the workers, and with them what their tasks have started."""
        self.near.close()  # a worker that waits for its task hears that, and ends it
        for worker in list(self.workers.values()):
            if not self.slots.apart(worker.slot):
                worker.process.kill()
            try:
                worker.process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._release(worker)
        self.selector.close()
        self.far.close()
        self.slots.close()
        os.close(self.shared)
        self.folder.close()


def filter_environment(variables: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment of a script: the harmless variables, and those that are named."""
    names = (*_KEPT_VARIABLES, *variables)
    return {name: os.environ[name] for name in names if name in os.environ}


def poll(
    selector: selectors.BaseSelector, timeout: float | None, bell: int | None
) -> list[tuple[selectors.SelectorKey, int]]:
    """Wait for what a selector has, or for one more file descriptor."""
    if bell is None:
        return selector.select(timeout)
    selector.register(bell, selectors.EVENT_READ)
    try:
        return [each for each in selector.select(timeout) if each[0].fd != bell]
    finally:
        selector.unregister(bell)


def _explain(result: Result, reason: str) -> Result:
    """Return the result of a job that we have stopped, with the reason in place of the signal."""
    stderr = result.stderr.removesuffix(f"{result.message}\n") + f"{reason}\n"
    return msgspec.structs.replace(result, message=reason, stderr=stderr)


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Wait for the end of a process; return its exit status, and its most memory in bytes."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def _together(batch: list[_Job]) -> bytes:
    """Make the record of a batch: its number, so that a worker can say at once what it took."""
    number, records = BATCH.pack(batch[0].number), [each.record for each in batch]
    if records[0][:1] == b"@":
        return number + records[0]
    return number + b"[" + b",".join(records) + b"]"


def _interpreter(python: str | None) -> str:
    if python is None:
        return sys.executable
    found = shutil.which(python)
    if found is None:
        raise ServiceUnavailable(f"{python}: no such interpreter", hint="see --python")
    return found


def _output(name: str) -> int:
    """Make the file that a worker prints into; appending, so that it can be emptied."""
    descriptor = os.memfd_create(name)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)
    return descriptor


def _tail(descriptor: int, size: int = 10_000) -> str:
    """Return the end of a file, in whole lines: of a secret that is cut, the rest is not masked."""
    start = max(0, os.fstat(descriptor).st_size - size)
    with contextlib.suppress(OSError):
        found = os.pread(descriptor, size, start)
        if start:
            cut = _LINE_END.search(found)
            found = found[cut.end() :] if cut else b""
        return found.decode("utf-8", "replace")
    return ""
