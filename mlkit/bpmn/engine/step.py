"""One step: everything that follows from one event until all tokens wait again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mlkit.bpmn.engine.behaviors import starting
from mlkit.bpmn.engine.effects import AnyEffect, Stop, Unsubscribe, Withdraw
from mlkit.bpmn.engine.events import Hop
from mlkit.bpmn.engine.state import Activation, PendingMessage, Scope, State
from mlkit.bpmn.engine.variables import Variables, require_boolean
from mlkit.bpmn.engine.waits import ForMessage, ForSignal, ForWorker, Incident
from mlkit.bpmn.expressions import Expression, TimeLimit
from mlkit.errors import BadData, MlkitError
from mlkit.workers.child.values import Unstorable, pack

if TYPE_CHECKING:
    from mlkit.bpmn.definition.model import EventDefinition, Listener
    from mlkit.bpmn.definition.model import Scope as Body
    from mlkit.bpmn.engine.behaviors.behavior import Behavior
    from mlkit.bpmn.engine.graph import Graph

MAX_HOPS = 10_000
# What an evaluator does not foresee (such as infinity as an integer) stops this instance alone.
_UNFORESEEN = (
    ArithmeticError, ValueError, TypeError, LookupError, AttributeError, RecursionError,
    MemoryError,
)  # fmt: skip


class OutOfTime(MlkitError):
    """An expression took more time than it may, so that the step cannot be taken.

    No behaviour takes it for a failing expression: how fast a machine is would decide what an
    instance does, and a replay elsewhere would come to another end.
    """

    exit_code = BadData.exit_code


class Step:
    """A step in progress; behaviours act on the state through it.

    Args:
        state: Changed in place.
        graph: The definition.
        at: When the event happened, in seconds since 1970.
        replayed: Whether it has been taken before, so that time is no limit.
    """

    __slots__ = (
        "at", "deferred", "effects", "element", "finished", "graph", "listening", "queue",
        "replayed", "state", "trace",
    )  # fmt: skip

    def __init__(self, state: State, graph: Graph, at: float, replayed: bool = False) -> None:
        self.state = state
        self.graph = graph
        self.at = at
        self.replayed = replayed
        self.effects: list[AnyEffect] = []
        self.trace: list[Hop] = []
        self.queue: deque[tuple[Scope, str]] = deque()
        self.deferred: deque[int] = deque()
        self.finished = False
        self.element = ""
        self.listening: str | None = None

    # -- tokens ------------------------------------------------------------------------

    def run(self) -> None:
        """Move tokens until every one of them waits."""
        budget = MAX_HOPS
        # Three kinds of work, in this order, until none is left. Tokens on flows first: what a join
        # or a condition decides depends on where tokens rest, so that it may look only when none
        # moves. Then one deferred continuation (such as the next iteration of a loop), which would
        # nest without end if it ran at once. Last the watchers (inclusive joins, conditions,
        # messages between pools); each may set tokens moving, and everything begins again.
        while True:
            while self.queue:
                scope, flow = self.queue.popleft()
                if scope.id not in self.state.scopes:
                    continue
                budget -= 1
                if budget < 0:
                    problem = f"no wait within {MAX_HOPS} steps: an endless loop?"
                    self.park(self.graph.targets[flow], scope, problem)
                else:
                    (self.graph.takes.get(flow) or self.graph.targets[flow]).arrive(
                        self, scope, flow
                    )
            if self.deferred:
                self._resume(self.deferred.popleft())
                continue
            watchers = self.graph.watchers
            if not watchers or not any(look(self) for look in watchers):
                break
        if self.finished:
            self._complete()

    def _resume(self, activation: int) -> None:
        found = self.state.activations.get(activation)
        if found is not None:
            self.behavior(found).resume(self, found)

    def _complete(self) -> None:
        """End the instance once every process in it has ended or has never begun."""
        roots = self.state.roots()
        if self.state.status != "running" or not all(map(self._is_over, roots)):
            return
        waits = [starting.let_listeners_end(self, root) for root in roots]
        if any(waits):
            return
        for root in roots:
            body = next((e.body for e in self.graph.processes if e.body.id == root.element), None)
            if body is not None:
                self.hear_scope(body, root, "end")
            self.clear(root)
        if self.state.status == "running":
            self.state.status = "completed"

    def _is_over(self, root: Scope) -> bool:
        inside = [each for each in self.state.activations.values() if each.scope == root.id]
        begun = any(each.role not in ("start", "trigger", "branch", "part") for each in inside)
        return not root.live or not (begun or root.arrived)

    def begin_by(self, pending: PendingMessage) -> bool:
        """Begin the pool that a message begins; return whether there is one."""
        for process in self.graph.processes:
            for node in starting.by_message(process, pending.name):
                if {node, process.id} & set(pending.recipients):
                    starting.begin(self, process, pending.variables, node)
                    return True
        return False

    def open(self, scope: Scope) -> None:
        """Begin a scope and arm its event sub-processes."""
        self.state.scopes[scope.id] = scope
        for each in self.graph.triggers.get(scope.element, ()):
            each.arm(self, scope)

    def put(self, scope: Scope, flows: tuple[str, ...]) -> None:
        """Replace one token of a scope by one on each of these flows."""
        scope.live += len(flows) - 1
        for flow in flows:
            self.queue.append((scope, flow))
        if scope.live == 0:
            self.finish(scope)

    def park(self, behavior: Behavior, scope: Scope, problem: str) -> None:
        """Keep a token that cannot enter its node as an incident."""
        activation = self.activate(behavior, scope)
        self.incident(activation, problem, "enter")

    def finish(self, scope: Scope) -> None:
        """End a scope in which no token is left."""
        if not scope.owner:
            self.finished = True
            return
        owner = self.state.activations[scope.owner]
        self.behavior(owner).finish(self, owner, scope)

    # -- activations -------------------------------------------------------------------

    def behavior(self, activation: Activation) -> Behavior:
        """Return the behaviour of the node that is active."""
        return self.graph.behaviors[activation.node]

    def activate(
        self, behavior: Behavior, scope: Scope, role: str = "", host: Activation | None = None
    ) -> Activation:
        """Begin an activation, as the child of `host` if one is given."""
        activation = Activation(
            self.state.next_id(), behavior.id, scope.id, role=role, began=self.at
        )
        if host is not None:
            activation.host = host.id
            activation.iteration = host.iteration
            host.children.append(activation.id)
        elif scope.owner:
            activation.iteration = self.state.activations[scope.owner].iteration
        self.state.activations[activation.id] = activation
        return activation

    def remove(self, activation: Activation) -> None:
        """End an activation and whatever belongs to it, without a trace of its own."""
        for child in activation.children:
            found = self.state.activations.get(child)
            if found is not None:
                self.terminate(found)
        if activation.body:
            self.clear(self.state.scopes[activation.body])
            del self.state.scopes[activation.body]
        if activation.local:
            del self.state.scopes[activation.local]
        if activation.host:
            self._forget(activation)
        if activation.wait is not None:
            self._end_wait(activation)
        if self.state.defects:
            self.state.defects.pop(activation.id, None)
        del self.state.activations[activation.id]

    def _end_wait(self, activation: Activation) -> None:
        if isinstance(activation.wait, ForMessage | ForSignal):
            self.effects.append(Unsubscribe(activation.id))
        elif isinstance(activation.wait, ForWorker):
            self.effects.append(Withdraw(activation.id))

    def _forget(self, activation: Activation) -> None:
        host = self.state.activations.get(activation.host)
        if host is not None and activation.id in host.children:
            host.children = [each for each in host.children if each != activation.id]

    def terminate(self, activation: Activation) -> None:
        """End an activation before its time."""
        if activation.status in ("working", "pausing"):
            self.effects.append(Stop(activation.id))
        if activation.role in ("", "iteration"):
            self._hear_end(activation)
        self.remove(activation)
        if activation.role in ("", "iteration"):
            self.step(activation, "terminated")

    def _hear_end(self, activation: Activation) -> None:
        """Evaluate what listens to the end of what is ended early; that it fails stops nothing.

        As in Camunda 7, its outputs are set too.
        """
        behavior = self.behavior(activation)
        behavior = getattr(behavior, "inner", behavior) if activation.role else behavior
        for event in ("delete", "end") if behavior.listeners else ():
            with suppress(BadData):
                behavior.hear(self, self.variables(activation), event)
        if behavior.node.shares and behavior.node.outputs and activation.local:
            with suppress(BadData):
                behavior.map_local_outputs(self, activation)

    def clear(self, scope: Scope) -> None:
        """End everything inside a scope."""
        for each in list(self.state.activations.values()):
            if each.scope == scope.id and each.id in self.state.activations and not each.host:
                self.terminate(each)
        self.queue = deque(each for each in self.queue if each[0] is not scope)
        scope.arrived.clear()
        scope.resetting.clear()
        scope.live = 0

    def step(self, activation: Activation, event: str) -> None:
        """Add an activation's end to the trace."""
        attempt, iteration = activation.attempt, activation.iteration
        began, by = activation.began, activation.by
        self.trace.append(Hop(activation.node, event, iteration, attempt, began, by))

    def record_decision(self, scope: int, record: dict[str, Any]) -> None:
        """Add a decision to the trace: what it had, what it required, and what came of it."""
        owner = next((e for e in self.state.activations.values() if e.local == scope), None)
        iteration = owner.iteration if owner else ""
        self.trace.append(Hop(self.element, "decided", iteration, 0, self.at, decision=record))

    def hear(self, listeners: tuple[Listener, ...], scope: int, event: str) -> None:
        """Evaluate the listeners of an event, in order; those that workers do are left out.

        Raises:
            BadData: One fails.
        """
        for each in listeners:
            if each.event == event and each.expression is not None:
                self.listening = event
                try:
                    self.evaluate(each.expression, scope)
                finally:
                    self.listening = None

    def hear_scope(self, body: Body, scope: Scope, event: str) -> None:
        """Evaluate what listens to a process; where that fails, nothing goes on by it."""
        if body.listeners:
            try:
                self.hear(body.listeners, scope.id, event)
            except BadData as error:
                self.state.status = "failed"
                self.state.error = {"code": "", "message": f"{body.id}: {error.message}"}

    def record_passage(self, behavior: Behavior, scope: Scope) -> None:
        """Add a node to the trace that a token passed without waiting."""
        owner = self.state.activations.get(scope.owner)
        iteration = owner.iteration if owner else ""
        self.trace.append(Hop(behavior.id, "completed", iteration, 0, self.at))

    def incident(
        self,
        activation: Activation,
        problem: str,
        stage: str,
        received: dict[str, Any] | None = None,
    ) -> None:
        """Stop an activation until an operator acts.

        Args:
            activation: What stops.
            problem: Why.
            stage: What a retry does again: see `Incident`.
            received: What came with the event that could not be taken.
        """
        activation.status = "incident"
        activation.incident = Incident(problem, stage, received or {})

    def run_guarded(self, activation: Activation, stage: str, action: Callable[[], None]) -> None:
        """Do something; if an expression in it fails, stop the activation instead."""
        try:
            action()
        except BadData as error:
            self.incident(activation, f"{activation.node}: {error.message}", stage)

    # -- variables ---------------------------------------------------------------------

    def variables(self, activation: Activation) -> int:
        """Return the scope in which an activation reads and writes."""
        return activation.local or activation.scope

    def evaluate(self, expression: Expression, scope: int) -> Any:
        """Return an expression's value, ready to be stored.

        Raises:
            BadData: It fails, or its value cannot be stored.
            OutOfTime: It takes too much time.
        """
        try:
            return pack(expression.evaluate(self._lookup(scope), self._now()))
        except Unstorable as error:
            raise BadData(
                f"{expression.text!r} has a value that cannot be stored: {error}"
            ) from error
        except TimeLimit as error:
            raise self._out_of_time(error) from None
        except BadData:
            raise
        except _UNFORESEEN as error:
            raise BadData(f"{expression.text!r}: {type(error).__name__}: {error}") from error

    def _out_of_time(self, error: TimeLimit) -> OutOfTime:
        return OutOfTime(f"{self.element}: {error.message}" if self.element else error.message)

    def holds(self, expression: Expression, scope: int) -> bool:
        """Evaluate a condition."""
        try:
            if expression.language in ("juel", "javascript"):
                return require_boolean(
                    expression, expression.evaluate(self._lookup(scope), self._now())
                )
            return expression.holds(self._lookup(scope), self._now())
        except TimeLimit as error:
            raise self._out_of_time(error) from None
        except BadData:
            raise
        except _UNFORESEEN as error:
            raise BadData(f"{expression.text!r}: {type(error).__name__}: {error}") from error

    @contextmanager
    def names(self, scope: Scope, **values: Any) -> Iterator[int]:
        """Let expressions see some more names for a while; gives the scope to evaluate in."""
        inner = Scope(-1, scope.element, scope.id, variables=values)
        self.state.scopes[inner.id] = inner
        try:
            yield inner.id
        finally:
            del self.state.scopes[inner.id]

    @contextmanager
    def behind(self, scope: Scope) -> Iterator[dict[str, Any]]:
        """Let expressions see what is put into a dictionary, behind the variables of a scope.

        As in Camunda 7, an output sees those before it, unless a local variable hides them.
        """
        parent, between = scope.parent, Scope(-2, scope.element, scope.parent)
        self.state.scopes[between.id], scope.parent = between, between.id
        try:
            yield between.variables
        finally:
            scope.parent = parent
            del self.state.scopes[between.id]

    def text(self, expression: Expression | None, scope: int) -> str:
        """Return an expression's value as text; nothing for no expression."""
        value = None if expression is None else self.evaluate(expression, scope)
        if isinstance(value, dict) and len(value) == 1:
            value = next(iter(value.values()))
        return "" if value is None else str(value)

    def correlation_key(self, event: EventDefinition, scope: int) -> str:
        """Return the key that a message is sent with or awaited by: the business key by default.

        Several values are joined by commas; a comma or backslash within one gets a backslash.
        """
        values = [self.text(each, scope) for each in event.keys]
        if len(values) > 1:
            values = [each.replace("\\", "\\\\").replace(",", "\\,") for each in values]
        return ",".join(values) if values else self.state.key

    def _lookup(self, scope: int) -> Variables:
        return Variables(self, scope)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)
