"""The engine: state + event -> state + effects. No clock, no files, no processes.

The same events in the same order give the same state, wherever they are applied; that is
what makes the journal enough to go on from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlkit.bpmn.definition.model import Process
from mlkit.bpmn.engine.behaviors.starting import begin
from mlkit.bpmn.engine.behaviors.throw import broadcast
from mlkit.bpmn.engine.effects import (
    AnyEffect,
    Ask,
    Fetch,
    Listen,
    Offer,
    Run,
    Stop,
    Subscribe,
    Wake,
)
from mlkit.bpmn.engine.events import (
    AnyEvent,
    Assign,
    Cancel,
    Complete,
    Crash,
    Fire,
    Migrate,
    Outcome,
    Recover,
    Retry,
    Signal,
    Start,
    Suspend,
    Unsuspend,
)
from mlkit.bpmn.engine.graph import Graph
from mlkit.bpmn.engine.state import Activation, Defect, State, restore
from mlkit.bpmn.engine.step import Step
from mlkit.bpmn.engine.waits import ForMessage, ForPerson, ForSignal, ForWorker
from mlkit.bpmn.engine.work_file import WorkFile
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

    def apply(self, state: State, event: AnyEvent, at: float, *, replayed: bool = False) -> Outcome:
        """Step an instance on.

        Args:
            state: Changed in place; belongs to the caller.
            event: What happened. One whose activation is gone has no effect: it lost a
                race, for example against an interrupting timer.
            at: When, in seconds since 1970.
            replayed: Whether it was applied to this state before, and is applied again to come to
                the state that followed.

        Returns:
            What the runner must do, and what to add to the trace.

        Raises:
            BadData: The event does not fit the state; nothing has changed.
            OutOfTime: An expression takes too much time; the state is of no use any more.
        """
        step = Step(state, self.graph, at, replayed)
        self._take(step, event)
        # A crash moves no token, and must not fail itself; a migration reports what it led to.
        if type(event) not in _STILL:
            step.run()
        return Outcome(step.effects, step.trace)

    def _take(self, step: Step, event: AnyEvent) -> None:
        general = _GENERAL.get(type(event))
        if general is not None:
            general(self, step, event)
            return
        activation = step.state.activations.get(event.id)  # type: ignore[union-attr]
        if activation is not None:
            step.behavior(activation).event(step, activation, event)
            if isinstance(event, Complete) and event.files:
                _carry(step.state.files, event.files)

    def pending(self, state: State) -> list[AnyEffect]:
        """Return what waits to be done, for an instance that was loaded."""
        if state.status != "running":
            return []
        found = (_pending(each) for each in state.activations.values())
        return [each for each in found if each is not None]

    def _start(self, step: Step, event: Start) -> None:
        step.state.key, step.state.instance = event.key, event.instance
        step.state.external = list(event.external)
        for process in self.processes:
            start = event.node if event.node in process.body.nodes else ""
            begin(step, process, event.variables, start)

    def _signal(self, step: Step, event: Signal) -> None:
        broadcast(step, event)

    def _retry(self, step: Step, event: Retry) -> None:
        there, defects = step.state.activations, step.state.defects
        crashed = [each for each in defects if event.id in (0, each)]
        found = [e for e in there.values() if e.status == "incident" and e.id not in defects]
        wanted = [each for each in found if event.id in (0, each.id)]
        waiting = there.get(event.id)
        if waiting is not None and waiting.status == "pausing":
            step.behavior(waiting).event(step, waiting, Fire(waiting.id))
            return
        if not wanted and not crashed:
            raise BadData("there is no incident to try again")
        for each in wanted:
            if each.id in there:
                step.behavior(each).retry(step, each)
        for number in crashed:
            self._take_again(step, number)

    def _take_again(self, step: Step, number: int) -> None:
        """Take an event at which the engine failed, unless another has made it obsolete."""
        defect = step.state.defects.pop(number, None)
        activation = step.state.activations.get(number)
        if activation is not None and defect is not None:
            activation.status, activation.incident = defect.status, None
        if defect is not None:
            self._take(step, defect.event)

    def _crash(self, step: Step, event: Crash) -> None:
        """Keep the event at which the engine failed; a cancellation succeeds all the same."""
        state, failed = step.state, event.event
        if isinstance(failed, Cancel):
            step.effects += [Stop(e.id) for e in state.activations.values()]
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
                step.incident(activation, event.message, "event")

    def _cancel(self, step: Step, event: Cancel) -> None:
        if step.state.status != "running":
            raise BadData(f"the instance is {step.state.status} already")
        for root in step.state.roots():
            step.clear(root)
        step.state.status = "cancelled"
        step.state.error = {"code": "", "message": event.reason}

    def _assign(self, step: Step, event: Assign) -> None:
        root = next(iter(step.state.roots()), None)
        if root is None or step.state.status != "running":
            raise BadData(f"the instance is {step.state.effective_status} already")
        root.variables.update(event.variables)
        for name in event.removed:
            root.variables.pop(name, None)

    def _suspend(self, step: Step, event: Suspend) -> None:
        if step.state.status != "running" or step.state.suspended:
            raise BadData(f"the instance is {step.state.effective_status} already")
        step.state.suspended = True

    def _unsuspend(self, step: Step, event: Unsuspend) -> None:
        if step.state.status != "running" or not step.state.suspended:
            raise BadData("the instance is not suspended")
        step.state.suspended = False
        step.effects += [e for e in self.pending(step.state) if isinstance(e, Wake | Fetch)]

    def _migrate(self, step: Step, event: Migrate) -> None:
        """Take the state that the journal has: how it came about needs the older version too."""
        found = restore(event.state)
        for name in found.__struct_fields__:
            setattr(step.state, name, getattr(found, name))

    def _recover(self, step: Step, event: Recover) -> None:
        for each in list(step.state.activations.values()):
            behavior = step.behavior(each)
            if each.status == "working":
                behavior.recover(step, each)


def _carry(files: dict[str, WorkFile], changed: Mapping[str, WorkFile | None]) -> None:
    """Note what a task has changed in the working folder."""
    for path, each in changed.items():
        if each is None:
            files.pop(path, None)
        else:
            files[path] = each


_GENERAL: dict[type, Callable[[Engine, Step, Any], None]] = {
    Start: Engine._start,
    Signal: Engine._signal,
    Retry: Engine._retry,
    Cancel: Engine._cancel,
    Recover: Engine._recover,
    Crash: Engine._crash,
    Assign: Engine._assign,
    Suspend: Engine._suspend,
    Unsuspend: Engine._unsuspend,
    Migrate: Engine._migrate,
}


_STILL = frozenset((Crash, Migrate))


def _pending(activation: Activation) -> AnyEffect | None:
    if activation.status == "working":
        return Run(activation.id)
    if activation.status == "fetching":
        return Fetch(activation.id)
    if activation.due is not None:
        return Wake(activation.id, activation.due)
    return _make_request(activation) if activation.status == "waiting" else None


def _make_request(activation: Activation) -> AnyEffect | None:
    match activation.wait:
        case ForMessage(name, key):
            return Subscribe(activation.id, name, key)
        case ForSignal(name):
            return Listen(activation.id, name)
        case ForPerson():
            return Ask(activation.id)
        case ForWorker():
            return Offer(activation.id)
    return None
