"""The frozen definitions of a diagram: what is drawn, before anything runs.

A *process* is a definition; a run of it is an *instance* (`mlkit.bpmn.state`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlkit.bpmn.expressions import Expression


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that lint found.

    Attributes:
        rule: The id of the rule, such as `flow.dangling`.
        severity: `error` stops a run before it starts; `warning` does not.
        element: The id of the element, or its name where it has no id.
        line: Its line in the file.
        message: What is wrong.
    """

    rule: str
    severity: str
    element: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class SequenceFlow:
    """An arrow between two flow nodes of one scope."""

    id: str
    source: str
    target: str
    condition: Expression | None = None
    line: int = 0


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """What an event waits for or throws.

    Attributes:
        kind: `none`, `message`, `timer`, `error`, `escalation`, `signal`, `link`, `terminate`.
        name: The name of the message, signal or link.
        code: The code of the error or escalation; None catches every code.
        timer: `date`, `duration` or `cycle`, where `kind` is `timer`.
        expression: The timer's value, or the correlation key of the message.
        code_variable: Where a caught code is stored.
        message_variable: Where the message of a caught error is stored.
    """

    kind: str
    name: Expression | None = None
    code: str | None = None
    timer: str = ""
    expression: Expression | None = None
    code_variable: str | None = None
    message_variable: str | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """A multi-instance marker.

    Attributes:
        sequential: One after the other, instead of all at once.
        cardinality: How many, where no collection says it.
        collection: The list to iterate over.
        element: The variable that holds one item of it.
        completion: Ends the activity early when it holds after an iteration.
        output_collection: The variable that gathers `output_element` of each iteration.
        output_element: What an iteration leaves.
    """

    sequential: bool
    cardinality: Expression | None = None
    collection: Expression | None = None
    element: str | None = None
    completion: Expression | None = None
    output_collection: str | None = None
    output_element: Expression | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a failing activity is tried, and the pauses between (ISO durations)."""

    attempts: int = 1
    pauses: tuple[str, ...] = ()
    after_crash: bool = True


@dataclass(frozen=True, slots=True)
class Script:
    """A script task's program."""

    format: str
    source: str
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Callable:
    """A Python function that a service or send task calls, `module:function` once bound."""

    name: str
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Computed:
    """A task whose work is one expression."""

    expression: Expression
    result: str | None = None


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a form.

    Attributes:
        type: `string`, `long`, `double`, `boolean`, `date` or `enum`.
        default: Its default, evaluated when the form is shown.
        options: The values of an enum with their labels.
        limits: `min`, `max`, `minlength`, `maxlength`.
    """

    id: str
    label: str
    type: str = "string"
    default: Expression | None = None
    required: bool = False
    readonly: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Person:
    """Who may do a user task, and the form that they fill."""

    assignee: Expression | None = None
    users: Expression | None = None
    groups: Expression | None = None
    due: Expression | None = None
    priority: Expression | None = None
    form: tuple[FormField, ...] = ()


@dataclass(frozen=True, slots=True)
class FlowNode:
    """An activity, event or gateway.

    Attributes:
        type: The local name of its BPMN element, such as `scriptTask`.
        incoming: Ids of flows, in document order.
        outgoing: Ids of flows, in document order.
        default: The id of the default flow.
        event: What it waits for or throws, for events and receive tasks.
        work: What an activity does.
        loop: Its multi-instance marker.
        body: The inside of a sub-process.
        attached_to: The activity that a boundary event guards.
        interrupting: Whether a boundary event ends that activity.
        inputs: Local variables to set before, in order.
        outputs: Variables to set in the surrounding scope after; if any, nothing else leaves.
    """

    id: str
    type: str
    name: str = ""
    line: int = 0
    incoming: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    default: str | None = None
    event: EventDefinition | None = None
    work: Script | Callable | Computed | Person | None = None
    loop: Loop | None = None
    retry: Retry = Retry()
    body: Scope | None = None
    attached_to: str | None = None
    interrupting: bool = True
    inputs: tuple[tuple[str, Expression], ...] = ()
    outputs: tuple[tuple[str, Expression], ...] = ()


@dataclass(frozen=True, slots=True)
class Scope:
    """The flow nodes and flows inside a process or sub-process."""

    id: str
    nodes: Mapping[str, FlowNode]
    flows: Mapping[str, SequenceFlow]


@dataclass(frozen=True, slots=True)
class Process:
    """A process definition."""

    id: str
    name: str
    executable: bool
    body: Scope
    line: int = 0


@dataclass(frozen=True, slots=True)
class Definitions:
    """All of a file.

    Attributes:
        file: The file's name, for messages.
        sha256: The hash of its bytes.
        processes: In document order.
        problems: What the parser could not accept, or noticed.
        resources: The texts of the script files beside it that it uses.
    """

    file: str
    sha256: str
    processes: tuple[Process, ...]
    problems: tuple[Problem, ...]
    resources: Mapping[str, str] = field(default_factory=dict)
