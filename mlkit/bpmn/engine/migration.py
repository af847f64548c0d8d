"""Moving an instance to another version of its definition.

Where its tokens are is what counts: each element that holds one must be in the other version, of
the same kind and in the same place, or be mapped to one that is. What it went through before stays
as it was. What waits beside the tokens (boundary events, event sub-processes, the events behind a
gateway) follows the other version: see `mlkit.bpmn.engine.rearming`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mlkit.bpmn.definition.model import Loop, SequenceFlow
from mlkit.bpmn.engine import rearming
from mlkit.bpmn.engine.behaviors import inner_of
from mlkit.bpmn.engine.behaviors.ad_hoc import AdHocSubProcess
from mlkit.bpmn.engine.behaviors.behavior import Behavior
from mlkit.bpmn.engine.behaviors.call import CallActivity
from mlkit.bpmn.engine.events import Outcome
from mlkit.bpmn.engine.graph import Graph, scopes
from mlkit.bpmn.engine.rearming import BESIDE, essence, kinds
from mlkit.bpmn.engine.state import Activation, Done, Scope, State
from mlkit.bpmn.engine.step import Step
from mlkit.bpmn.engine.waits import ForStart
from mlkit.errors import BadData

Tokens = list[tuple[Scope, str]]


@dataclass(slots=True)
class Migration:
    """What moving an instance comes to.

    Attributes:
        state: The instance afterwards; of no use where there are problems.
        outcome: What follows from it.
        places: By activation that holds a token: its element before, and afterwards.
        problems: What prevents it, by the element that is meant, a line each.
        notes: What else changes for the instance, a line each.
    """

    state: State
    outcome: Outcome = field(default_factory=lambda: Outcome([], []))
    places: dict[int, tuple[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def migrate(
    old: Graph, new: Graph, state: State, mapping: Mapping[str, str], at: float
) -> Migration:
    """Move an instance from one version to another.

    Args:
        old: The version that it has.
        new: The version that it is to have.
        state: The instance; it is not changed.
        mapping: Elements and flows that are called something else in the new version.
        at: When, in seconds since 1970.
    """
    # A problem may show only after half of the state has been renamed, or in the step that
    # follows: the instance itself is replaced as a whole, or not touched.
    copy = msgspec.json.decode(msgspec.json.encode(state), type=State)
    mover = _Mover(old, new, copy, mapping)
    mover.check_mapping()
    tokens = mover.move()
    found = mover.found
    if not found.problems:
        step = Step(copy, new, at)
        try:
            _settle(step, mover, tokens)
        except BadData as error:
            found.problems.append(error.message)
        found.outcome = Outcome(step.effects, step.trace)
    return found


def _settle(step: Step, mover: _Mover, tokens: Tokens) -> None:
    """Let what waits follow the new version, then whatever may go on there."""
    stopped = {each.id for each in step.state.activations.values() if each.incident}
    rearming.follow(step, mover.old, mover.elements, mover.dropped, mover.target, mover.found.notes)
    for each in step.state.activations.values():
        if each.incident is not None and each.id not in stopped:
            mover.found.problems.append(each.incident.message)
    if mover.found.problems:
        return
    for scope, flow in tokens:  # A join may have got fewer or more flows to wait for.
        step.graph.targets[flow].arrive(step, scope, flow)
    step.run()


class _Mover:
    """Renames the elements of a state.

    Attributes:
        elements: By activation and by scope, the element of the old version.
        dropped: What waits beside tokens and is not in the new version.
    """

    def __init__(self, old: Graph, new: Graph, state: State, mapping: Mapping[str, str]) -> None:
        self.old, self.new, self.state, self.mapping = old, new, state, mapping
        self.found = Migration(state)
        self.elements = {each.id: each.node for each in state.activations.values()}
        self.elements |= {each.id: each.element for each in state.scopes.values()}
        self.dropped: list[Activation] = []
        self._before, self._after = _places(old), _places(new)
        self._old_flows, self._new_flows = _flows(old), _flows(new)

    def target(self, element: str) -> str:
        """Return what an element of the old version is called in the new one."""
        return self.mapping.get(element, element)

    def check_mapping(self) -> None:
        """Refuse names that are in neither version."""
        old = {*self._before, *self._before.values(), *self._old_flows}
        new = {*self._after, *self._after.values(), *self._new_flows}
        for source, target in self.mapping.items():
            if source not in old:
                self._problem(source, "is mapped, but is not in the instance's version")
            if target not in new:
                self._problem(
                    target, f"{source} is mapped to it, but the new version has no such element"
                )

    def _problem(self, element: str, why: str) -> None:
        line = f"{element}: {why}"
        if line not in self.found.problems:
            self.found.problems.append(line)

    # -- activations and scopes ------------------------------------------------------------

    def move(self) -> Tokens:
        """Rename all; return the tokens at joins, which are to arrive there once more."""
        for activation in list(self.state.activations.values()):
            if activation.role != "part":
                self._move(activation)
        for each in self.state.activations.values():
            if each.role == "part" and each.host in self.state.activations:
                each.node = self.target(each.node)
        tokens: Tokens = []
        for scope in self.state.scopes.values():
            tokens += self._move_scope(scope)
        self._move_messages()
        return tokens

    def _move(self, activation: Activation) -> None:
        before = self.old.behaviors[activation.node]
        after = self.new.behaviors.get(self.target(activation.node))
        reason = self._reason(activation, before, after)
        # What waits beside a token (such as a boundary timer) holds no progress: without a
        # counterpart it is dropped, where a token without one prevents the move.
        if reason and activation.role in BESIDE:
            self.dropped.append(activation)
            return
        if reason or after is None:
            self._problem(before.id, reason)
            return
        if activation.role not in BESIDE:
            self.found.places[activation.id] = before.id, after.id
        activation.node = after.id
        activation.todo = self._rename_done(activation.todo)
        self._move_work(activation, before, after)

    def _reason(self, activation: Activation, before: Behavior, after: Behavior | None) -> str:
        """Return why an activation cannot be one of the new version; empty where it can."""
        if activation.status in ("working", "fetching"):
            return "it runs now: wait until its script has ended, or suspend the instance first"
        if after is None:
            return "it holds a token, but the new version has no such element: map it to one"
        return _difference(before, after) or self._explain_misplacement(activation, after)

    def _explain_misplacement(self, activation: Activation, after: Behavior) -> str:
        host = self.state.activations.get(activation.host)
        if activation.role == "guard" and host is not None:
            attached = after.node.attached_to == self.target(self.elements[host.id])
            return "" if attached else "it is attached to another activity in the new version"
        if activation.role == "branch" and host is not None:
            gateway = self.new.behaviors.get(self.target(self.elements[host.id]))
            flows = () if gateway is None else gateway.flows
            is_there = any(self.new.targets[each].id == after.id for each in flows)
            return "" if is_there else "it does not follow the gateway in the new version"
        around = self.target(self.elements[activation.scope])
        if activation.role == "compensation" or self._after[after.id] == around:
            return ""
        return f"it is in {self._after[after.id]} in the new version, not in {around}"

    def _move_work(self, activation: Activation, before: Behavior, after: Behavior) -> None:
        if activation.heard and essence(before.node.listeners) != essence(after.node.listeners):
            self._problem(before.id, "its listeners differ, and it is between two of them")
        if isinstance(activation.wait, ForStart) and activation.wait.queue:
            queue = activation.wait.queue = [self.target(each) for each in activation.wait.queue]
            inner = inner_of(after)
            known = inner.startable if isinstance(inner, AdHocSubProcess) else set()
            for each in queue:
                if each not in known:
                    self._problem(each, f"{before.id} is to start it, but the new version cannot")
        if activation.iterations is not None and isinstance(after.node.loop, Loop):
            self._gather(activation, after.node.loop)

    def _gather(self, activation: Activation, loop: Loop) -> None:
        """Let a multi-instance activity gather results where the new version does."""
        iterations = activation.iterations
        assert iterations is not None
        if loop.output_collection is None:
            iterations.outputs = None
        elif iterations.outputs is None:
            iterations.outputs = [None] * len(iterations.items)

    def _move_scope(self, scope: Scope) -> Tokens:
        before = scope.element
        scope.element = self.target(before)
        owner = self.state.activations.get(scope.owner)
        if owner is not None:
            self._check_inside(scope, before, self.new.behaviors.get(owner.node))
        elif not scope.parent and all(e.body.id != scope.element for e in self.new.processes):
            self._problem(before, "it runs, but the new version has no such pool")
        scope.done = self._rename_done(scope.done)
        scope.resetting = {
            self.target(gateway): [e for e in map(self._flow, flows) if e is not None]
            for gateway, flows in scope.resetting.items()
        }
        # Whether a join opens depends on all its flows, which may be others now. So its tokens
        # are taken away, and arrive again once every scope has its new names.
        waiting, scope.arrived = scope.arrived, {}
        return [
            (scope, flow)
            for each, count in waiting.items()
            for flow in [self._find_joined_flow(each)] * count
            if flow is not None
        ]

    def _check_inside(self, scope: Scope, before: str, owner: Behavior | None) -> None:
        inner = None if owner is None else inner_of(owner)
        known: set[str] = set()
        if isinstance(inner, CallActivity):
            known = set(inner.bodies)
        elif inner is not None and inner.node.body is not None:
            known = {inner.node.body.id}
        if owner is not None and scope.element not in known:
            names = ", ".join(sorted(known)) or "nothing"
            self._problem(before, f"it runs inside {owner.id}, which has {names} there: map it")

    # -- joins, compensation, messages -----------------------------------------------------

    def _find_joined_flow(self, flow: str) -> str | None:
        """Return the flow of a token that waits at a join; else note the problem."""
        before = self.old.targets[flow]
        found = self._flow(flow)
        after = None if found is None else self.new.targets.get(found)
        if after is None:
            why = f"a token waits there that came along {flow}, which the new version does not have"
            self._problem(before.id, f"{why}: map it")
        elif difference := _difference(before, after):
            self._problem(before.id, difference)
        return found

    def _flow(self, flow: str) -> str | None:
        """Return what a flow is in the new version: as it is mapped, by its ends, or by its id.

        The ends come first: editors give a flow that is drawn again a new id, and may give an old
        id to another flow. The id decides only among several flows between the same two nodes, or
        where the flow has a new source and no other old flow has these ends.
        """
        before = self._old_flows.get(flow)
        if before is None or flow in self.mapping:
            return self.mapping.get(flow)
        ends = self._ends(before)
        between = [e.id for e in self._new_flows.values() if (e.source, e.target) == ends]
        named = self._new_flows.get(flow)
        if len(between) == 1 or named is None:
            return between[0] if len(between) == 1 else None
        others = {self._ends(e) for e in self._old_flows.values() if e is not before}
        is_free = named.target == ends[1] and (named.source, named.target) not in others
        return flow if flow in between or is_free else None

    def _ends(self, flow: SequenceFlow) -> tuple[str, str]:
        return self.target(flow.source), self.target(flow.target)

    def _rename_done(self, done: list[Done]) -> list[Done]:
        """Rename what can be compensated."""
        for each in done:
            before, each.node = each.node, self.target(each.node)
            if each.node not in self.new.behaviors:
                why = "it can be compensated, but the new version has no such element: map it"
                self._problem(before, why)
            each.inner = self._rename_done(each.inner)
        return done

    def _move_messages(self) -> None:
        for message in list(self.state.pending_messages):
            recipients = [self.target(each) for each in message.recipients]
            message.recipients = [each for each in recipients if self.new.runs(each)]
            if not message.recipients:
                self.state.pending_messages.remove(message)
                self.found.notes.append(f"the message {message.name} has no recipient any more")


def _difference(before: Behavior, after: Behavior) -> str:
    """Return what makes two elements different kinds of things, empty where nothing does."""
    if before.node.type != after.node.type:
        return f"it is a {before.node.type}, but a {after.node.type} in the new version"
    if type(before) is not type(after) or type(inner_of(before)) is not type(inner_of(after)):
        return "it is executed differently in the new version (loop, worker or script)"
    if kinds(before) != kinds(after):
        return "it has an event of another kind in the new version"
    if _way(before) != _way(after):
        return "its iterations, events or activities differ in the new version"
    return ""


def _way(behavior: Behavior) -> tuple[Any, ...]:
    loop = behavior.node.loop
    counts = (loop.sequential, loop.counts, loop.first) if isinstance(loop, Loop) else ()
    inner = inner_of(behavior)
    is_ordered = isinstance(inner, AdHocSubProcess) and inner.rules.sequential
    return behavior.node.parallel, counts, is_ordered


def _places(graph: Graph) -> dict[str, str]:
    """Return, by element, the scope that it lies in."""
    return {node: body.id for body in _bodies(graph) for node in body.nodes}


def _flows(graph: Graph) -> dict[str, SequenceFlow]:
    return {each.id: each for body in _bodies(graph) for each in body.flows.values()}


def _bodies(graph: Graph) -> list[Any]:
    processes = (*graph.processes, *graph.called.values())
    return [body for process in processes for body in scopes(process.body)]
