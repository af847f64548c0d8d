"""Tasks as jobs of the workers: what a job is made of, and what its result is to the engine."""

from __future__ import annotations

from typing import Any

from mlkit.bpmn.definition.model import Callable, Script
from mlkit.bpmn.definition.referenced_names import mentioned
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Throw
from mlkit.bpmn.engine.state import Activation
from mlkit.bpmn.journal.records import Log
from mlkit.bpmn.runtime.running import Running
from mlkit.bpmn.runtime.trace_context import trace_parent
from mlkit.workers.pool import Result

_KINDS = {"r": "r", "javascript": "javascript"}


def bound(running: Running, work: Callable) -> str:
    """Return the `module:function` that a task's name is bound to, or the name itself."""
    return str(running.options.get("tasks", {}).get(work.name, work.name))


def request(running: Running, activation: Activation, work: Script | Callable) -> dict[str, Any]:
    """Return the job of a task, as `ScriptPool.submit` takes it."""
    if isinstance(work, Script):
        kind, source = _KINDS.get(work.format, "script"), work.source
        names = mentioned(source, work.format)
    else:
        kind, source, names = "call", bound(running, work), None
    return {
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


def event_of(result: Result, activation: int) -> AnyEvent:
    """Return what the result of a job is to the activation that it was for."""
    if result.outcome == "completed":
        return Complete(activation, result.variables)
    if result.outcome == "error":
        return Throw(activation, result.code, result.message)
    return Fail(activation, result.message)


def log_of(result: Result, activation: Activation, at: float) -> Log:
    """Return what is kept of an attempt."""
    return Log(
        activation.node, activation.iteration, activation.attempt, at, result.duration,
        result.peak, result.outcome, result.stdout, result.stderr,
    )  # fmt: skip
