"""The loop of a worker: fetch tasks, run them in isolated processes, report what came of them."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.bpmn.defaults import WORKER_LOCK, WORKER_PAUSE, WORKER_RETRIES
from mlkit.bpmn.server.engine_rest.errors import RestError
from mlkit.bpmn.server.engine_rest.typed import ARTIFACT, decode, encode
from mlkit.bpmn.worker.carrying import Carrier, describe_printed
from mlkit.bpmn.worker.connection import Connection, Lost
from mlkit.errors import MlkitError, ServiceUnavailable, UsageError
from mlkit.workers.pool import Result, ScriptPool

PATIENCE = 20.0
"""Seconds that a request for tasks waits at the server."""
_TICK = 0.02
_LONGEST_PAUSE = 10.0
_MOST_DETAILS = 20_000


@dataclass(frozen=True)
class Settings:
    """How a worker works.

    Attributes:
        topics: The topics to fetch tasks of.
        callables: Topic -> `module:function`; a topic without one has scripts only.
        folder: Where modules are looked for first.
        lock: For how many seconds a task is this worker's; it is renewed while the task runs.
        retries: How often a failing task is tried, where the server does not set it.
        pause: Seconds before another attempt.
        most: How many tasks run at once; None for one a processor.
    """

    topics: Sequence[str]
    callables: Mapping[str, str]
    folder: Path
    lock: float = WORKER_LOCK
    retries: int = WORKER_RETRIES
    pause: float = WORKER_PAUSE
    most: int | None = None


@dataclass(slots=True)
class _Running:
    """A task that this worker has.

    Attributes:
        locked: When its lock was last renewed, by the monotonic clock.
        moving: What brings its files here, or its result to the server.
        made: The server's job of it; None where the server knows none.
        job: Its number in the pool, while it runs.
    """

    task: Mapping[str, Any]
    locked: float
    moving: Future[Any] | None = None
    made: Mapping[str, Any] | None = None
    job: int | None = None


class Worker:
    """Does external tasks and scripts until it is stopped.

    Args:
        settings: How.
        pool: Where they run.
        connect: Opens a connection to the server.
        note: Takes a line for the log.
    """

    def __init__(
        self,
        settings: Settings,
        pool: ScriptPool,
        connect: Callable[[], Connection],
        note: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._polls, self._reports = connect(), connect()
        self._note = note
        self._running: dict[str, _Running] = {}
        self._most = settings.most or os.cpu_count() or 1
        work = Path(pool.scratch) / "work"
        self._carrier = Carrier(connect, Path(pool.artifacts), work)
        self._movers = ThreadPoolExecutor(self._most, "files")
        self._poll: Future[list[Any]] | None = None
        self._pause = 0.0
        self._not_before = 0.0

    def run(self) -> None:
        """Work until an exception stops it, such as a signal.

        Raises:
            ServiceUnavailable: The server cannot be reached at the start.
            ConfigurationError: The server does not let this worker in.
        """
        with ThreadPoolExecutor(1, "poll") as thread:
            self._take(self._fetch(0.0))
            self._note(f"working for {self._polls.url}: {', '.join(self._settings.topics)}")
            try:
                while True:
                    self._step(thread)
            finally:
                self._polls.close()

    def drain(self, drain_timeout: float) -> None:
        """Let what runs end within some seconds, and give the rest back."""
        deadline = time.monotonic() + drain_timeout
        while self._running and time.monotonic() < deadline:
            self._advance()
        for each in self._running.values():
            self._report(each.task, "unlock", {})
        self._movers.shutdown(wait=False, cancel_futures=True)

    # -- fetching --------------------------------------------------------------------------

    def _step(self, thread: ThreadPoolExecutor) -> None:
        if self._poll is None and self._is_free():
            self._poll = thread.submit(self._fetch, PATIENCE)
        if self._poll is not None and self._poll.done():
            poll, self._poll = self._poll, None
            self._finish_poll(poll)
        self._advance()
        self._renew()

    def _advance(self) -> None:
        """Move the tasks on that are here: to the pool, and from there to the server."""
        for each in list(self._running.values()):
            if each.moving is not None and each.moving.done():
                moving, each.moving = each.moving, None
                self._finish_move(each, moving)
        self._pool.send()
        self._collect(_TICK)

    def _is_free(self) -> bool:
        return len(self._running) < self._most and time.monotonic() >= self._not_before

    def _fetch(self, patience: float) -> list[Any]:
        most = max(1, self._most - len(self._running))
        return self._polls.fetch(list(self._settings.topics), most, self._settings.lock, patience)

    def _finish_poll(self, poll: Future[list[Any]]) -> None:
        try:
            self._take(poll.result())
            self._pause = 0.0
        except ServiceUnavailable as error:
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause or 0.5)
            self._not_before = time.monotonic() + self._pause
            self._note(f"{error.message}; trying again in {self._pause:g} s")

    def _take(self, tasks: list[Any]) -> None:
        for task in tasks:
            name = task["id"]
            moving = self._movers.submit(self._carrier.prepare, name)
            self._running[name] = _Running(task, time.monotonic(), moving)

    def _finish_move(self, running: _Running, moving: Future[Any]) -> None:
        """Go on once files are here, or once a result is there."""
        is_reported = running.job is not None
        try:
            found = moving.result()
            if is_reported:
                self._end(running)
                return
            running.made = found
            running.job = self._pool.submit(self._job(running.task, found))
        except Lost as error:
            self._note(f"task {running.task['id']}: {error.message}")
            self._end(running)
        except (RestError, MlkitError) as error:
            self._report_failure(running.task, error.message, "")
            self._end(running)
        except Exception as error:  # A defect fails this attempt and no other.
            problem = f"internal error: {type(error).__name__}: {error}"
            self._report_failure(running.task, problem, "")
            self._end(running)

    def _end(self, running: _Running) -> None:
        self._running.pop(running.task["id"], None)
        self._movers.submit(self._carrier.end, running.task["id"])

    def _job(self, task: Mapping[str, Any], made: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return a task as the pool runs it: a script of the server's, or a function of ours.

        Raises:
            UsageError: It is no script, and its topic has no function.
        """
        given = self._describe(task) if made is None else _for_pool(made)
        function = self._settings.callables.get(task["topicName"])
        if made is None or made["kind"] == "call":
            if function is None:
                raise UsageError(
                    f"topic {task['topicName']!r} has no function here, and the task is no script",
                    hint="--task TOPIC=MODULE:FUNCTION names one",
                )
            given |= {"kind": "call", "source": function, "result": None}
        return {**given, "folder": str(self._settings.folder)}

    def _describe(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a server that is not of mlkit reports of a task."""
        instance, element = task["processInstanceId"], task["activityId"]
        return {
            "element": element,
            "instance": instance,
            "iteration": "",
            "attempt": 1 + max(0, self._settings.retries - self._count_attempts_left(task)),
            "key": f"{instance}/{element}/{task['id']}",
            "variables": {
                name: self._variable(instance, name, each)
                for name, each in task["variables"].items()
            },
            "work": str(self._carrier.folder_of(task["id"])),
        }

    def _variable(self, instance: str, name: str, given: Mapping[str, Any]) -> Any:
        if given.get("type") == "File":
            content = base64.b64encode(self._reports.file(instance, name)).decode()
            given = {**given, "value": content}
        info = given.get("valueInfo") or {}
        if info.get("serializationDataFormat") == ARTIFACT:
            # It has no name here: a function that needs it fails, with what it is.
            return {"$artifact": "", "kind": str(info.get("objectTypeName", "value"))}
        return decode(given)

    def _count_attempts_left(self, task: Mapping[str, Any]) -> int:
        """Return how many attempts a task has, this one included."""
        retries = task.get("retries")
        return self._settings.retries if retries is None else int(retries)

    # -- reporting -------------------------------------------------------------------------

    def _collect(self, patience: float) -> None:
        jobs = {each.job: each for each in self._running.values() if each.job is not None}
        for result in self._pool.wait(patience):
            found = jobs.get(result.job)
            if found is not None:
                self._report_result(found, result)

    def _report_result(self, running: _Running, result: Result) -> None:
        task = running.task
        # A server of another kind has no place for it.
        log = {} if running.made is None else {"log": describe_printed(result)}
        if result.outcome == "completed" and running.made is not None:
            deliver = self._carrier.deliver
            running.moving = self._movers.submit(deliver, task["id"], running.made, result)
            return
        if result.outcome == "error":
            body = {"errorCode": result.code, "errorMessage": result.message, **log}
            self._report(task, "bpmnError", body)
        elif result.outcome != "completed":
            details = result.stderr or result.stdout
            self._report_failure(task, result.message, details, log)
        elif (name := _unsendable(result.variables)) is not None:
            self._report_failure(task, f"variable {name!r} is not a value that can be sent", "")
        else:
            variables = {n: encode(each).document for n, each in result.variables.items()}
            self._report(task, "complete", {"variables": variables})
        self._end(running)

    def _report_failure(
        self, task: Mapping[str, Any], message: str, details: str, log: Mapping[str, Any] = {}
    ) -> None:
        left = self._count_attempts_left(task) - 1
        body = {
            "errorMessage": message,
            "errorDetails": details[-_MOST_DETAILS:],
            "retries": max(0, left),
            "retryTimeout": int(self._settings.pause * 1000),
            **log,
        }
        self._report(task, "failure", body)
        self._note(f"task {task['id']} ({task['topicName']}): {message}; retries left: {left}")

    def _report(self, task: Mapping[str, Any], verb: str, body: dict[str, Any]) -> None:
        """Report, again where the server is away for a moment; a task that is lost is left."""
        for pause in (0.2, 1.0, 3.0, None):
            try:
                self._reports.task(task["id"], verb, body)
                return
            except Lost as error:
                self._note(f"task {task['id']}: {error.message}")
                return
            except ServiceUnavailable as error:
                if pause is None:
                    self._note(f"task {task['id']}: {verb} is not reported: {error.message}")
                    return
                time.sleep(pause)

    def _renew(self) -> None:
        """Keep the locks of tasks that take long."""
        now = time.monotonic()
        for each in list(self._running.values()):
            if now - each.locked < self._settings.lock / 2:
                continue
            each.locked = now
            body = {"newDuration": int(self._settings.lock * 1000)}
            try:
                self._reports.task(each.task["id"], "extendLock", body)
            except Lost as error:
                self._note(f"task {each.task['id']}: {error.message}")
                if each.job is not None:
                    self._pool.stop(each.job)
                self._end(each)
            except ServiceUnavailable as error:
                self._note(error.message)


def _for_pool(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job of a server without what only this worker reads."""
    return {name: each for name, each in made.items() if name not in ("given", "limit")}


def _unsendable(variables: Mapping[str, Any]) -> str | None:
    """Return the name of a variable that only this machine can read."""
    return next((name for name, value in variables.items() if _is_kept(value)), None)


def _is_kept(value: Any) -> bool:
    if isinstance(value, dict):
        return "$artifact" in value or any(map(_is_kept, value.values()))
    return isinstance(value, list) and any(map(_is_kept, value))
