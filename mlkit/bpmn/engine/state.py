"""The state of an instance: its tokens, the activities in progress, its variables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from mlkit.bpmn.engine.events import AnyEvent
from mlkit.bpmn.engine.waits import AnyWait, ForRetry, ForTimer, Incident, Iterations
from mlkit.bpmn.engine.work_file import WorkFile


class Done(msgspec.Struct, omit_defaults=True):
    """A completed activity that can be compensated.

    Attributes:
        node: Its id.
        variables: Its own variables when it completed.
        inner: What completed inside it, in order.
        order: Larger than that of all that completed before it.
    """

    node: str
    variables: dict[str, Any] = {}
    inner: list[Done] = []
    order: int = 0


class PendingMessage(msgspec.Struct, omit_defaults=True):
    """A message that went along message flows and that nobody has taken yet.

    Attributes:
        recipients: The nodes and processes that may take it.
    """

    recipients: list[str]
    name: str
    key: str = ""
    variables: dict[str, Any] = {}


class Scope(msgspec.Struct, omit_defaults=True):
    """A running process or sub-process, or the local variables of one activity.

    Attributes:
        parent: The surrounding scope, 0 for the process.
        owner: The activation that ends when this scope does, 0 for the process.
        live: Tokens on flows plus activations that hold one.
        isolated: Whether names that are set inside stay inside.
        called: Whether what surrounds it is not seen from inside (a called process).
        interrupted: Whether an event sub-process has ended what ran here.
        ended: Whether the end of the process has been heard by its listeners.
        arrived: Tokens that wait at joins, by flow.
        done: What completed here and can be compensated, in order.
        resetting: By complex gateway that has opened, the flows that it had tokens from.
    """

    id: int
    element: str
    parent: int = 0
    owner: int = 0
    live: int = 0
    isolated: bool = False
    called: bool = False
    interrupted: bool = False
    ended: bool = False
    variables: dict[str, Any] = {}
    arrived: dict[str, int] = {}
    done: list[Done] = []
    resetting: dict[str, list[str]] = {}


class Defect(msgspec.Struct, omit_defaults=True):
    """An event at which the engine itself failed.

    Attributes:
        status: That of its activation before.
    """

    event: AnyEvent
    message: str
    status: str = ""


class Activation(msgspec.Struct, omit_defaults=True):
    """A flow node in progress.

    Attributes:
        scope: Where its token is.
        status: `working` (a script or callable runs), `waiting` (for a person, worker, time,
            message or signal), `open` (something inside it runs), `pausing` (before
            another attempt), `fetching` (the values of data stores), `incident`.
        role: `""` holds a token; `iteration` of a loop, `guard` (an armed boundary event),
            `trigger` (an armed event sub-process), `branch` of an event gateway, `part` of a
            multiple event, `start` event that waits, `compensation` handler that runs,
            `listener` of a process or flow.
        host: The activation that it belongs to, for the roles that have one.
        local: The scope of its own variables, 0 where it has none.
        body: The scope of a sub-process.
        listening: The moment (`start`, `end`, ...) whose listeners a worker runs, if one does.
        heard: How many of its listeners have been gone through at that moment.
        chosen: Where its token goes on once its listeners are done, where that is known before.
        began: When it began, in seconds since 1970.
        by: Who completed it, where a person did.
        children: Its boundary events, iterations, branches or parts.
        wait: What it waits for.
        part: Which part of a multiple event it waits for, for the role `part`.
        incident: Why it has stopped.
        iterations: How far a multi-instance activity is.
        todo: What it still has to compensate, last first.
        place: The node that a process ended at, for what listens to its end.
    """

    id: int
    node: str
    scope: int
    status: str = "open"
    role: str = ""
    host: int = 0
    local: int = 0
    body: int = 0
    attempt: int = 0
    iteration: str = ""
    listening: str = ""
    heard: int = 0
    chosen: list[str] | None = None
    began: float = 0.0
    by: str = ""
    children: list[int] = []
    wait: AnyWait | None = None
    part: int = 0
    incident: Incident | None = None
    iterations: Iterations | None = None
    todo: list[Done] = []
    place: str = ""

    @property
    def due(self) -> float | None:
        """The moment that its timer fires, None where no timer runs."""
        if self.status in ("waiting", "pausing") and isinstance(self.wait, ForTimer | ForRetry):
            return self.wait.due
        return None

    @property
    def stage(self) -> str:
        """What a retry does again, empty where nothing has stopped it."""
        return "" if self.incident is None else self.incident.stage


class State(msgspec.Struct, omit_defaults=True):
    """All of an instance.

    Attributes:
        process: The id of its definition, or of the first of several pools.
        status: `running`, `completed`, `failed` or `cancelled`.
        key: The business key.
        instance: What the instance is called outside.
        error: The uncaught BPMN error, or the reason of a cancellation.
        sequence: The last id that was given out.
        pending_messages: Messages between its pools that nobody has taken yet.
        external: The names of the callables whose work external workers do.
        defects: Events at which the engine failed, by their activation or a number of their own.
        suspended: Whether nothing may begin until an operator lets the instance go on.
        files: What is in its working folder, by path, where hosts share it.
    """

    process: str
    status: str = "running"
    key: str = ""
    instance: str = ""
    error: dict[str, str] | None = None
    sequence: int = 0
    external: list[str] = []
    scopes: dict[int, Scope] = {}
    activations: dict[int, Activation] = {}
    pending_messages: list[PendingMessage] = msgspec.field(default_factory=list, name="posts")
    defects: dict[int, Defect] = {}
    suspended: bool = False
    files: dict[str, WorkFile] = {}

    def next_id(self) -> int:
        """Return out an id."""
        self.sequence += 1
        return self.sequence

    def chain(self, scope: int) -> Iterator[Scope]:
        """Go through a scope and those that are seen from it, innermost first."""
        while scope:
            found = self.scopes[scope]
            yield found
            scope = 0 if found.called else found.parent

    def roots(self) -> list[Scope]:
        """Return the scopes of the processes (one a pool), in the order of their start."""
        return [each for each in self.scopes.values() if not each.parent]

    def lookup(self, scope: int, name: str) -> Any:
        """Return a variable as seen from a scope.

        Raises:
            KeyError: There is none of that name.
        """
        for each in self.chain(scope):
            if name in each.variables:
                return each.variables[name]
        raise KeyError(name)

    def has(self, scope: int, name: str) -> bool:
        """Return whether a variable is seen from a scope."""
        return any(name in each.variables for each in self.chain(scope))

    def process_of(self, scope: int) -> Scope:
        """Return the scope of the process, called or not, that a scope is in."""
        found = self.scopes[scope]
        while found.parent and not found.called:
            found = self.scopes[found.parent]
        return found

    def visible(self, scope: int, names: frozenset[str] | None = None) -> dict[str, Any]:
        """Return the variables that are seen from a scope: all, or those of some names."""
        if names is not None:
            found: dict[str, Any] = {}
            for each in self.chain(scope):
                for name in names:
                    if name in each.variables and name not in found:
                        found[name] = each.variables[name]
            return found
        layers = [each.variables for each in self.chain(scope) if each.variables]
        if len(layers) == 1:
            return layers[0]
        merged: dict[str, Any] = {}
        for layer in reversed(layers):
            merged.update(layer)
        return merged

    def assign(self, scope: int, variables: dict[str, Any]) -> None:
        """Set variables: where they are declared, else in the nearest isolated scope or root."""
        for name, value in variables.items():
            found = self.scopes[scope]
            while found.parent and not (name in found.variables or found.isolated or found.called):
                found = self.scopes[found.parent]
            found.variables[name] = value

    @property
    def effective_status(self) -> str:
        """Return the status, or what keeps a running instance from going on.

        One of `running`, `waiting`, `incident`, `suspended`, `completed`, `failed`, `cancelled`.
        """
        if self.status != "running" or self.suspended:
            return "suspended" if self.status == "running" else self.status
        statuses = [each.status for each in self.activations.values()]
        if "working" in statuses or "fetching" in statuses:
            return "running"
        # Where nothing works and nothing waits, tokens are stuck at a join.
        stuck = "waiting" not in statuses and "pausing" not in statuses
        return "incident" if stuck or self.defects or "incident" in statuses else "waiting"

    @property
    def due(self) -> float | None:
        """The moment that its first timer fires, None where no timer runs."""
        if self.status != "running" or self.suspended:
            return None
        # Most wait for no time, and each commit asks.
        times = [each.due for each in self.activations.values() if each.wait is not None]
        return min((each for each in times if each is not None), default=None) if times else None

    @property
    def only_works(self) -> bool:
        """Whether it runs, and nothing in it but scripts: most commits leave it so."""
        if self.status != "running" or self.suspended or self.defects:
            return False
        for scope in self.scopes.values():
            if scope.arrived:
                return False
        works = False
        for each in self.activations.values():
            if each.status != "working" or each.children:
                return False
            works = True
        return works

    @property
    def moves_alone(self) -> bool:
        """Return whether work or a timer will move the instance without anybody's help."""
        return (
            self.status == "running"
            and not self.suspended
            and any(
                each.status in ("working", "fetching") or each.due is not None
                for each in self.activations.values()
            )
        )


def document(state: State) -> dict[str, Any]:
    """Return a state as plain data, as the journal has it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(state))
    return found


def restore(document: dict[str, Any]) -> State:
    """Return the state that plain data describe; it shares nothing with them.

    Raises:
        msgspec.ValidationError: They describe none.
    """
    return msgspec.json.decode(msgspec.json.encode(document), type=State)
