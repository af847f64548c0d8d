"""Tasks as jobs of the workers: what a job is made of, and what its result is to the engine."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from mlkit.bpmn.definition.model import Callable, Script
from mlkit.bpmn.definition.referenced_names import find_referenced
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Throw
from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.engine.work_file import WorkFile
from mlkit.bpmn.journal.records import Log
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.trace_context import trace_parent
from mlkit.errors import MlkitError
from mlkit.workers.pool import Result

_KINDS = {"r": "r", "javascript": "javascript"}
_OUTCOMES: dict[type, str] = {Complete: "completed", Throw: "error", Fail: "failed"}


def resolve_name(running: Running, work: Callable) -> str:
    """Return the `module:function` that a task's name is bound to, or the name itself."""
    return str(running.options.get("tasks", {}).get(work.name, work.name))


def request(
    running: Running, activation: Activation, work: Script | Callable, carries: bool = False
) -> dict[str, Any]:
    """Return the job of a task, as `ScriptPool.submit` takes it.

    Args:
        running: The instance.
        activation: The task.
        work: What is run.
        carries: Whether what it changes in the working folder is kept for other hosts.
    """
    if isinstance(work, Script):
        kind, source = _KINDS.get(work.format, "script"), work.source
        names = find_referenced(source, work.format)
    else:
        kind, source, names = "call", resolve_name(running, work), None
    job = {
        "kind": kind,
        "source": source,
        "result": getattr(work, "result", None),
        "element": activation.node,
        "instance": running.id,
        "iteration": activation.iteration,
        "attempt": activation.attempt,
        "key": f"{running.id}/{activation.node}/{activation.iteration}",
        "variables": running.state.visible(activation.local or activation.scope, names),
        "folder": running.options.get("folder", ""),
        "work": running.options.get("work", ""),
        "trace_parent": trace_parent(running.id, activation.id, activation.attempt),
    }
    if names is None and kind != "call":  # Else a script cannot see `execution`.
        job["execution"] = _facts(running, activation)
    if activation.listening:
        job |= _task(running, activation)
    if carries:
        job |= {"carries": True, "since": _first(activation)}
    return job


def _facts(running: Running, activation: Activation) -> dict[str, Any]:
    """Return what scripts know of where they run, by Camunda's names."""
    behaviors, state = running.engine.graph.behaviors, running.state
    place = activation.place or behaviors[activation.node].place
    return {
        "processBusinessKey": state.key or None,
        "processDefinitionId": state.process_of(activation.scope).element,
        "currentActivityId": place or None,
        "currentActivityName": (place in behaviors and behaviors[place].node.name) or None,
        "eventName": activation.listening or None,
    }


def _task(running: Running, activation: Activation) -> dict[str, Any]:
    """Return what a script that listens knows of its user task, if it listens to one."""
    node = running.engine.graph.behaviors[activation.node].node
    if not node.listeners[activation.heard - 1].of_task:
        return {}
    number, name = str(activation.id), node.name or None
    moment = activation.listening
    known = {"id": number, "name": name, "taskDefinitionKey": node.id, "eventName": moment}
    return {"task": known}


def _first(activation: Activation) -> float | None:
    """Return when the first attempt began, if it is not this one."""
    return activation.began if activation.attempt > 1 else None


def event_of(
    result: Result, activation: int, files: dict[str, WorkFile | None] | None = None
) -> AnyEvent:
    """Return what the result of a job is to the activation that it was for.

    Args:
        result: How it ended.
        activation: Its number.
        files: What a completed task has changed in the working folder.
    """
    if result.outcome == "completed":
        return Complete(activation, result.variables, files=files or {})
    if result.outcome == "error":
        return Throw(activation, result.code, result.message)
    return Fail(activation, result.message)


def make_failed(result: Result, error: MlkitError) -> Result:
    """Return a result whose stored values could not be kept."""
    return structs.replace(result, outcome="failed", variables={}, message=error.message)


def log_of(result: Result, activation: Activation, at: float, host: str) -> Log:
    """Return what is kept of an attempt."""
    return Log(
        activation.node, activation.iteration, activation.attempt, at, result.duration,
        result.peak, result.outcome, result.stdout, result.stderr, host,
    )  # fmt: skip


def split_printed(event: AnyEvent, state: State, at: float) -> tuple[AnyEvent, Log | None]:
    """Return what a worker elsewhere has reported, and its log, which is no part of the event.

    Args:
        event: What was in the inbox.
        state: The instance before it.
        at: In seconds since 1970.
    """
    if not isinstance(event, Complete | Throw | Fail) or event.printed is None:
        return event, None
    printed, activation = event.printed, state.activations.get(event.id)
    if activation is None:
        return event, None
    log = Log(
        activation.node, activation.iteration, activation.attempt, at, printed.duration,
        printed.peak, _OUTCOMES[type(event)], printed.stdout, printed.stderr, printed.host,
    )  # fmt: skip
    return structs.replace(event, printed=None), log
