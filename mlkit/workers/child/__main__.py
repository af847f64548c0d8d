"""Run scripts and callables, one after the other, until the engine goes away.

Started as `python DIRECTORY JOBS_FD SLOTS_FD SLOT PARENT CPU ARTIFACTS SPILL R`. Batches of jobs
and of replies are records of a socket that all workers share, so that whichever is free takes the
next one.
"""

from __future__ import annotations

import ctypes
import importlib
import inspect
import os
import resource
import signal
import socket
import struct
import sys
import tempfile
import time
import traceback
import types
from typing import Any

import process  # type: ignore[import-not-found]
import rscript  # type: ignore[import-not-found]
import values  # type: ignore[import-not-found]
from artifacts import Artifacts, same  # type: ignore[import-not-found]
from codec import decode, encode  # type: ignore[import-not-found]
from slots import Slots  # type: ignore[import-not-found]

BATCH = struct.Struct("=q")
MAX_RECORD = 100_000
MAX_MESSAGE = 10_000
ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
SHORT = 0.002
PR_SET_PDEATHSIG = 1
_HIDDEN = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)
_PLAIN = (str, int, float, bool, type(None))


class BpmnError(Exception):
    """A BPMN error: a modelled outcome that a boundary event catches; never retried."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = str(code)


class Execution:
    """What Camunda scripts know as `execution`."""

    def __init__(self, job: dict[str, Any], namespace: dict[str, Any], bound: dict[str, Any]):
        self._namespace = namespace
        self._bound = bound
        self.id = job["instance"]
        self.element = job["element"]
        self.attempt = job["attempt"]
        self.key = job["key"]
        self.folder = job["folder"]

    def getVariable(self, name: str) -> Any:  # noqa: N802 - Camunda's name
        return self._namespace.get(name)

    def setVariable(self, name: str, value: Any) -> None:  # noqa: N802
        self._bound[name] = self._namespace[name] = value

    def hasVariable(self, name: str) -> bool:  # noqa: N802
        return name in self._namespace

    def getProcessInstanceId(self) -> str:  # noqa: N802
        return str(self.id)

    def getCurrentActivityId(self) -> str:  # noqa: N802
        return str(self.element)


class Recorder(dict):  # type: ignore[type-arg]
    """The local names of a script: notes what is bound, and keeps it in the globals."""

    __slots__ = ("bound", "namespace")
    namespace: dict[str, Any]
    bound: dict[str, Any]

    def __setitem__(self, name: str, value: Any) -> None:
        self.namespace[name] = self.bound[name] = value

    def __delitem__(self, name: str) -> None:
        del self.namespace[name]
        self.bound.pop(name, None)


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
        self.compiled: dict[str, types.CodeType] = {}
        self.held: list[bytes] = []
        self.peak = 0
        self.children = 0
        self.grown = True

    def serve(self) -> None:
        """Take batches until the engine goes away."""
        while record := self.jobs.recv(1 << 20):
            self.slots.take(self.slot, *BATCH.unpack_from(record))
            record = record[BATCH.size :]
            if record[:1] == b"@":
                record = _read_spilled(record)
            for job in decode(record):
                if not self.slots.is_cancelled(job["id"]):
                    self.slots.begin(self.slot, job["id"])
                    self._reply(self._run(job))
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
            self.jobs.send(record if len(record) <= MAX_RECORD else self._spilled(record))

    def _send(self) -> None:
        if self.held:
            self.jobs.send(b"[" + b",".join(self.held) + b"]")
            self.slots.release(self.slot)
            self.held = []

    def _spilled(self, record: bytes) -> bytes:
        handle, path = tempfile.mkstemp(dir=self.spill)
        with os.fdopen(handle, "wb") as file:
            file.write(record)
        return b"@" + path.encode()

    def _run(self, job: dict[str, Any]) -> dict[str, Any]:
        self._prepare(job)
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
        reply["peak"] = self._peak(reply["duration"])
        for name, stream, descriptor in (("stdout", sys.stdout, 1), ("stderr", sys.stderr, 2)):
            printed = process.collect(stream, descriptor)
            if printed:
                reply[name] = printed
        return reply

    def _prepare(self, job: dict[str, Any]) -> None:
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            process.renew(name, descriptor)
        if job["work"] and _here() != job["work"]:
            os.makedirs(job["work"], exist_ok=True)
            os.chdir(job["work"])
        os.environ["MLKIT_KEY"] = job["key"]
        if self.grown:
            process.reset_peak()
            self.peak, self.grown = process.read_peak(), False
        self.r.peak = 0
        if self.cpu:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            used = int(usage.ru_utime + usage.ru_stime) + 1
            hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (used + self.cpu, hard))

    def _peak(self, duration: float) -> int:
        """Give the peak memory of the task; a short one has no time to need much."""
        if duration < SHORT:
            return self.peak
        peak = process.read_peak()
        self.grown = peak > self.peak
        children = process.read_children()
        # The system keeps the largest of all children: of an earlier task's if it has not grown.
        largest = children if children > self.children else 0
        self.children = children
        return int(max(peak, self.r.peak, largest))

    def _execute(self, job: dict[str, Any]) -> tuple[dict[str, Any], str]:
        artifacts = self.artifacts
        artifacts.begin(job["element"], job["iteration"], job["attempt"])
        if job["kind"] == "r":
            return rscript.run(self.r, job, artifacts)  # type: ignore[no-any-return]
        packed = job["variables"]
        namespace = _loaded(packed, artifacts)
        bound: dict[str, Any] = {}
        if job["kind"] == "call":
            _call(job, namespace, bound)
            return publish(bound, artifacts)
        before = dict(namespace)
        namespace["BpmnError"] = BpmnError
        namespace["execution"] = execution = Execution(job, namespace, bound)
        recorder = Recorder()
        recorder.namespace, recorder.bound = namespace, bound
        namespace["__name__"] = "__main__"
        exec(self._code(job["source"], job["element"]), namespace, recorder)
        if job["result"]:
            bound.setdefault(job["result"], namespace.get("result"))
        changed = _changed(namespace, before, packed, execution, artifacts)
        return publish({**changed, **bound}, artifacts)

    def _code(self, source: str, element: str) -> types.CodeType:
        code = self.compiled.get(source)
        if code is None:
            code = self.compiled[source] = compile(inspect.cleandoc("\n" + source), element, "exec")
        return code


def _loaded(packed: dict[str, Any], artifacts: Artifacts) -> dict[str, Any]:
    """Read the variables of a job; what cannot be read here may not be needed."""
    namespace = {}
    for name, value in packed.items():
        try:
            namespace[name] = (
                value if type(value) in _PLAIN else values.unpack(value, artifacts.load)
            )
        except Exception as error:
            sys.stderr.write(f"warning: {name} is not passed: {error}\n")
    return namespace


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


def _changed(
    namespace: dict[str, Any],
    before: dict[str, Any],
    packed: dict[str, Any],
    execution: Execution,
    artifacts: Artifacts,
) -> dict[str, Any]:
    """Find what changed without being bound at the top level: in place, or by `global`."""
    changed = {}
    for name, value in namespace.items():
        if name not in before:
            if value is not BpmnError and value is not execution:
                changed[name] = value
        elif value is not before[name]:
            changed[name] = value
        elif type(value) not in _PLAIN:
            try:
                kept = same(packed[name], _pack(value, artifacts))
            except Exception:  # `publish` says why it cannot be stored
                kept = False
            if not kept:
                changed[name] = value
    return changed


def publish(names: dict[str, Any], artifacts: Artifacts) -> tuple[dict[str, Any], str]:
    """Pack what may leave a task; name what cannot be stored."""
    published, skipped = {}, ""
    for name, value in names.items():
        if type(name) is not str or not values.is_text(name):
            skipped += f"warning: {name!r} is not published: it is no name\n"
            continue
        if name[:1] == "_" or isinstance(value, _HIDDEN):
            continue
        try:
            published[name] = _pack(value, artifacts)
        except Exception as error:
            skipped += f"warning: {name} is not published: {error}\n"
    return published, skipped


def _pack(value: Any, artifacts: Artifacts) -> Any:
    try:
        return values.pack(value)
    except values.Unstorable:
        return artifacts.store(value)


def _failure(error: BaseException, element: str) -> dict[str, str]:
    # By name: callables raise the class of an installed mlkit, scripts the one above.
    if type(error).__name__ == "BpmnError" and hasattr(error, "code"):
        return {"outcome": "error", "code": _text(error.code), "message": _text(error)}
    traceback.print_exception(error.__class__, error, _script_frames(error))
    return {"outcome": "failed", "message": _describe(error, element)}


def _text(value: object) -> str:
    """Give a value as text that can travel: a script's may be long, fail, or be no Unicode."""
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


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:  # A script has removed it.
        return ""


def _read_spilled(record: bytes) -> bytes:
    path = record[1:].decode()
    with open(path, "rb") as file:
        content = file.read()
    os.unlink(path)
    return content


def main() -> None:
    jobs, slots, slot, parent, cpu = (int(each) for each in sys.argv[1:6])
    places = sys.argv[6:9]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    del sys.path[0]
    for name in ("values", "artifacts", "rscript", "slots", "codec", "process"):
        del sys.modules[name]  # A script may have modules of these names.
    sys.argv = [""]
    Worker(socket.socket(fileno=jobs), Slots(slots), (slot, cpu), places).serve()


main()
