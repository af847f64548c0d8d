"""The documents of the interface; the description is made from them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from mlkit.bpmn.defaults import MESSAGE_LIFE

Text = Annotated[str, msgspec.Meta(max_length=4000)]
Short = Annotated[str, msgspec.Meta(max_length=255)]
Variables = dict[str, Any]


class Definition(msgspec.Struct):
    """A version of a process that can be started."""

    process: str
    version: int
    name: str
    file: str
    hash: str
    deployed: str
    by: str
    is_new: bool = False


class Definitions(msgspec.Struct):
    """Definitions: the newest version of each, or all versions of one."""

    definitions: list[Definition]


class Duration(msgspec.Struct):
    """How long instances spent at an element, from when it began until it completed.

    `median` and `p90` (what nine of ten took at most) are in seconds; `share` is the part of the
    time that was spent at all elements, from 0 to 1.
    """

    element: str
    name: str
    completions: int
    median: float
    p90: float
    share: float


class Durations(msgspec.Struct):
    """How long the newest 100 instances of a version spent at its elements."""

    process: str
    version: int
    durations: list[Duration]


class Schedule(msgspec.Struct):
    """A timer start event of the newest version of a process, and its next times."""

    process: str
    element: str
    kind: str
    timer: str
    timezone: str
    misfire: str
    overlap: str
    paused: bool
    queued: int
    last: str | None
    instance: str | None
    upcoming: list[str]


class Schedules(msgspec.Struct):
    """Schedules, by process and element."""

    schedules: list[Schedule]


class StartInstance(msgspec.Struct, forbid_unknown_fields=True):
    """Start a definition: by its key, and a version or the newest."""

    process: Short
    version: Annotated[int, msgspec.Meta(ge=1, le=10**9)] | None = None
    variables: Variables = {}
    business_key: Short = ""
    message: Short | None = None
    person: Short | None = None


class FormField(msgspec.Struct):
    """A field of a form.

    `type` is string, boolean, long, double, date, enum, list (several of its options), file, files
    or rows, whose `fields` each row has. What is filled into a `secret` field is not to be shown:
    ask for it without an echo; its default is left out. `options` are values with their labels,
    `limits` numbers such as min, max, minlength and maxlength.
    """

    id: str
    label: str
    type: str
    default: Any
    required: bool
    readonly: bool
    secret: bool
    options: dict[str, str]
    limits: dict[str, int | float]
    pattern: str | None
    fields: list[FormField] | msgspec.UnsetType = msgspec.UNSET


class StartFormFields(msgspec.Struct):
    """The fields of the form that starts a version of a definition."""

    process: str
    version: int
    form: list[FormField]


class SubmitStartForm(msgspec.Struct, forbid_unknown_fields=True):
    """The values of a start form."""

    variables: Variables = {}
    business_key: Short = ""
    person: Short | None = None


class Instance(msgspec.Struct):
    """An instance, as a list shows it."""

    instance: str
    process: str
    version: int | None
    state: str
    business_key: str
    started: str
    updated: str
    ended: str | None


class Instances(msgspec.Struct):
    """A page of instances, newest first; `next` is the cursor of the page after it."""

    instances: list[Instance]
    next: str | None


class RecordedScenario(msgspec.Struct):
    """A scenario as `mlkit bpmn test` plays it, beside its diagram.

    `notes` are what the instance met and a scenario cannot express; `masked` the names of the
    secrets that are not in it.
    """

    instance: str
    scenario: dict[str, Any]
    notes: list[str]
    masked: list[str]


class InstanceFiles(msgspec.Struct):
    """The files beside the diagram that an instance follows: scripts, forms, decisions, diagrams.

    `diagram` is the name of the diagram, which has a path of its own; `files` are texts by names.
    """

    instance: str
    diagram: str
    files: dict[str, str]


class Reached(msgspec.Struct):
    """What an instance did at an element.

    `state` is done, running, waiting, failed or ended (by something else); `count` how often it
    completed, `seconds` how long its scripts ran in all; `tokens` of a join that waits, of how many
    of its flows a token has come, such as `1 of 2`.
    """

    state: str
    count: int
    seconds: float | None
    tokens: str


class InstanceProgress(msgspec.Struct):
    """How far an instance has come in its diagram, by the ids of the elements."""

    instance: str
    process: str
    file: str
    elements: dict[str, Reached]


class Person(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """For whom something is done, where that is not the caller."""

    person: Short | None = None


class Reason(Person, forbid_unknown_fields=True, kw_only=True):
    """Why an instance is ended, or suspended."""

    reason: Text = ""


class MigrateInstance(Person, forbid_unknown_fields=True, kw_only=True):
    """The version to which an instance is moved, the newest if none is named.

    `mapping` names the elements and flows that are called something else there; a `dry_run` only
    reports what it would come to.
    """

    version: Annotated[int, msgspec.Meta(ge=1, le=10**9)] | None = None
    mapping: dict[Short, Short] = {}
    dry_run: bool = False


class RetryIncidents(Person, forbid_unknown_fields=True, kw_only=True):
    """Which incident is tried again; 0: all of the instance."""

    incident: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class Kind(Person, forbid_unknown_fields=True, kw_only=True):
    """A kind of incidents: of a process, at an element."""

    process: Short
    element: Short | None = None


class Retried(msgspec.Struct):
    """What became of a retry of many incidents: instances tried again, and refusals."""

    retried: list[str]
    refused: dict[str, str]


class SetVariables(Person, forbid_unknown_fields=True, kw_only=True):
    """Variables to set, and names to remove."""

    variables: Variables = {}
    removed: list[Short] = []


class Rerun(Person, forbid_unknown_fields=True, kw_only=True):
    """From which activity a new instance goes on."""

    element: Short


class StartActivity(Person, forbid_unknown_fields=True, kw_only=True):
    """An activity of an ad-hoc sub-process; with `end`, the sub-process that is to end."""

    element: Short
    end: bool = False


class Task(msgspec.Struct):
    """A user task that waits, as a list shows it; its form where `forms` asks for it.

    `created` is when it began to wait; `since` is its older name. `without_mail` are those for
    whom it waits and whom no mail reaches: people who are not in the people file or have no address
    there, and groups in which nobody has one.
    """

    task: str
    instance: str
    process: str
    element: str
    name: str
    assignee: str | None
    users: list[str]
    groups: list[str]
    since: str
    created: str
    due: str | None
    priority: str | None
    activation: int = 0
    iteration: str | None = None
    form: list[FormField] | None = None
    without_mail: list[str] = []


class Tasks(msgspec.Struct):
    """A page of user tasks, oldest instance first."""

    tasks: list[Task]
    next: str | None


class CompleteTask(Person, forbid_unknown_fields=True, kw_only=True):
    """The values of a task's form; or a decision, where that is all that is asked."""

    variables: Variables = {}
    approved: bool | None = None
    comment: Text | None = None


