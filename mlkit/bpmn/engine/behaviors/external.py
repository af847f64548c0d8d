"""Tasks whose work external workers do: they fetch it by its topic and report what came of it.

Semantics of Camunda 7: https://docs.camunda.org/manual/7.24/user-guide/process-engine/external-tasks/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition.model import Callable, FlowNode, Script
from mlkit.bpmn.engine.behaviors import errors
from mlkit.bpmn.engine.behaviors.tasks import WorkTask
from mlkit.bpmn.engine.effects import Offer
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Throw
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.bpmn.engine.waits import ForWorker
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Step


class ExternalTask(WorkTask):
    """A task that an external worker does, unless the engine of the instance does it."""

    def work(self, step: Step, activation: Activation) -> None:
        """Offer the task, or ask for an attempt by the engine."""
        work = self.node.work
        assert isinstance(work, Callable | Script)
        if work.external is None or offered_name(self.node) not in step.state.external:
            super().work(step, activation)
            return
        scope = step.variables(activation)
        topic = step.text(work.external.topic, scope)
        priority = step.text(work.external.priority, scope)
        activation.wait = ForWorker(topic, step.at, _number(priority))
        activation.status, activation.incident = "waiting", None
        activation.attempt += 1
        step.effects.append(Offer(activation.id))

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Take what a worker reports; a task without retries left may still be completed."""
        if not isinstance(activation.wait, ForWorker) or not isinstance(
            event, Complete | Throw | Fail
        ):
            super().event(step, activation, event)
            return
        if activation.status not in ("waiting", "incident"):
            raise BadData(f"{self.id} does not wait for a worker")
        activation.by = event.by
        if not isinstance(event, Throw):
            self._set_local(step, activation, event.local)
        if event.variables:
            step.state.assign(step.variables(activation), event.variables)
        step.element = self.id
        if isinstance(event, Complete):
            self.complete(step, activation, {})
        elif isinstance(event, Throw):
            self._throw(step, activation, event)
        else:
            self._fail_attempt(step, activation, event)

    def _set_local(self, step: Step, activation: Activation, local: dict[str, Any]) -> None:
        if not local:
            return
        if not activation.local:
            activation.local = step.state.next_id()
            scope = Scope(activation.local, self.id, activation.scope)
            step.state.scopes[activation.local] = scope
        step.state.scopes[activation.local].variables.update(local)

    def _fail_attempt(self, step: Step, activation: Activation, event: Fail) -> None:
        """Wait for the next worker, or stop where no attempt is left."""
        if self.node.errors and self.is_error(step, activation, event.message, event.details):
            return
        if event.retries:
            activation.attempt += 1
            activation.status, activation.incident = "waiting", None
        else:
            step.incident(activation, event.message, "work")

    def _throw(self, step: Step, activation: Activation, event: Throw) -> None:
        """Throw a BPMN error; where nothing catches it, the token ends here."""
        if errors.is_caught(step, activation, event.code, event.message):
            return
        host = errors.outermost(step, activation)
        scope = step.state.scopes[host.scope]
        step.remove(host)
        step.step(host, "terminated")
        step.put(scope, ())


def offered_name(node: FlowNode) -> str:
    """Return how an instance names a task that external workers do; a script has no name."""
    assert isinstance(node.work, Callable | Script)
    return node.work.name if isinstance(node.work, Callable) else f"script {node.id}"


def _number(priority: str) -> int:
    try:
        return int(float(priority)) if priority else 0
    except (ValueError, OverflowError):
        raise BadData(f"the priority {priority!r} is not a whole number") from None
