"""The loop of a worker: fetch tasks, run them in isolated processes, report what came of them."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlkit.bpmn.defaults import WORKER_LOCK, WORKER_PAUSE, WORKER_RETRIES
from mlkit.bpmn.server.engine_rest.errors import RestError
from mlkit.bpmn.server.engine_rest.typed import ARTIFACT, decode, encode
from mlkit.bpmn.worker.connection import Connection, Lost
from mlkit.errors import MlkitError, ServiceUnavailable
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
        callables: Topic -> `module:function`.
        folder: Where modules are looked for first.
        lock: For how many seconds a task is this worker's; it is renewed while the task runs.
        retries: How often a failing task is tried, where the server does not say it.
        pause: Seconds before another attempt.
        most: How many tasks run at once; None for one a processor.
    """

    callables: Mapping[str, str]
    folder: Path
    lock: float = WORKER_LOCK
    retries: int = WORKER_RETRIES
    pause: float = WORKER_PAUSE
    most: int | None = None


@dataclass(slots=True)
class _Running:
    task: Mapping[str, Any]
    locked: float


class Worker:
    """Does external tasks until it is stopped.

    Args:
        settings: How.
        pool: Where they run.
        polls: The connection that waits for tasks.
        reports: The connection that reports.
        note: Takes a line for the log.
    """

    def __init__(
        self,
        settings: Settings,
        pool: ScriptPool,
        polls: Connection,
        reports: Connection,
        note: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._polls = polls
        self._reports = reports
        self._note = note
        self._running: dict[int, _Running] = {}
        self._most = settings.most or os.cpu_count() or 1
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
            self._note(f"working for {self._polls.url}: {', '.join(self._settings.callables)}")
            try:
                while True:
                    self._step(thread)
            finally:
                self._polls.close()

    def drain(self, drain_timeout: float) -> None:
        """Let what runs end within some seconds, and give the rest back."""
        deadline = time.monotonic() + drain_timeout
        while self._running and time.monotonic() < deadline:
            self._collect(_TICK)
        for each in self._running.values():
            self._report(each.task, "unlock", {})

    # -- fetching --------------------------------------------------------------------------

    def _step(self, thread: ThreadPoolExecutor) -> None:
        if self._poll is None and self._is_free():
            self._poll = thread.submit(self._fetch, PATIENCE)
        if self._poll is not None and self._poll.done():
            poll, self._poll = self._poll, None
            self._finish_poll(poll)
        self._collect(_TICK)
        self._renew()

    def _is_free(self) -> bool:
        return len(self._running) < self._most and time.monotonic() >= self._not_before

    def _fetch(self, patience: float) -> list[Any]:
        most = max(1, self._most - len(self._running))
        topics = list(self._settings.callables)
        return self._polls.fetch(topics, most, self._settings.lock, patience)

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
            try:
                job = self._pool.submit(self._job(task))
            except (RestError, MlkitError) as error:
                self._report_failure(task, f"its variables cannot be read: {error}", "")
                continue
            self._running[job] = _Running(task, time.monotonic())
        self._pool.send()

    def _job(self, task: Mapping[str, Any]) -> dict[str, Any]:
        instance, element = task["processInstanceId"], task["activityId"]
        work = Path(self._pool.scratch) / "work" / task["id"]
        return {
            "kind": "call",
            "source": self._settings.callables[task["topicName"]],
            "result": None,
            "element": element,
            "instance": instance,
            "iteration": "",
            "attempt": 1 + max(0, self._settings.retries - self._count_attempts_left(task)),
            "key": f"{instance}/{element}/{task['id']}",
            "variables": {
                name: self._variable(instance, name, each)
                for name, each in task["variables"].items()
            },
            "folder": str(self._settings.folder),
            "work": str(work),
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
        for result in self._pool.wait(patience):
            found = self._running.pop(result.job, None)
            if found is not None:
                self._report_result(found.task, result)

    def _report_result(self, task: Mapping[str, Any], result: Result) -> None:
        if result.outcome == "error":
            body = {"errorCode": result.code, "errorMessage": result.message}
            self._report(task, "bpmnError", body)
        elif result.outcome != "completed":
            self._report_failure(task, result.message, result.stderr or result.stdout)
        elif (name := _unsendable(result.variables)) is not None:
            self._report_failure(task, f"variable {name!r} is not a value that can be sent", "")
        else:
            variables = {n: encode(each).document for n, each in result.variables.items()}
            self._report(task, "complete", {"variables": variables})

    def _report_failure(self, task: Mapping[str, Any], message: str, details: str) -> None:
        left = self._count_attempts_left(task) - 1
        body = {
            "errorMessage": message,
            "errorDetails": details[-_MOST_DETAILS:],
            "retries": max(0, left),
            "retryTimeout": int(self._settings.pause * 1000),
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
        for job, each in list(self._running.items()):
            if now - each.locked < self._settings.lock / 2:
                continue
            each.locked = now
            body = {"newDuration": int(self._settings.lock * 1000)}
            try:
                self._reports.task(each.task["id"], "extendLock", body)
            except Lost as error:
                self._note(f"task {each.task['id']}: {error.message}")
                del self._running[job]
                self._pool.stop(job)
            except ServiceUnavailable as error:
                self._note(error.message)


def _unsendable(variables: Mapping[str, Any]) -> str | None:
    """Return the name of a variable that only this machine can read."""
    return next((name for name, value in variables.items() if _is_kept(value)), None)


def _is_kept(value: Any) -> bool:
    if isinstance(value, dict):
        return "$artifact" in value or any(map(_is_kept, value.values()))
    return isinstance(value, list) and any(map(_is_kept, value))
