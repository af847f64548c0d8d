"""What waits beside the tokens of an instance that moves to another version of its definition.

An event that is the same in both versions goes on waiting: a timer keeps its due time. One that
has changed waits again, as one does that the new version adds; one that it lacks waits no longer.
What has happened already does not happen again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from mlkit.bpmn.definition.model import EventDefinition
from mlkit.bpmn.engine.behaviors import starting, subscription
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.catch import CatchEvent
from mlkit.bpmn.engine.behaviors.event_based import EventBasedGateway
from mlkit.bpmn.engine.effects import Unsubscribe
from mlkit.bpmn.engine.graph import Graph
from mlkit.bpmn.engine.state import Activation, Scope
from mlkit.bpmn.engine.step import Step
from mlkit.bpmn.engine.waits import ForCondition, ForMessage, ForSignal, ForTimer
from mlkit.errors import BadData

BESIDE = ("guard", "trigger", "branch")
"""The roles of what waits beside tokens."""
Rename = Callable[[str], str]


def follow(
    step: Step,
    old: Graph,
    elements: Mapping[int, str],
    dropped: Iterable[Activation],
    target: Rename,
    notes: list[str],
) -> None:
    """Let what waits beside the tokens of a renamed state be what the new version has.

    Args:
        step: On the new version.
        old: The old version.
        elements: By activation and by scope, the element of the old version.
        dropped: What the new version lacks.
        target: Returns what an element is called in the new version.
        notes: Gets a line for each change.

    Raises:
        BadData: What is to be waited for cannot be evaluated.
    """
    follower = _Follower(step, old, elements, target, notes)
    waiting = follower.waiting()
    for each in dropped:
        if each.id in step.state.activations:
            step.remove(each)
            notes.append(f"{elements[each.id]}: no longer waited for")
    for each in list(step.state.activations.values()):
        if each.id in step.state.activations and each.role != "part":
            follower.wait_anew(each)
    for each in list(step.state.activations.values()):
        follower.add_boundary_events(each, waiting)
        follower.add_branches(each, waiting)
    for scope in list(step.state.scopes.values()):
        follower.add_triggers(scope, waiting)
        follower.add_starts(scope, waiting)


class _Follower:
    def __init__(
        self,
        step: Step,
        old: Graph,
        elements: Mapping[int, str],
        target: Rename,
        notes: list[str],
    ) -> None:
        self.step, self.old, self.elements = step, old, elements
        self.target, self.notes = target, notes

    def waiting(self) -> set[tuple[int, str]]:
        """Return what waits: the activation or scope that it waits beside, and its element."""
        return {
            (each.host or each.scope, self.target(self.elements[each.id]))
            for each in self.step.state.activations.values()
            if each.role in (*BESIDE, "start")
        }

    def wait_anew(self, activation: Activation) -> None:
        """Wait once more where what is waited for has changed."""
        before = _event(self.old.behaviors[self.elements[activation.id]])
        after = _event(self.step.behavior(activation))
        if after is None or not _waits(self.step, activation) or essence(before) == essence(after):
            return
        for child in list(activation.children):
            if self.step.state.activations[child].role == "part":
                self.step.remove(self.step.state.activations[child])
        if isinstance(activation.wait, ForMessage | ForSignal):
            self.step.effects.append(Unsubscribe(activation.id))
        activation.wait = None
        subscription.subscribe(self.step, activation, after)
        self.notes.append(f"{activation.node}: its event has changed; it waits again")

    def add_boundary_events(self, host: Activation, waiting: set[tuple[int, str]]) -> None:
        """Arm the boundary events that the new version adds to an activity in progress."""
        behavior = self.step.behavior(host)
        if not isinstance(behavior, Activity) or not _is_armed(host):
            return
        known = self.old.boundary_events.get(self.elements.get(host.id, ""), ())
        for boundary in behavior.boundary_events:
            if self._is_new(boundary, host.id, known, waiting):
                boundary.arm(self.step, host)
                self._note_added(boundary)

    def add_branches(self, gateway: Activation, waiting: set[tuple[int, str]]) -> None:
        """Wait for the events that the new version adds behind an event gateway."""
        behavior = self.step.behavior(gateway)
        if not isinstance(behavior, EventBasedGateway) or gateway.incident is not None:
            return
        before = self.old.behaviors[self.elements[gateway.id]]
        known = [self.old.targets[each] for each in before.flows]
        for flow in behavior.flows:
            target = self.step.graph.targets[flow]
            if self._is_new(target, gateway.id, known, waiting):
                behavior.await_branch(self.step, gateway, flow)
                self._note_added(target)
        if not gateway.children:
            raise BadData(f"{gateway.node}: nothing that it waits for is left in the new version")

    def add_triggers(self, scope: Scope, waiting: set[tuple[int, str]]) -> None:
        """Arm the event sub-processes that the new version adds to a scope."""
        if scope.interrupted or (scope.parent and not scope.owner):
            return
        known = self.old.triggers.get(self.elements.get(scope.id, ""), ())
        for trigger in self.step.graph.triggers.get(scope.element, ()):
            if self._is_new(trigger, scope.id, known, waiting):
                trigger.arm(self.step, scope)
                self._note_added(trigger)

    def add_starts(self, scope: Scope, waiting: set[tuple[int, str]]) -> None:
        """Wait at the start events that the new version adds to a pool that has not begun."""
        here = self.step.state.activations.values()
        if not any(each.role == "start" and each.scope == scope.id for each in here):
            return
        process = next(e for e in self.step.graph.processes if e.body.id == scope.element)
        known = [e for e in self.old.behaviors.values() if e.node.type == "startEvent"]
        for node in starting.alternatives(process):
            behavior = self.step.graph.behaviors[node.id]
            if self._is_new(behavior, scope.id, known, waiting):
                assert isinstance(behavior, CatchEvent | EventBasedGateway)
                behavior.wait(self.step, self.step.activate(behavior, scope, "start"))
                self._note_added(behavior)

    def _is_new(
        self,
        behavior: Behavior,
        beside: int,
        known: Iterable[Behavior],
        waiting: set[tuple[int, str]],
    ) -> bool:
        """Return whether something is to begin to wait: it does not, and has not happened."""
        event = _event(behavior)
        if event is None or subscription.is_thrown(event) or event.kind == "none":
            return False
        if any(self._is_beside(e, behavior, beside) for e in self.step.state.activations.values()):
            return False
        before = [each for each in known if self.target(each.id) == behavior.id]
        # What waited and was removed is of another kind now.
        return not any(_catches(each) for each in before) or (beside, behavior.id) in waiting

    @staticmethod
    def _is_beside(activation: Activation, behavior: Behavior, beside: int) -> bool:
        around = activation.host or activation.scope
        roles = (*BESIDE, "start")
        return (activation.node, around) == (behavior.id, beside) and activation.role in roles

    def _note_added(self, behavior: Behavior) -> None:
        self.notes.append(f"{behavior.id}: waited for from now on")


def _is_armed(host: Activation) -> bool:
    """Return whether an activity has come so far that its boundary events wait."""
    begins = host.stage in ("enter", "begin") or host.listening == "start"
    return host.role in ("", "compensation") and not begins


def _waits(step: Step, activation: Activation) -> bool:
    if activation.status != "waiting":
        return False
    children = (step.state.activations[each] for each in activation.children)
    kinds = ForTimer | ForMessage | ForSignal | ForCondition
    return isinstance(activation.wait, kinds) or any(each.role == "part" for each in children)


def _event(behavior: Behavior) -> EventDefinition | None:
    try:
        return behavior.awaited
    except BadData:
        return None


def _catches(behavior: Behavior) -> bool:
    event = _event(behavior)
    return event is not None and not subscription.is_thrown(event)


def kinds(behavior: Behavior) -> tuple[str, ...]:
    """Return the kinds of the events of an element."""
    event = _event(behavior)
    return () if event is None else tuple(each.kind for each in event.parts or (event,))


def essence(value: Any) -> Any:
    """Return what makes a part of a definition what it is: all of it but the lines of the file."""
    if is_dataclass(value):
        names = (each.name for each in fields(value) if each.name != "line")
        return type(value).__name__, *(essence(getattr(value, each)) for each in names)
    if isinstance(value, Mapping):
        return tuple((key, essence(each)) for key, each in sorted(value.items()))
    return tuple(map(essence, value)) if isinstance(value, tuple | list) else value
