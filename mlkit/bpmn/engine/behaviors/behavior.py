"""What all flow nodes share: a token arrives, the node does its part, tokens leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import EventDefinition, FlowNode
from mlkit.bpmn.engine.behaviors import compensation, errors, subscription
from mlkit.bpmn.engine.effects import Run
from mlkit.bpmn.engine.events import AnyEvent, Complete, Fail, Throw
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.graph import Graph
    from mlkit.bpmn.engine.step import Step


class Behavior:
    """A flow node that passes a token on at once; subclasses do more.

    Args:
        node: The definition.
        body: The scope of the definition that the node stands in.
    """

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        self.node = node
        self.id = node.id
        self.outgoing = tuple((each, body.flows[each].condition) for each in node.outgoing)
        self.plain = all(condition is None for _, condition in self.outgoing)
        self.flows = node.outgoing
        self.listeners = node.listeners
        # The moments at which a worker does something, and the token waits for it.
        self.worked = frozenset(e.event for e in node.listeners if e.work is not None)
        self.is_gateway = node.type.endswith("Gateway")
        # What scripts know as `execution.currentActivityId`.
        self.place = node.id

    @property
    def awaited(self) -> EventDefinition:
        """What the node waits for."""
        if self.node.event is None:
            raise BadData(f"{self.id} waits for nothing that can be executed")
        return self.node.event

    def link(self, graph: Graph) -> None:
        """Find the neighbours, once all behaviours exist."""

    def arrive(self, step: Step, scope: Scope, flow: str) -> None:
        """Take a token that came along `flow`."""
        self.try_enter(step, scope)

    def try_enter(self, step: Step, scope: Scope) -> None:
        """Enter, or keep the token as an incident where an expression fails."""
        step.element = self.id
        if "start" in self.worked:
            self.go_on(step, step.activate(self, scope), "start")
            return
        try:
            self.hear(step, scope.id, "start")
            self.enter(step, scope)
        except BadData as error:
            step.park(self, scope, f"{self.id}: {error.message}")

    def enter(self, step: Step, scope: Scope) -> None:
        """Begin; what can fail is evaluated before anything changes."""
        self.pass_on(step, scope, self.choose(step, scope))

    def pass_on(self, step: Step, scope: Scope, flows: tuple[str, ...]) -> None:
        """Let listeners know of the end, and send the token on.

        Raises:
            BadData: An expression of a listener fails; nothing has changed.
        """
        self.hear_end(step, scope)
        self.send_on(step, scope, flows)

    def hear_end(self, step: Step, scope: Scope) -> None:
        """Evaluate what listens to the end, unless a worker does some of it.

        Raises:
            BadData: An expression fails.
        """
        if "end" not in self.worked:
            self.hear(step, scope.id, "end")

    def send_on(self, step: Step, scope: Scope, flows: tuple[str, ...]) -> None:
        """Send the token on, behind what workers do at the end."""
        if "end" in self.worked:
            activation = step.activate(self, scope)
            activation.chosen = list(flows)
            self.leave(step, activation)
        else:
            step.record_passage(self, scope)
            step.put(scope, flows)

    def pass_through(self, step: Step, scope: Scope) -> None:
        """Choose where the token goes, then let listeners know of the start and of the end.

        Raises:
            BadData: No flow can be chosen, or an expression of a listener fails.
        """
        flows = self.choose(step, scope)
        if "start" in self.worked:
            activation = step.activate(self, scope)
            activation.chosen = list(flows)
            self.go_on(step, activation, "start")
        else:
            self.hear(step, scope.id, "start")
            self.pass_on(step, scope, flows)

    # -- listeners ---------------------------------------------------------------------

    def hear(self, step: Step, scope: int, event: str) -> None:
        """Evaluate what listens to an event of the node.

        Raises:
            BadData: An expression fails.
        """
        if self.listeners:
            step.hear(self.listeners, scope, event)

    def notify(self, step: Step, activation: Activation, event: str) -> bool:
        """Go through what listens to an event; return False where a worker has to do some first.

        When the worker has done it, what asked is done again, and goes on behind it. What a user
        task evaluates for its own listeners is left to it.

        Raises:
            BadData: An expression fails.
        """
        first, activation.heard = activation.heard, 0
        for number, each in enumerate(self.listeners[first:], first + 1):
            if each.event != event:
                continue
            if each.work is not None:
                activation.heard, activation.listening = number, event
                self.listen(step, activation)
                return False
            if not each.of_task:
                step.hear((each,), step.variables(activation), event)
        return True

    def listen(self, step: Step, activation: Activation) -> None:
        """Let a worker do what listens."""
        activation.status = "working"
        activation.incident = None
        step.effects.append(Run(activation.id))

    def finish_listener(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Take what a worker made of a listener, and go on."""
        if isinstance(event, Fail):
            step.incident(activation, event.message, "listen")
            return
        moment, activation.listening, activation.status = activation.listening, "", "open"
        if isinstance(event, Throw):
            activation.heard = 0
            errors.throw(step, activation, event.code, event.message)
        elif isinstance(event, Complete):
            step.state.assign(step.variables(activation), event.variables)
            self.go_on(step, activation, moment)

    def go_on(self, step: Step, activation: Activation, moment: str) -> None:
        """Go on behind a listener of a moment."""
        if moment == "end":
            self.leave(step, activation)
            return
        step.element = self.id
        try:
            heard = self.notify(step, activation, moment)
        except BadData as error:
            stage = "enter" if activation.chosen is None else "leave"
            step.incident(activation, f"{self.id}: {error.message}", stage)
        else:
            if heard:
                self.run(step, activation)

    def run(self, step: Step, activation: Activation) -> None:
        """Do what comes behind the listeners of the start."""
        if activation.chosen is not None:
            self.leave(step, activation)
            return
        scope = step.state.scopes[activation.scope]
        step.remove(activation)
        try:
            self.enter(step, scope)
        except BadData as error:
            step.park(self, scope, f"{self.id}: {error.message}")

    # -- the way on --------------------------------------------------------------------

    def choose(self, step: Step, scope: Scope) -> tuple[str, ...]:
        """Choose the flows that get a token (BPMN 2.0.2, 13.2.1 and 13.3.2).

        Unconditional flows always do, conditional ones where they hold, the default flow if no
        condition holds. After a gateway, and in files of Camunda 7, Activiti and Flowable, an
        unconditional flow counts as one whose condition holds.

        Raises:
            BadData: None gets one, or a condition fails.
        """
        if self.plain and self.node.default is None:
            return self.flows
        default, alone = self.node.default, not (self.node.shares or self.is_gateway)
        others = [each for each in self.outgoing if each[0] != default]
        held = {
            flow
            for flow, condition in others
            if condition is not None and step.holds(condition, scope.id)
        }
        plain = {flow for flow, condition in others if condition is None}
        if default is not None and not held and (alone or not plain):
            held.add(default)
        if held or plain:
            return tuple(flow for flow, _ in self.outgoing if flow in held or flow in plain)
        raise BadData("no condition of its outgoing flows holds and none is the default")

    def map_outputs(self, step: Step, scope: Scope) -> None:
        """Set what the output mappings of an event define in the scope around it."""
        if not self.node.outputs:
            return
        values: dict[str, Any] = {}
        for name, each in self.node.outputs:
            with step.names(scope, **(values if self.node.shares else {})) as inner:
                values[name] = step.evaluate(each, inner)
        step.state.assign(scope.id, values)

    def map_local_outputs(self, step: Step, activation: Activation) -> None:
        """Set what the outputs of an activity define; other nodes have no own variables."""

    def event(self, step: Step, activation: Activation, event: AnyEvent) -> None:
        """Take an event that is meant for an activation of this node."""
        if activation.listening and isinstance(event, Complete | Throw | Fail):
            self.finish_listener(step, activation, event)
            return
        raise BadData(f"{self.id} does not wait for {type(event).__name__.lower()!r}")

    def resume(self, step: Step, activation: Activation) -> None:
        """Go on with what was deferred until other tokens have moved."""
        compensation.proceed(step, activation)

    def finish_compensation(self, step: Step, activation: Activation) -> None:
        """Go on after the last compensation handler."""
        self.leave(step, activation)

    def note_winner(self, step: Step, activation: Activation, branch: Activation) -> None:
        """Take note that one of the events behind an event gateway happened."""

    def finish(self, step: Step, activation: Activation, scope: Scope) -> None:
        """Go on when no token is left inside."""

    def retry(self, step: Step, activation: Activation) -> None:
        """Try an incident again."""
        if activation.stage == "receive":
            subscription.receive_again(step, activation)
            return
        stage, activation.incident = activation.stage, None
        if stage == "await":
            activation.status = "waiting"
            return
        if stage == "listen":
            self.listen(step, activation)
            return
        if stage == "leave":
            activation.status = "open"
            self.leave(step, activation)
            return
        scope = step.state.scopes[activation.scope]
        step.remove(activation)
        self.try_enter(step, scope)

    def recover(self, step: Step, activation: Activation) -> None:
        """Start work again that ran when the engine died: that of a listener."""
        if activation.listening:
            self.listen(step, activation)

    def leave(self, step: Step, activation: Activation) -> None:
        """End an activation and send its token on."""
        step.element = self.id
        try:  # Not by `guarded`: every activity leaves here, and a closure for each is expensive.
            self._leave(step, activation)
        except BadData as error:
            step.incident(activation, f"{self.id}: {error.message}", "leave")

    def _leave(self, step: Step, activation: Activation) -> None:
        if self.listeners and not self.notify(step, activation, "end"):
            return
        scope, chosen = step.state.scopes[activation.scope], activation.chosen
        flows = self.choose(step, scope) if chosen is None else tuple(chosen)
        step.remove(activation)
        step.step(activation, "completed")
        step.put(scope, flows)
