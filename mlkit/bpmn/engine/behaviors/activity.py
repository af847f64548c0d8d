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
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Fire, Supply, Throw
from mlkit.bpmn.engine.state import Activation, Done, Scope
from mlkit.bpmn.engine.waits import ForPerson, ForRetry
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.behaviors.boundary import BoundaryEvent
    from mlkit.bpmn.engine.graph import Graph
    from mlkit.bpmn.engine.step import Move


# A failure names the line of the script, where there is one, then the exception.
_PLACE = re.compile(r"^line \d+: ")
_SKIPPING = ("_FLOWABLE_SKIP_EXPRESSION_ENABLED", "_ACTIVITI_SKIP_EXPRESSION_ENABLED")


class Activity(Behavior):
    """An activity that is done as soon as it begins (task, manual task)."""

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        self.guards: tuple[BoundaryEvent, ...] = ()
        self.mapped = bool(node.inputs or node.outputs)
        self.fetches = bool(node.reads)
        self.compensable = False

    def link(self, graph: Graph) -> None:
        """Find the boundary events."""
        self.guards = tuple(graph.guards.get(self.id, ()))
        self.compensable = self.id in graph.handlers

    def arrive(self, move: Move, scope: Scope, flow: str) -> None:
        """Begin, or wait until as many tokens are here as the activity needs."""
        needs = self.node.needs
        if needs > 1:
            scope.arrived[flow] = scope.arrived.get(flow, 0) + 1
            here = [each for each in self.node.incoming for _ in range(scope.arrived.get(each, 0))]
            if len(here) < needs:
                return
            consume(scope, tuple(here[:needs]))
        self.try_enter(move, scope)

    def try_enter(self, move: Move, scope: Scope) -> None:
        """Begin one activation; what listens to its start sees its variables."""
        self.enter(move, scope)

    def enter(self, move: Move, scope: Scope) -> None:
        """Begin one activation."""
        self.begin(move, move.activate(self, scope))

    def begin(self, move: Move, activation: Activation) -> None:
        """Begin, once the data stores that it reads have given their values."""
        if self.fetches:
            activation.status = "fetching"
            move.effects.append(Fetch(activation.id))
        else:
            self.proceed(move, activation)

    def proceed(
        self, move: Move, activation: Activation, stored: dict[str, Any] | None = None
    ) -> None:
        """Set the local variables, arm the boundary events and do the work."""
        move.element = self.id
        try:
            if self.mapped or stored is not None:
                self._map_inputs(move, activation, stored or {})
            if self.listeners:
                self.hear(move, move.variables(activation), "start")
            if activation.role != "iteration":
                for guard in self.guards:
                    guard.arm(move, activation)
            if self.node.skip is not None and self._is_skipped(move, activation):
                self.leave(move, activation)
            else:
                self.execute(move, activation)
        except BadData as error:
            self.disarm(move, activation)
            move.incident(activation, f"{self.id}: {error.message}", "begin")

    def _is_skipped(self, move: Move, activation: Activation) -> bool:
        """Return whether it is passed, as Activiti and Flowable have it."""
        assert self.node.skip is not None
        scope, names = move.variables(activation), _SKIPPING
        enabled = any(move.state.has(scope, e) and move.state.lookup(scope, e) for e in names)
        return enabled and move.holds(self.node.skip, scope)

    def execute(self, move: Move, activation: Activation) -> None:
        """Do the work, or ask for it."""
        self.leave(move, activation)

    def disarm(self, move: Move, activation: Activation) -> None:
        """Remove the armed boundary events."""
        for child in list(activation.children):
            move.remove(move.state.activations[child])

    def _map_inputs(self, move: Move, activation: Activation, stored: dict[str, Any]) -> None:
        if not activation.local:
            local = move.state.next_id()
            isolated = bool(self.node.outputs) and not self.node.shares
            move.state.scopes[local] = Scope(local, self.id, activation.scope, isolated=isolated)
            activation.local = local
        scope = move.state.scopes[activation.local]
        scope.variables.update(stored)
        for name, expression in self.node.inputs:
            scope.variables[name] = move.evaluate(expression, scope.id)

    # -- results -----------------------------------------------------------------------

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Take the result of the work."""
        working = activation.status == "working"
        if isinstance(event, Complete) and (working or isinstance(activation.wait, ForPerson)):
            activation.by = event.by
            self.complete(move, activation, event.variables)
        elif isinstance(event, Throw) and working:
            errors.throw(move, activation, event.code, event.message)
        elif isinstance(event, Fail) and working:
            self.failed(move, activation, event.message)
        elif isinstance(event, Fire) and activation.status == "pausing":
            self.work(move, activation)
        elif isinstance(event, Supply) and activation.status == "fetching":
            activation.status = "open"
            self.proceed(move, activation, event.values)
        else:
            super().event(move, activation, event)

    def complete(self, move: Move, activation: Activation, variables: dict[str, Any]) -> None:
        """Publish what the work left and go on."""
        if variables:
            move.state.assign(move.variables(activation), variables)
        if not (self.node.errors and self._is_error(move, activation, None)):
            self.leave(move, activation)

    def _is_error(self, move: Move, activation: Activation, failure: str | None) -> bool:
        """Throw the error that the work counts as, if any; an expression that fails is none.

        As in Camunda 7, the expressions see `externalTask`.
        """
        scope = move.state.scopes[move.variables(activation)]
        name = getattr(self.node.work, "name", None)
        task = {"topicName": name, "activityId": self.id, "errorMessage": failure}
        for expression, event in self.node.errors:
            with move.names(scope, externalTask={**task, "errorDetails": failure}) as inner:
                try:
                    found = move.holds(expression, inner)
                    message = move.text(event.message, inner) if found else ""
                except BadData:
                    continue
            if found:
                errors.throw(move, activation, event.code or "", message or failure or "")
                return True
        return False

    def work(self, move: Move, activation: Activation) -> None:
        """Ask for (another) attempt at the work."""
        activation.status = "working"
        activation.attempt += 1
        activation.wait = activation.incident = None
        move.effects.append(Run(activation.id))

    def failed(self, move: Move, activation: Activation, message: str) -> None:
        """Pause before another attempt; after the last, look for a catch-all, else stop."""
        if self.node.errors and self._is_error(move, activation, message):
            return
        raised = _PLACE.sub("", message, count=1).partition(":")[0]
        for name, code in self.node.failures:
            if name in ("", raised):
                errors.throw(move, activation, code, message)
                return
        try:
            retry = self._retries(move, activation)
        except BadData as error:
            move.incident(activation, f"{message}; the retries: {error.message}", "work")
            return
        if activation.attempt < retry.attempts:
            pause = retry.pauses[activation.attempt - 1]
            due = move.at + duration(pause).total_seconds()
            activation.status = "pausing"
            activation.wait = ForRetry(due, message)
            move.effects.append(Wake(activation.id, due))
        elif not errors.throw_failure(move, activation, message):
            move.incident(activation, message, "work")

    def _retries(self, move: Move, activation: Activation) -> Retry:
        cycle = self.node.retry.cycle
        if cycle is None:
            return self.node.retry
        return retries.read(move.text(cycle, move.variables(activation)))

    def retry(self, move: Move, activation: Activation) -> None:
        """Do again what an incident stopped."""
        stage = activation.stage
        if stage == "receive":
            super().retry(move, activation)
            return
        activation.status = "open"
        activation.incident = None
        if stage == "enter":
            super().retry(move, activation)
        elif stage == "await":
            activation.status = "waiting"
        elif stage == "begin":
            self.begin(move, activation)
        elif stage == "leave":
            self.leave(move, activation)
        else:
            self.work(move, activation)

    def recover(self, move: Move, activation: Activation) -> None:
        """Start work again that ran when the engine died."""
        if self.node.retry.after_crash:
            self.work(move, activation)
        else:
            message = 'the engine died while it ran, and mlkit:retry="never"'
            move.incident(activation, message, "work")

    # -- leaving -----------------------------------------------------------------------

    def _leave(self, move: Move, activation: Activation) -> None:
        if self.listeners:
            self.hear(move, move.variables(activation), "end")
        stored = self._stored(move, activation) if self.node.writes else []
        if self.node.outputs:
            self._map_outputs(move, activation)
        move.effects += stored
        if activation.role == "compensation":
            compensation.handled(move, activation)
        elif activation.role == "iteration":
            host = move.state.activations[activation.host]
            behavior = move.behavior(host)
            behavior.iterated(move, host, activation)  # type: ignore[attr-defined]
        else:
            self._go(move, activation)

    def _go(self, move: Move, activation: Activation) -> None:
        scope = move.state.scopes[activation.scope]
        flows = self.choose(move, scope) * self.node.gives
        self.record(move, activation)
        move.remove(activation)
        move.step(activation, "completed")
        move.put(scope, flows)

    def record(self, move: Move, activation: Activation) -> None:
        """Keep, where somebody may compensate it, that the activity completed."""
        if self.compensable:
            local = move.state.scopes.get(activation.local)
            done = Done(self.id, {} if local is None else dict(local.variables))
            compensation.keep(move, activation, done)

    def _stored(self, move: Move, activation: Activation) -> list[AnyEffect]:
        """Return what the data stores get; nothing of a variable that is not there."""
        scope = move.variables(activation)
        return [
            Store(store, move.evaluate(each, scope))
            for store, each in self.node.writes
            if each.language != "name" or move.state.has(scope, each.text)
        ]

    def _map_outputs(self, move: Move, activation: Activation) -> None:
        local = activation.local
        values = {name: move.evaluate(each, local) for name, each in self.node.outputs}
        scope = move.state.scopes[local]
        stays = activation.role == "iteration" and scope.isolated
        move.state.assign(local if stays else scope.parent, values)
