"""What all activities share: local variables, boundary events, multi-instance, retries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition import model, retries
from mlkit.bpmn.definition.model import FlowNode, Retry
from mlkit.bpmn.definition.timers import duration
from mlkit.bpmn.engine.behaviors import compensation, errors
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.gateways import consume
from mlkit.bpmn.engine.effects import AnyEffect, Fetch, Run, Store, Wake
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Fire, StoreRead, Throw
from mlkit.bpmn.engine.state import Activation, Done, Scope
from mlkit.bpmn.engine.waits import ForPerson, ForRetry
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.behaviors.boundary import BoundaryEvent
    from mlkit.bpmn.engine.graph import Graph
    from mlkit.bpmn.engine.step import Step


# A failure names the line of the script, where there is one, then the exception.
_PLACE = re.compile(r"^line \d+: ")
_SKIPPING = ("_FLOWABLE_SKIP_EXPRESSION_ENABLED", "_ACTIVITI_SKIP_EXPRESSION_ENABLED")


class Activity(Behavior):
    """An activity that is done as soon as it begins (task, manual task)."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        self.boundary_events: tuple[BoundaryEvent, ...] = ()
        self.mapped = bool(node.inputs or node.outputs)
        self.fetches = bool(node.reads)
        self.compensable = False

    def link(self, graph: Graph) -> None:
        """Find the boundary events."""
        self.boundary_events = tuple(graph.boundary_events.get(self.id, ()))
        self.compensable = self.id in graph.handlers

    def arrive(self, step: Step, scope: Scope, flow: str) -> None:
        """Begin, or wait until as many tokens are here as the activity needs."""
        needs = self.node.needs
        if needs > 1:
            scope.arrived[flow] = scope.arrived.get(flow, 0) + 1
            here = [each for each in self.node.incoming for _ in range(scope.arrived.get(each, 0))]
            if len(here) < needs:
                return
            consume(scope, tuple(here[:needs]))
        self.try_enter(step, scope)

    def try_enter(self, step: Step, scope: Scope) -> None:
        """Begin one activation; what listens to its start sees its variables."""
        self.enter(step, scope)

    def enter(self, step: Step, scope: Scope) -> None:
        """Begin one activation."""
        self.begin(step, step.activate(self, scope))

    def begin(self, step: Step, activation: Activation) -> None:
        """Begin, once the data stores that it reads have given their values."""
        if self.fetches:
            activation.status = "fetching"
            step.effects.append(Fetch(activation.id))
        else:
            self.proceed(step, activation)

    def proceed(
        self, step: Step, activation: Activation, stored: dict[str, Any] | None = None
    ) -> None:
        """Set the local variables, and start."""
        step.element = self.id
        try:
            if self.mapped or stored is not None:
                self._map_inputs(step, activation, stored or {})
        except BadData as error:
            step.incident(activation, f"{self.id}: {error.message}", "begin")
        else:
            self.start_work(step, activation)

    def start_work(self, step: Step, activation: Activation) -> None:
        """Let listeners know, arm the boundary events and do the work."""
        step.element = self.id
        try:
            if self.listeners and not self.notify(step, activation, "start"):
                return
            if activation.role != "iteration":
                for boundary in self.boundary_events:
                    boundary.arm(step, activation)
            if self.node.skip is not None and self._is_skipped(step, activation):
                self.leave(step, activation)
            else:
                self.execute(step, activation)
        except BadData as error:
            self.disarm(step, activation)
            step.incident(activation, f"{self.id}: {error.message}", "begin")

    def _is_skipped(self, step: Step, activation: Activation) -> bool:
        """Return whether it is passed, as Activiti and Flowable have it."""
        assert self.node.skip is not None
        scope, names = step.variables(activation), _SKIPPING
        enabled = any(step.state.has(scope, e) and step.state.lookup(scope, e) for e in names)
        return enabled and step.holds(self.node.skip, scope)

    def go_on(self, step: Step, activation: Activation, moment: str) -> None:
        """Go on behind a listener of a moment."""
        if moment == "start" and activation.chosen is None:
            self.start_work(step, activation)
        else:
            self.leave(step, activation)

    def execute(self, step: Step, activation: Activation) -> None:
        """Do the work, or ask for it."""
        self.leave(step, activation)

    def disarm(self, step: Step, activation: Activation) -> None:
        """Remove the armed boundary events."""
        for child in list(activation.children):
            step.remove(step.state.activations[child])

    def _map_inputs(self, step: Step, activation: Activation, stored: dict[str, Any]) -> None:
        if not activation.local:
            local = step.state.next_id()
            isolated = bool(self.node.outputs) and not self.node.shares
            step.state.scopes[local] = Scope(local, self.id, activation.scope, isolated=isolated)
            activation.local = local
        scope = step.state.scopes[activation.local]
        scope.variables.update(stored)
        if self.node.shares:  # As in Camunda 7, none sees another.
            inputs = {name: step.evaluate(each, scope.id) for name, each in self.node.inputs}
            scope.variables.update(inputs)
            return
        for name, expression in self.node.inputs:
            scope.variables[name] = step.evaluate(expression, scope.id)

    # -- results -----------------------------------------------------------------------

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Take the result of the work, or of what listens."""
        if activation.listening and isinstance(event, Complete | Throw | Fail):
            self.finish_listener(step, activation, event)
            return
        working = activation.status == "working"
        if isinstance(event, Complete) and (working or isinstance(activation.wait, ForPerson)):
            activation.by = event.by
            self.complete(step, activation, event.variables)
        elif isinstance(event, Throw) and working:
            errors.throw(step, activation, event.code, event.message)
        elif isinstance(event, Fail) and working:
            self.fail(step, activation, event.message)
        elif isinstance(event, Fire) and activation.status == "pausing":
            self.work(step, activation)
        elif isinstance(event, StoreRead) and activation.status == "fetching":
            activation.status = "open"
            self.proceed(step, activation, event.values)
        else:
            super().event(step, activation, event)

    def complete(self, step: Step, activation: Activation, variables: dict[str, Any]) -> None:
        """Publish what the work left and go on."""
        if variables:
            step.state.assign(step.variables(activation), variables)
        if not (self.node.errors and self.is_error(step, activation, None)):
            self.leave(step, activation)

    def is_error(
        self, step: Step, activation: Activation, failure: str | None, details: str | None = None
    ) -> bool:
        """Throw the error that the work counts as, if any; an expression that fails is none.

        As in Camunda 7, the expressions see `externalTask`.
        """
        scope = step.state.scopes[step.variables(activation)]
        name = getattr(self.node.work, "name", None)
        task = {"topicName": name, "activityId": self.id, "errorMessage": failure}
        task["errorDetails"] = details or failure
        for expression, event in self.node.errors:
            with step.names(scope, externalTask=task) as inner:
                try:
                    found = step.holds(expression, inner)
                    message = step.text(event.message, inner) if found else ""
                except BadData:
                    continue
            if found:
                errors.throw(step, activation, event.code or "", message or failure or "")
                return True
        return False

    def work(self, step: Step, activation: Activation) -> None:
        """Ask for (another) attempt at the work; in a suspended instance, when it goes on."""
        if step.state.suspended:
            activation.status, activation.incident = "pausing", None
            activation.wait = ForRetry(step.at, "")
            return
        activation.status = "working"
        activation.attempt += 1
        activation.wait = activation.incident = None
        step.effects.append(Run(activation.id))

    def fail(self, step: Step, activation: Activation, message: str) -> None:
        """Pause before another attempt; after the last, look for a catch-all, else stop."""
        if self.node.errors and self.is_error(step, activation, message):
            return
        if self.is_mapped(step, activation, message):
            return
        try:
            retry = self._retries(step, activation)
        except BadData as error:
            step.incident(activation, f"{message}; the retries: {error.message}", "work")
            return
        if activation.attempt < retry.attempts:
            pause = retry.pauses[activation.attempt - 1]
            due = step.at + duration(pause).total_seconds()
            activation.status = "pausing"
            activation.wait = ForRetry(due, message)
            step.effects.append(Wake(activation.id, due))
        elif not errors.throw_failure(step, activation, message):
            step.incident(activation, message, "work")

    def is_mapped(self, step: Step, activation: Activation, message: str) -> bool:
        """Throw the error that a failure is mapped to by the name of its exception, if any."""
        raised = _PLACE.sub("", message, count=1).partition(":")[0]
        for name, code in self.node.failures:
            if name in ("", raised):
                errors.throw(step, activation, code, message)
                return True
        return False

    def _retries(self, step: Step, activation: Activation) -> Retry:
        cycle = self.node.retry.cycle
        if cycle is None:
            return self.node.retry
        return retries.read(step.text(cycle, step.variables(activation)))

    def retry(self, step: Step, activation: Activation) -> None:
        """Do again what an incident stopped."""
        stage = activation.stage
        if stage == "receive":
            super().retry(step, activation)
            return
        activation.status = "open"
        activation.incident = None
        if stage == "enter":
            super().retry(step, activation)
        elif stage == "await":
            activation.status = "waiting"
        elif stage == "begin":
            self.begin(step, activation)
        elif stage == "listen":
            self.listen(step, activation)
        elif stage == "leave":
            self.leave(step, activation)
        else:
            self.work(step, activation)

    def recover(self, step: Step, activation: Activation) -> None:
        """Start work again that ran when the engine died."""
        if activation.listening:
            self.listen(step, activation)
        elif self.node.retry.after_crash:
            self.work(step, activation)
        else:
            message = 'the engine died while it ran, and mlkit:retry="never"'
            step.incident(activation, message, "work")

    # -- leaving -----------------------------------------------------------------------

    def _leave(self, step: Step, activation: Activation) -> None:
        if self.listeners and not self.notify(step, activation, "end"):
            return
        stored = self._store_outputs(step, activation) if self.node.writes else []
        if self.node.outputs and activation.local:
            self.map_local_outputs(step, activation)
        step.effects += stored
        if activation.role == "compensation":
            compensation.finish_handler(step, activation)
        elif activation.role == "iteration":
            host = step.state.activations[activation.host]
            behavior = step.behavior(host)
            behavior.finish_iteration(step, host, activation)  # type: ignore[attr-defined]
        else:
            self._go(step, activation)

    def _go(self, step: Step, activation: Activation) -> None:
        scope = step.state.scopes[activation.scope]
        flows = self.choose(step, scope) * self.node.gives
        self.record(step, activation)
        step.remove(activation)
        step.step(activation, "completed")
        step.put(scope, flows)

    def record(self, step: Step, activation: Activation) -> None:
        """Keep, where somebody may compensate it, that the activity completed."""
        if self.compensable:
            local = step.state.scopes.get(activation.local)
            done = Done(self.id, {} if local is None else dict(local.variables))
            compensation.keep(step, activation, done)

    def _store_outputs(self, step: Step, activation: Activation) -> list[AnyEffect]:
        """Return what the data stores get; nothing of a variable that is not there."""
        scope = step.variables(activation)
        return [
            Store(store, step.evaluate(each, scope))
            for store, each in self.node.writes
            if each.language != "name" or step.state.has(scope, each.text)
        ]

    def map_local_outputs(self, step: Step, activation: Activation) -> None:
        """Set what the outputs define, from the activity's own variables, around it."""
        local = activation.local
        scope = step.state.scopes[local]
        if self.node.shares:
            with step.behind(scope) as values:
                for name, each in self.node.outputs:
                    values[name] = step.evaluate(each, local)
        else:
            values = {name: step.evaluate(each, local) for name, each in self.node.outputs}
        stays = activation.role == "iteration" and scope.isolated
        step.state.assign(local if stays else scope.parent, values)
