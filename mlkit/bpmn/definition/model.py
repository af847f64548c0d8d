"""The frozen definitions of a diagram: what is drawn, before anything runs.

A *process* is a definition; a run of it is an *instance* (`mlkit.bpmn.engine.state`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mlkit.bpmn.definition.problem import Problem
from mlkit.bpmn.definition.timers import UTC_CALENDAR, Calendar
from mlkit.bpmn.expressions import Expression

Misfire = Literal["one", "all", "none"]
"""What becomes of times that passed while nobody ran: one start for all of them, one each, none."""
Overlap = Literal["allow", "skip", "queue"]
"""What a start does while the one before it has not ended: begin, be left out, wait for its end."""
MISFIRES: tuple[Misfire, ...] = ("one", "all", "none")
OVERLAPS: tuple[Overlap, ...] = ("allow", "skip", "queue")


@dataclass(frozen=True, slots=True)
class Listener:
    """What is evaluated, or done, at a moment of an element's life.

    Attributes:
        event: `start`, `end` or `take` (of a flow); of a user task `create`, `assignment`,
            `complete` or `delete`.
        expression: What the engine evaluates; None where a worker does `work`.
        of_task: Whether it listens to a user task, which it sees as `task`.
        work: A script or callable of an activity, which goes on when it is done.
    """

    event: str
    expression: Expression | None = None
    of_task: bool = False
    work: Script | Callable | None = None


@dataclass(frozen=True, slots=True)
class SequenceFlow:
    """An arrow between two flow nodes of one scope."""

    id: str
    source: str
    target: str
    condition: Expression | None = None
    line: int = 0
    listeners: tuple[Listener, ...] = ()


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """What an event waits for or throws.

    Attributes:
        kind: `none`, `message`, `timer`, `error`, `escalation`, `signal`, `conditional`,
            `compensate`, `cancel`, `link`, `terminate`, `multiple`.
        name: The name of the message, signal or link.
        code: The code of the error or escalation; None catches every code.
        timer: `date`, `duration` or `cycle`, where `kind` is `timer`.
        calendar: How a timer counts.
        reach: What a terminate event ends beyond its scope: the `process` with all that called it,
            or all `iterations` of the activity around it.
        expression: The timer's value or the condition.
        keys: The values that a message is correlated by; none for the business key.
        message: The message of a thrown error.
        code_variable: Where a caught code is stored.
        message_variable: Where the message of a caught error is stored.
        activity: What is compensated; None for all of the scope.
        parts: The definitions of a multiple event.
        parallel: Whether all parts must happen, instead of one.
    """

    kind: str
    name: Expression | None = None
    code: str | None = None
    timer: str = ""
    calendar: Calendar = UTC_CALENDAR
    reach: str = ""
    expression: Expression | None = None
    keys: tuple[Expression, ...] = ()
    message: Expression | None = None
    code_variable: str | None = None
    message_variable: str | None = None
    activity: str | None = None
    parts: tuple[EventDefinition, ...] = ()
    parallel: bool = False

    def of_kind(self, kind: str) -> tuple[EventDefinition, ...]:
        """Return the definitions of a kind: this one, or its parts."""
        return tuple(each for each in self.parts or (self,) if each.kind == kind)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A standard loop: again while the condition holds.

    Attributes:
        condition: Looked at before or after each iteration; without one it always holds.
        before: Whether it is looked at before the first iteration too.
        maximum: The most iterations; None for no limit.
    """

    condition: Expression | None = None
    before: bool = False
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class BehaviorEvent:
    """What a multi-instance activity throws when an iteration completes.

    Attributes:
        event: A message, signal, escalation or error.
        first: Only when the first one completes.
        condition: Only where it holds.
    """

    event: EventDefinition
    first: bool = False
    condition: Expression | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """A multi-instance marker.

    Attributes:
        sequential: One after the other, instead of all at once.
        cardinality: The number of iterations, if there is no collection.
        collection: The list to iterate over.
        element: The variable that holds one item of it.
        completion: Ends the activity early when it holds after an iteration.
        output_collection: The variable that gathers `output_element` of each iteration.
        output_element: What an iteration leaves.
        behavior_events: What it throws as iterations complete.
        counts: What the names of its counts begin with: `nrOf` or, in zeebe's, `numberOf`.
        first: What `loopCounter` is in the first iteration: 0 or, in zeebe's, 1.
        own: Variables that each iteration has for itself, null at first.
        index: Another variable that holds what `loopCounter` does.
    """

    sequential: bool
    cardinality: Expression | None = None
    collection: Expression | None = None
    element: str | None = None
    completion: Expression | None = None
    output_collection: str | None = None
    output_element: Expression | None = None
    behavior_events: tuple[BehaviorEvent, ...] = ()
    counts: str = "nrOf"
    first: int = 0
    own: tuple[str, ...] = ()
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failing activity is tried, and the pauses between (ISO durations).

    Attributes:
        cycle: Computes both, once an attempt has failed.
    """

    attempts: int = 1
    pauses: tuple[str, ...] = ()
    after_crash: bool = True
    cycle: Expression | None = None


@dataclass(frozen=True, slots=True)
class External:
    """How a task is offered to external workers.

    Attributes:
        topic: What they look for it by.
        priority: A whole number; workers may ask for the highest first.
        retries: How many attempts they have; None where they count for themselves.
        properties: The extension properties of the task.
    """

    topic: Expression
    priority: Expression | None = None
    retries: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Script:
    """A script task's program.

    Attributes:
        result: The variable for its last value.
        external: What a worker outside sees of the task, where one may run it.
    """

    format: str
    source: str
    result: str | None = None
    external: External | None = None


@dataclass(frozen=True, slots=True)
class Callable:
    """A Python function that a service or send task calls, `module:function` once bound.

    Attributes:
        name: What the diagram calls it.
        result: The variable for what it returns.
        decision: Whether it stands in for a DMN decision.
        external: What a worker outside sees of the task, where one may do it.
    """

    name: str
    result: str | None = None
    decision: bool = False
    external: External | None = None


@dataclass(frozen=True, slots=True)
class Computed:
    """A task whose work is one expression.

    Attributes:
        result: The variable that gets its value.
        spreads: Whether its value is an object of variables, each of which is set.
    """

    expression: Expression
    result: str | None = None
    spreads: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """The process or global task that a call activity runs.

    Attributes:
        process: The name under which it is among all that are called; empty where it is chosen.
        inputs: Variables of the called process, evaluated at the caller.
        outputs: Variables of the caller, evaluated in the called process when it ends.
        all_in: Whether it gets all variables of the caller.
        all_local: Whether it gets the variables of the call activity itself.
        all_out: Whether the caller gets all its variables.
        after_error: Whether outputs are set too when an error ends the called process.
        chosen: Evaluated at the caller: the id of the process to call.
        choices: What may be chosen, by id; those that several files have are not among them.
    """

    process: str
    inputs: tuple[tuple[str, Expression], ...] = ()
    outputs: tuple[tuple[str, Expression], ...] = ()
    all_in: bool = False
    all_out: bool = False
    all_local: bool = False
    after_error: bool = False
    chosen: Expression | None = None
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AdHoc:
    """How the activities of an ad-hoc sub-process start and end.

    Attributes:
        active: Evaluates to the ids of the activities to start; None leaves it to people.
        completion: Ends the sub-process when it holds after an activity.
        cancels: Whether what still runs then is ended.
        sequential: One activity at a time.
    """

    active: Expression | None = None
    completion: Expression | None = None
    cancels: bool = True
    sequential: bool = False


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a form.

    Attributes:
        id: The variable that it sets; `address.street` sets a part of an object.
        type: `string`, `long`, `double`, `boolean`, `date`, `enum`, `list` for several of the
            options, `rows` for a list of objects with the same fields, `file` and `files` for
            what is uploaded.
        default: Its default, evaluated when the form is shown; a variable of its name goes first.
        options: The values of an enum or list with their labels.
        choices: Evaluates to the options, where data has them.
        limits: `min`, `max`, `minlength`, `maxlength`.
        pattern: A regular expression that is found in every text that it takes.
        hidden: It is not there where one of these holds.
        locked: It is read-only where this holds.
        value: What it is, where nobody fills it.
        fields: The fields of each row.
        textual: Whether a number is stored as text.
        secret: Whether its value is masked wherever it is shown.
    """

    id: str
    label: str
    type: str = "string"
    default: Expression | None = None
    required: bool = False
    readonly: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    choices: Expression | None = None
    limits: Mapping[str, float | Expression] = field(default_factory=dict)
    pattern: str | None = None
    hidden: tuple[Expression, ...] = ()
    locked: Expression | None = None
    value: Expression | None = None
    fields: tuple[FormField, ...] = ()
    textual: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """Who may do a user task, its name where that is computed, and the form that they fill.

    Attributes:
        attach: Documents that go with the task: variables, and files of the working folder.
    """

    assignee: Expression | None = None
    users: Expression | None = None
    groups: Expression | None = None
    due: Expression | None = None
    priority: Expression | None = None
    form: tuple[FormField, ...] = ()
    title: Expression | None = None
    attach: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FlowNode:
    """An activity, event or gateway.

    Attributes:
        type: The local name of its BPMN element, such as `scriptTask`.
        incoming: Ids of flows, in document order.
        outgoing: Ids of flows, in document order.
        default: The id of the default flow.
        event: What it waits for or throws, for events and receive tasks.
        work: What an activity does, or a throwing event that calls code.
        loop: Its loop or multi-instance marker.
        body: The inside of a sub-process.
        ad_hoc: How the inside of an ad-hoc sub-process goes.
        triggered: Whether it is an event sub-process.
        attached_to: The activity that a boundary event is attached to.
        interrupting: Whether a boundary event, or the start of an event sub-process, ends what
            it is at.
        instantiate: Whether an event gateway or receive task begins the process.
        parallel: Whether an event gateway waits for all events.
        activation: When a complex gateway opens.
        needs: How many tokens an activity waits for before it begins.
        gives: How many tokens each of its outgoing flows gets.
        compensates: Whether it is a compensation handler, outside the flow.
        handler: The id of the compensation handler of a compensation boundary event.
        recipients: Ids of the nodes and processes that message flows lead to.
        inputs: Local variables to set before, in order.
        outputs: Variables to set in the surrounding scope after; if any, nothing else leaves.
        reads: The data stores whose values it sees, as local variables of their names.
        writes: The data stores that it sets when it completes.
        shares: Whether what it sets leaves it beside its outputs, and out of each iteration, as in
            Camunda 7, Activiti and Flowable.
        listeners: What is evaluated or done at moments of its life.
        skip: Whether it is passed, where the variable `_FLOWABLE_SKIP_EXPRESSION_ENABLED` is true.
        errors: When its work, done or failed, counts as which error.
        failures: By the name of an exception ("" for every one), the error that it counts as.
        form: What is asked of who starts the process at this event.
    """

    id: str
    type: str
    name: str = ""
    line: int = 0
    incoming: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    default: str | None = None
    event: EventDefinition | None = None
    work: Script | Callable | Computed | Person | Call | None = None
    loop: Loop | Repeat | None = None
    retry: Retry = Retry()
    body: Scope | None = None
    ad_hoc: AdHoc | None = None
    triggered: bool = False
    attached_to: str | None = None
    interrupting: bool = True
    instantiate: bool = False
    parallel: bool = False
    activation: Expression | None = None
    needs: int = 1
    gives: int = 1
    compensates: bool = False
    handler: str | None = None
    recipients: tuple[str, ...] = ()
    inputs: tuple[tuple[str, Expression], ...] = ()
    outputs: tuple[tuple[str, Expression], ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[tuple[str, Expression], ...] = ()
    shares: bool = False
    listeners: tuple[Listener, ...] = ()
    skip: Expression | None = None
    errors: tuple[tuple[Expression, EventDefinition], ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    form: tuple[FormField, ...] = ()

    @property
    def works(self) -> tuple[Script | Callable | Computed | Person | Call, ...]:
        """Return what it does, and what its listeners do in a worker."""
        every = (self.work, *(each.work for each in self.listeners))
        return tuple(each for each in every if each is not None)


@dataclass(frozen=True, slots=True)
class Scope:
    """The flow nodes and flows inside a process or sub-process.

    Attributes:
        declared: The names of its data objects and properties: they end with it.
        values: Default values of variables at its start.
    """

    id: str
    nodes: Mapping[str, FlowNode]
    flows: Mapping[str, SequenceFlow]
    declared: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()

    def initial(self) -> dict[str, Any]:
        """Return the variables that it begins with."""
        return {**dict.fromkeys(self.declared), **self.values}

    def listening(self) -> list[FlowNode]:
        """Return its flows and itself, where something listens to them, as nodes with listeners."""
        flows = [
            FlowNode(e.id, "sequenceFlow", line=e.line, outgoing=(e.id,), listeners=e.listeners)
            for e in self.flows.values()
            if e.listeners
        ]
        own = [FlowNode(self.id, "process", listeners=self.listeners)] if self.listeners else []
        return own + flows


@dataclass(frozen=True, slots=True)
class Process:
    """A process definition.

    Attributes:
        version_tag: What its author calls this version.
        misfire, overlap: How its timer start events treat missed times, and starts that overlap.
    """

    id: str
    name: str
    executable: bool
    body: Scope
    line: int = 0
    version_tag: str | None = None
    misfire: Misfire = "one"
    overlap: Overlap = "allow"


@dataclass(frozen=True, slots=True)
class Definitions:
    """All of a file.

    Attributes:
        file: The file's name, for messages.
        sha256: The hash of its bytes.
        processes: In document order.
        problems: What the parser could not accept, or noticed.
        resources: The texts of the files beside it that it uses: scripts, called diagrams.
        called: The processes and global tasks that call activities run, by id.
        collaboration: Whether its processes are pools of one collaboration.
    """

    file: str
    sha256: str
    processes: tuple[Process, ...]
    problems: tuple[Problem, ...]
    resources: Mapping[str, str] = field(default_factory=dict)
    called: Mapping[str, Process] = field(default_factory=dict)
    collaboration: bool = False
