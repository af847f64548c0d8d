"""Run scripts and callables, one after the other, until the engine goes away.

A plain script (`source`) runs in this process, any other task in a fork of it (`apart`), so that
each starts from the same clean state: whatever it does to its process ends with it. Libraries that
scripts import are imported here first, so that a fork has them.

Started as `python DIRECTORY JOBS_FD SLOTS_FD SLOT PARENT CPU ARTIFACTS SPILL R`. Batches of jobs
and of replies are records of a socket that all workers share, so that whichever is free takes the
next one.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
import types
from typing import Any

import javascript  # type: ignore[import-not-found]
import kept_files  # type: ignore[import-not-found]
import process  # type: ignore[import-not-found]
import rscript  # type: ignore[import-not-found]
import source  # type: ignore[import-not-found]
import values  # type: ignore[import-not-found]
from apart import Apart, die_with_parent  # type: ignore[import-not-found]
from artifacts import Artifacts  # type: ignore[import-not-found]
from codec import decode, encode  # type: ignore[import-not-found]
from printed import Printed, Stream  # type: ignore[import-not-found]
from slots import BATCH, MAX_RECORD, Slots  # type: ignore[import-not-found]
from variables import (  # type: ignore[import-not-found]
    Execution,
    Recorder,
    Task,
    Thrown,
    find_changed,
    load,
    publish,
)

MAX_MESSAGE = 10_000
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
SHORT = 0.002
ARTIFACT = b'"$artifact"'


class Worker:
    """One worker process."""

    def __init__(
        self, jobs: socket.socket, slots: Slots, numbers: tuple[int, int], places: list[str]
    ) -> None:
        self.jobs = jobs
        self.slots = slots
        self.slot, self.cpu = numbers
        folder, self.spill, program = places
        self.r = rscript.Program(program, self.cpu, self.spill)
        self.artifacts = Artifacts(folder)
        self.sources: dict[str, source.Source] = {}
        self.imported: set[str] = set()
        self.held: list[bytes] = []
        self.peak = 0
        self.grown = True
        self.printed = Printed("stdout", 1), Printed("stderr", 2)
        self.apart = Apart(jobs.fileno(), self.printed, lambda pid: slots.set_apart(self.slot, pid))
        sys.stdout, sys.stderr = map(Stream, self.printed)

    def serve(self) -> None:
        """Take batches until the engine goes away."""
        while record := self.jobs.recv(1 << 20):
            self.slots.take(self.slot, *BATCH.unpack_from(record))
            record = record[BATCH.size :]
            if record[:1] == b"@":
                record = _read_spilled(record)
            plain = ARTIFACT not in record  # an artifact may be an object of any class
            for job in decode(record):
                if not self.slots.is_cancelled(job["id"]):
                    self.slots.begin(self.slot, job["id"])
                    self._reply(self._run(job, plain))
            self._send()

    def _reply(self, reply: dict[str, Any]) -> None:
        """Reply, together with the rest of the batch unless that takes long."""
        record = encode(reply)
        if self.slots.hold(self.slot, record):
            self.held.append(record)
            if reply["duration"] > SHORT:
                self._send()
        else:
            self._send()
            self.jobs.send(record if len(record) <= MAX_RECORD else self._spill(record))

    def _send(self) -> None:
        if self.held:
            self.jobs.send(b"[" + b",".join(self.held) + b"]")
            self.slots.release(self.slot)
            self.held = []

    def _spill(self, record: bytes) -> bytes:
        handle, path = tempfile.mkstemp(dir=self.spill)
        with os.fdopen(handle, "wb") as file:
            file.write(record)
        return b"@" + path.encode()

    def _run(self, job: dict[str, Any], plain: bool) -> dict[str, Any]:
        for each in self.printed:
            each.begin(job["work"], f"{job['element']}-{job['attempt']}")
        read = self._source(job)
        if plain and read is not None and read.is_plain:
            reply = self._run_here(job)
        else:
            self._import(job, read)
            reply = self._run_carrying(job) if job.get("carries") else self._run_apart(job)
        self._add_printed(reply)
        return reply

    def _add_printed(self, reply: dict[str, Any]) -> None:
        for each in self.printed:
            if text := each.text():
                reply[each.name] = text

    def _run_carrying(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run a task, and keep what a completed one has changed in its working folder."""
        before = kept_files.scan(job["work"])
        reply = self._run_apart(job)
        if reply["outcome"] != "completed":
            return reply
        for each in self.printed:
            each.flush()
        try:
            reply["files"], note = kept_files.keep(
                job["work"], before, job.get("since"), self.artifacts.folder
            )
        except (OSError, kept_files.TooMuch) as error:
            message = f"the working folder cannot be kept: {error}"
            reply = {**reply, "outcome": "failed", "message": message, "variables": {}}
            note = f"{message}\n"
        self.printed[1].write(note.encode())
        return reply

    def _source(self, job: dict[str, Any]) -> source.Source | None:
        """Compile a script in Python, once; None for other tasks and for what is not Python."""
        if job["kind"] != "script":
            return None
        text = job["source"]
        if text not in self.sources:
            try:
                self.sources[text] = source.read(text, job["element"])
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return None
        return self.sources[text]

    def _import(self, job: dict[str, Any], read: source.Source | None) -> None:
        """Import what a task will: libraries only, since what lies beside a diagram is its own.

        What fails here fails again in the task, which reports it.
        """
        named = read.modules if read is not None else ()
        if job["kind"] == "call":
            named = (job["source"].partition(":")[0],)
        for name in named:
            if name not in self.imported and name not in sys.modules:
                self.imported.add(name)
                with contextlib.suppress(BaseException):
                    _module(name) if job["kind"] == "call" else importlib.import_module(name)
                gc.freeze()  # a collection in a fork must not copy what it finds here
        for each in self.printed:
            each.begin(job["work"], f"{job['element']}-{job['attempt']}")

    def _run_here(self, job: dict[str, Any]) -> dict[str, Any]:
        if self.grown:
            process.reset_peak()
            self.peak, self.grown = process.read_peak(), False
        if self.cpu:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            self._limit(int(usage.ru_utime + usage.ru_stime) + 1)
        reply = self._perform(job)
        reply["peak"] = self._peak(reply["duration"])
        return reply

    def _limit(self, used: int) -> None:
        """Limit the processor time of a task, in a process that has used some seconds before."""
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (used + self.cpu, hard))

    def _run_apart(self, job: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        ended = self.apart.run(lambda: self._task(job))
        if ended.reply:
            reply: dict[str, Any] = decode(ended.reply)
            reply["peak"] = max(ended.peak, reply["peak"])
            return reply
        message = _cause(ended.status, self.cpu)
        self.printed[1].write(f"{message}\n".encode())
        duration = time.perf_counter() - start
        return {"id": job["id"], "outcome": "failed", "message": message,
                "duration": duration, "peak": ended.peak}  # fmt: skip

    def _task(self, job: dict[str, Any]) -> bytes:
        """Be the process of one task; return its reply."""
        self.jobs.close()
        gc.freeze()
        for name, number in (("stdout", 1), ("stderr", 2)):
            stream = open(  # noqa: SIM115 - as long as the process lives
                number, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False
            )
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        if job["work"]:
            os.makedirs(job["work"], exist_ok=True)
            os.chdir(job["work"])
        os.environ["MLKIT_KEY"] = job["key"]
        if "trace_parent" in job:
            os.environ["TRACEPARENT"] = job["trace_parent"]
        if self.cpu:
            self._limit(0)
        if "numpy.random" in sys.modules:  # or all tasks would draw what their worker would
            sys.modules["numpy.random"].seed()
        reply = self._perform(job)
        reply["peak"] = self.r.peak
        _finish()
        return encode(reply)  # type: ignore[no-any-return]

    def _perform(self, job: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        reply: dict[str, Any] = {"id": job["id"], "outcome": "completed"}
        try:
            published, skipped = self._execute(job)
            reply["variables"] = published
            if skipped:
                sys.stderr.write(skipped)
        except BaseException as error:  # a script may also call sys.exit()
            reply |= _failure(error, job["element"])
        reply["duration"] = time.perf_counter() - start
        return reply

    def _peak(self, duration: float) -> int:
        """Return the peak memory of a plain script; a short one has no time to need much."""
        if duration < SHORT:
            return self.peak
        peak = process.read_peak()
        self.grown = peak > self.peak
        return int(peak)

    def _execute(self, job: dict[str, Any]) -> tuple[dict[str, Any], str]:
        artifacts = self.artifacts
        artifacts.begin(job["element"], job["iteration"], job["attempt"])
        if job["kind"] == "r":
            return rscript.run(self.r, job, artifacts)  # type: ignore[no-any-return]
        if job["kind"] == "javascript":
            return _run_javascript(job)
        packed = job["variables"]
        text = job["source"] if job["kind"] == "script" else ""
        namespace = load(packed, artifacts, text)
        bound: dict[str, Any] = {}
        if job["kind"] == "call":
            _call(job, namespace, bound)
            called: tuple[dict[str, Any], str] = publish(bound, artifacts)
            return called
        try:
            return self._execute_script(job, namespace, bound)
        finally:
            # Without a cycle files are closed in order: a collection may close the innermost first.
            namespace.clear()
            bound.clear()

    def _execute_script(
        self, job: dict[str, Any], namespace: dict[str, Any], bound: dict[str, Any]
    ) -> tuple[dict[str, Any], str]:
        before = dict(namespace)
        namespace[Thrown.__name__] = Thrown
        namespace["execution"] = execution = Execution(job, namespace, bound)
        if "task" in job:
            namespace["task"] = Task(job["task"], namespace, bound)
        recorder = Recorder()
        recorder.namespace, recorder.bound = namespace, bound
        namespace["__name__"] = "__main__"
        exec(self._code(job), namespace, recorder)
        if job["result"]:
            bound.setdefault(job["result"], namespace.get("result"))
        found = find_changed(namespace, before, job["variables"], execution, self.artifacts)
        published: tuple[dict[str, Any], str] = publish({**found, **bound}, self.artifacts)
        return published

    def _code(self, job: dict[str, Any]) -> types.CodeType:
        read = self._source(job)
        read = read or source.read(job["source"], job["element"])  # raises what is wrong with it
        code: types.CodeType = read.code
        return code


def _finish() -> None:
    """Do what a process does at its end, so that what is buffered reaches its files."""
    gc.collect()
    try:
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(Exception):  # it may be what a script has put there, or closed
            stream.flush()  # type: ignore[union-attr]


def _cause(status: int, cpu: int) -> str:
    """Return by what the process of a task ended."""
    if status == -signal.SIGXCPU:
        return f"stopped after {cpu} s of processor time (--cpu)"
    died = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"the script's process ended by {died}"


def _module(name: str) -> types.ModuleType:
    """Import a module; mlkit's own tasks are there also where the interpreter has no mlkit."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "mlkit":
            raise
    sys.path.append(ROOT)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(ROOT)


def _call(job: dict[str, Any], namespace: dict[str, Any], bound: dict[str, Any]) -> None:
    """Call `module:function` with the variables that its parameters name."""
    module, _, name = job["source"].partition(":")
    if job["folder"] not in sys.path:
        sys.path.insert(0, job["folder"])
    function = getattr(_module(module), name)
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        result = function(**namespace)
    else:
        result = function(**{p.name: namespace[p.name] for p in parameters if p.name in namespace})
    if job["result"]:
        bound[job["result"]] = result
    elif isinstance(result, dict):
        bound.update(result)


def _run_javascript(job: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Run a script in JavaScript; it publishes what it sets, and its value under `result`."""
    problem = javascript.lacking()
    if problem is not None:
        raise RuntimeError(f"{problem}, in the interpreter of the scripts too")
    known = {"id": job["instance"], "processInstanceId": job["instance"], "key": job["key"],
             "attempt": job["attempt"], **job.get("execution", {})}  # fmt: skip
    facts = {"execution": known, "all": True}
    ran = javascript.run(job["source"], job["variables"], facts, javascript.MEMORY, 0)
    sys.stdout.write(ran.printed)
    published = {name: value for kind, name, value in ran.changes if kind != "removeVariable"}
    if job["result"]:
        published[job["result"]] = ran.value
    return {name: values.pack(values.unpack(each)) for name, each in published.items()}, ""


def _failure(error: BaseException, element: str) -> dict[str, str]:
    # By name: callables raise the class of an installed mlkit, scripts the one above.
    if type(error).__name__ == Thrown.__name__ and hasattr(error, "code"):
        return {"outcome": "error", "code": _text(error.code), "message": _text(error)}
    traceback.print_exception(error.__class__, error, _script_frames(error))
    return {"outcome": "failed", "message": _describe(error, element)}


def _text(value: object) -> str:
    """Return a value as text that can travel: a script's may be long, fail, or be no Unicode."""
    try:
        text = str(value)
    except Exception as error:
        text = f"its text cannot be had: {type(error).__name__}"
    return text[:MAX_MESSAGE].encode("utf-8", "backslashreplace").decode()


def _describe(error: BaseException, element: str) -> str:
    lines = [
        each.lineno
        for each in traceback.extract_tb(error.__traceback__)
        if each.filename == element
    ]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno]
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{type(error).__name__}: {_text(error)}"


def _script_frames(error: BaseException) -> types.TracebackType | None:
    """Leave the worker's own frames out of a traceback."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename in (__file__, rscript.__file__):
        frame = frame.tb_next
    return frame


def _read_spilled(record: bytes) -> bytes:
    path = record[1:].decode()
    with open(path, "rb") as file:
        content = file.read()
    os.unlink(path)
    return content


def main() -> None:
    jobs, slots, slot, parent, cpu = (int(each) for each in sys.argv[1:6])
    places = sys.argv[6:9]
    die_with_parent(True)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    del sys.path[0]
    for name in ("values", "javascript", "artifacts", "rscript", "slots", "codec", "process",
                 "source", "apart", "printed", "variables", "kept_files"):  # fmt: skip
        del sys.modules[name]  # A script may have modules of these names.
    sys.argv = [""]
    Worker(socket.socket(fileno=jobs), Slots(slots), (slot, cpu), places).serve()


main()
