"""The engine: state + event -> state + effects. No clock, no files, no processes.

The same events in the same order give the same state, wherever they are applied; that is
what makes the journal enough to go on from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlkit.bpmn.definition.model import Process
from mlkit.bpmn.engine.behaviors.activity import Activity
from mlkit.bpmn.engine.behaviors.starting import begin
from mlkit.bpmn.engine.behaviors.throw import broadcast
from mlkit.bpmn.engine.effects import AnyEffect, Ask, Fetch, Listen, Run, Stop, Subscribe, Wake
from mlkit.bpmn.engine.events import (
    AnyEvent,
    Cancel,
    Crash,
    Outcome,
    Recover,
    Retry,
    Signal,
    Start,
)
from mlkit.bpmn.engine.graph import Graph
from mlkit.bpmn.engine.state import Activation, Defect, State
from mlkit.bpmn.engine.step import Move
from mlkit.bpmn.engine.waits import ForMessage, ForPerson, ForSignal
from mlkit.errors import BadData


class Engine:
    """Runs instances of a definition; holds no instance itself.

    Args:
        processes: One process, or the pools of a collaboration, which run together.
        called: The processes that call activities run, by id.
    """

    def __init__(self, *processes: Process, called: Mapping[str, Process] | None = None) -> None:
        self.processes = processes
        self.graph = Graph(processes, called or {})

    def create(self) -> State:
        """Make the state of an instance before its start event."""
        return State(self.processes[0].id)

    def apply(self, state: State, event: AnyEvent, at: float) -> Outcome:
        """Move an instance on.

        Args:
            state: Changed in place; belongs to the caller.
            event: What happened. One whose activation is gone has no effect: it lost a
                race, for example against an interrupting timer.
            at: When, in seconds since 1970.

        Returns:
            What the runner must do, and what to add to the trace.

        Raises:
            BadData: The event does not fit the state; nothing has changed.
        """
        move = Move(state, self.graph, at)
        self._take(move, event)
        if not isinstance(event, Crash):  # It moves no token, and must not fail itself.
            move.run()
        return Outcome(move.effects, move.trace)

    def _take(self, move: Move, event: AnyEvent) -> None:
        general = _GENERAL.get(type(event))
        if general is not None:
            general(self, move, event)
            return
        activation = move.state.activations.get(event.id)  # type: ignore[union-attr]
        if activation is not None:
            move.behavior(activation).event(move, activation, event)

    def pending(self, state: State) -> list[AnyEffect]:
        """Return what waits to be done, for an instance that was loaded."""
        if state.status != "running":
            return []
        found = (_pending(each) for each in state.activations.values())
        return [each for each in found if each is not None]

    def _start(self, move: Move, event: Start) -> None:
        move.state.key, move.state.instance = event.key, event.instance
        for process in self.processes:
            start = event.node if event.node in process.body.nodes else ""
            begin(move, process, event.variables, start)

    def _signal(self, move: Move, event: Signal) -> None:
        broadcast(move, event)

    def _retry(self, move: Move, event: Retry) -> None:
        there, defects = move.state.activations, move.state.defects
        crashed = [each for each in defects if event.id in (0, each)]
        found = [e for e in there.values() if e.status == "incident" and e.id not in defects]
        wanted = [each for each in found if event.id in (0, each.id)]
        if not wanted and not crashed:
            raise BadData("there is no incident to try again")
        for each in wanted:
            if each.id in there:
                move.behavior(each).retry(move, each)
        for number in crashed:
            self._take_again(move, number)

    def _take_again(self, move: Move, number: int) -> None:
        """Take an event at which the engine failed, unless another has made it obsolete."""
        defect = move.state.defects.pop(number, None)
        activation = move.state.activations.get(number)
        if activation is not None and defect is not None:
            activation.status, activation.incident = defect.status, None
        if defect is not None:
            self._take(move, defect.event)

    def _crash(self, move: Move, event: Crash) -> None:
        """Keep the event at which the engine failed; a cancellation succeeds all the same."""
        state, failed = move.state, event.event
        if isinstance(failed, Cancel):
            move.effects += [Stop(e.id) for e in state.activations.values()]
            state.activations, state.scopes, state.defects = {}, {}, {}
            state.status, state.error = "cancelled", {"code": "", "message": failed.reason}
        elif not isinstance(failed, Retry) and all(
            e.event != failed for e in state.defects.values()
        ):
            activation = state.activations.get(getattr(failed, "id", 0))
            number = state.next_id() if activation is None else activation.id
            status = "" if activation is None else activation.status
            state.defects[number] = Defect(failed, event.message, status)
            if activation is not None:
                move.incident(activation, event.message, "event")

    def _cancel(self, move: Move, event: Cancel) -> None:
        if move.state.status != "running":
            raise BadData(f"the instance is {move.state.status} already")
        for root in move.state.roots():
            move.clear(root)
        move.state.status = "cancelled"
        move.state.error = {"code": "", "message": event.reason}

    def _recover(self, move: Move, event: Recover) -> None:
        for each in list(move.state.activations.values()):
            behavior = move.behavior(each)
            if each.status == "working" and isinstance(behavior, Activity):
                behavior.recover(move, each)


_GENERAL: dict[type, Callable[[Engine, Move, Any], None]] = {
    Start: Engine._start,
    Signal: Engine._signal,
    Retry: Engine._retry,
    Cancel: Engine._cancel,
    Recover: Engine._recover,
    Crash: Engine._crash,
}


def _pending(activation: Activation) -> AnyEffect | None:
    if activation.status == "working":
        return Run(activation.id)
    if activation.status == "fetching":
        return Fetch(activation.id)
    if activation.due is not None:
        return Wake(activation.id, activation.due)
    return _asked(activation) if activation.status == "waiting" else None


def _asked(activation: Activation) -> AnyEffect | None:
    match activation.wait:
        case ForMessage(name, key):
            return Subscribe(activation.id, name, key)
        case ForSignal(name):
            return Listen(activation.id, name)
        case ForPerson():
            return Ask(activation.id)
    return None