class Delegate(Person, forbid_unknown_fields=True, kw_only=True):
    """Who gets a task."""

    to: Short = ""


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """A message to the one activity that waits for it, or that will within `ttl` seconds."""

    name: Short
    key: Short = ""
    variables: Variables = {}
    ttl: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = MESSAGE_LIFE


class Signal(msgspec.Struct, forbid_unknown_fields=True):
    """A signal to everything that waits for it now."""

    name: Short
    variables: Variables = {}


class Receiver(msgspec.Struct):
    """An instance that got a message or signal, and its state now."""

    instance: str
    state: str


class Receivers(msgspec.Struct):
    """The instances that got a message or signal; none: a message is kept.

    `starts` are the processes that are started by it.
    """

    instances: list[str]
    receivers: list[Receiver] = []
    starts: list[str] = []


class Incident(msgspec.Struct):
    """What an operator must look at."""

    incident: int
    instance: str
    process: str
    element: str
    attempt: int
    message: str
    updated: str


class Incidents(msgspec.Struct):
    """A page of incidents."""

    incidents: list[Incident]
    next: str | None


class Retry(msgspec.Struct):
    """A task that waits for another attempt; `incident` is its number in the instance."""

    incident: int
    instance: str
    process: str
    element: str
    attempt: int
    message: str
    due: str


class Retries(msgspec.Struct):
    """A page of tasks that wait for another attempt."""

    retries: list[Retry]
    next: str | None


class Entry(msgspec.Struct):
    """Who did what, when and from where."""

    at: str
    who: str
    source: str
    action: str
    instance: str
    subject: str


class Audit(msgspec.Struct):
    """A page of the audit log, newest first."""

    entries: list[Entry]
    next: str | None


class Me(msgspec.Struct):
    """Who calls, and what they may do."""

    name: str
    roles: list[str]
    tasks: list[Task]


class Store(msgspec.Struct):
    """What a data store holds, and which instance set it last."""

    name: str
    value: Any
    instance: str | None
    updated: str


class Stores(msgspec.Struct):
    """The data stores."""

    stores: list[Store]


class StoreValue(msgspec.Struct, forbid_unknown_fields=True):
    """A value for a data store."""

    value: Any
