"""Ad-hoc sub-processes (BPMN 2.0.2, 13.3.8): activities in the order that people choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlkit.bpmn.definition import model
from mlkit.bpmn.definition.model import AdHoc, FlowNode
from mlkit.bpmn.engine.behaviors.subprocess import SubProcess, begins_alone
from mlkit.bpmn.engine.events import AnyEvent, Begin, Complete
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.bpmn.engine.waits import ForStart
from mlkit.errors import BadData

if TYPE_CHECKING:
    from mlkit.bpmn.engine.step import Move


class AdHocSubProcess(SubProcess):
    """A sub-process whose activities start by a list, or one by one from outside.

    Its scope holds one token more than its activities, so that it stays open between them.
    """

    def __init__(self, node: FlowNode, body: model.Scope) -> None:
        super().__init__(node, body)
        self.rules = node.ad_hoc or AdHoc()
        self.watches = True
        self.startable = {each.id for each in self.inside.nodes.values() if begins_alone(each)}

    def execute(self, move: Move, activation: Activation) -> None:
        """Start what the list names."""
        scope = self.open(move, activation)
        scope.live = 1
        wait = activation.wait = ForStart()
        activation.status = "waiting"
        if self.rules.active is not None:
            wanted = move.evaluate(self.rules.active, move.variables(activation))
            if not isinstance(wanted, list):
                raise BadData(f"{self.rules.active.text!r} gives no list of activities")
            wait.queue = [str(each) for each in wanted]
            self._next(move, activation, wait.queue, scope)

    def _next(self, move: Move, activation: Activation, queue: list[str], scope: Scope) -> None:
        """Start what the list still holds: all of it, or one activity of a sequential one."""
        while queue and not (self.rules.sequential and scope.live > 1):
            self._start(move, activation, queue.pop(0))

    def _start(self, move: Move, activation: Activation, element: str) -> None:
        scope = move.state.scopes[activation.body]
        if element not in self.startable:
            raise BadData(f"{element!r} is no activity of {self.id} that can be started")
        if waits(activation).ending:
            raise BadData(f"{self.id} starts nothing more: its completion condition holds")
        if self.rules.sequential and scope.live > 1:
            raise BadData(f"{self.id} is sequential, and one of its activities is running")
        scope.live += 1
        move.graph.behaviors[element].try_enter(move, scope)

    def event(self, move: Move, activation: Activation, event: AnyEvent) -> None:
        """Start an activity, or end the sub-process."""
        if isinstance(event, Begin):
            self._start(move, activation, event.element)
        elif isinstance(event, Complete) and activation.body:
            if move.state.scopes[activation.body].live > 1:
                raise BadData(f"{self.id} has activities that are running")
            self.finish(move, activation, move.state.scopes[activation.body])
        else:
            super().event(move, activation, event)

    def look(self, move: Move) -> bool:
        """End each instance that may end, once all tokens rest."""
        return any(
            self._ends(move, each, move.state.scopes[each.body])
            for each in list(move.state.activations.values())
            if each.node == self.id and each.body and each.status == "waiting"
        )

    def _ends(self, move: Move, activation: Activation, scope: Scope) -> bool:
        try:
            over = self._is_over(move, activation, scope)
        except BadData as error:
            move.incident(activation, f"{self.id}: {error.message}", "await")
            return False
        if over and (self.rules.cancels or scope.live == 1):
            self.finish(move, activation, scope)
            return True
        wait = waits(activation)
        if over:
            wait.ending = True
        elif scope.live == 1 and wait.queue:
            self._next(move, activation, wait.queue, scope)
            return True
        return False

    def _is_over(self, move: Move, activation: Activation, scope: Scope) -> bool:
        condition = self.rules.completion
        wait = waits(activation)
        if wait.ending:
            return True
        if condition is None:
            return wait.queue == [] and scope.live == 1
        return self._completed(move) and move.holds(condition, scope.id)

    def _completed(self, move: Move) -> bool:
        """Return whether something inside completed in this move."""
        nodes = self.inside.nodes
        return any(each.element in nodes and each.event == "completed" for each in move.trace)


def waits(activation: Activation) -> ForStart:
    """Return what is left to start in an ad-hoc sub-process that runs."""
    assert isinstance(activation.wait, ForStart)
    return activation.wait
