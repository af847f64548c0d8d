"""What moves an instance.

Events are journalled as JSON. An instance's state is the fold of its events, so whatever
the engine decides from must be in them: results, the time, the moment that a timer fired.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mlkit.bpmn.engine.effects import AnyEffect
from mlkit.bpmn.engine.printed import Printed
from mlkit.bpmn.engine.work_file import WorkFile


class Event(msgspec.Struct, tag_field="type", omit_defaults=True):
    """Something that happened to an instance.

    `id` names an activation, `by` the person who did it, where it is known. Tags are those of
    journals in use, so a class may have another name than its tag.
    """


class Start(Event, tag="start"):
    """The instance begins, at the named start event or where the diagram begins.

    `external` are the names of the callables whose work external workers do.
    """

    variables: dict[str, Any] = {}
    node: str = ""
    key: str = ""
    instance: str = ""
    by: str = ""
    external: list[str] = []


class Complete(Event, tag="complete"):
    """The work of an activity is done; `local` are variables that end with it.

    `files` is what a script has changed in the working folder; None for what is gone. `printed` is
    for the log of the attempt: whoever takes the event out of an inbox moves it there.
    """

    id: int
    variables: dict[str, Any] = {}
    by: str = ""
    local: dict[str, Any] = {}
    files: dict[str, WorkFile | None] = {}
    printed: Printed | None = None


class Throw(Event, tag="throw"):
    """The work of an activity ended with a BPMN error."""

    id: int
    code: str
    message: str = ""
    variables: dict[str, Any] = {}
    by: str = ""
    printed: Printed | None = None


class Fail(Event, tag="fail"):
    """An attempt failed.

    An external worker reports how many `retries` are left; what is left out of its work are
    `variables`, and `details` have more than the message.
    """

    id: int
    message: str
    retries: int | None = None
    details: str = ""
    variables: dict[str, Any] = {}
    local: dict[str, Any] = {}
    by: str = ""
    printed: Printed | None = None


class Assign(Event, tag="assign"):
    """An operator sets variables of the instance, and removes some."""

    variables: dict[str, Any] = {}
    removed: list[str] = []
    by: str = ""


class Fire(Event, tag="fire"):
    """A timer is due."""

    id: int


class Receive(Event, tag="receive"):
    """A message arrived for a waiting activation."""

    id: int
    variables: dict[str, Any] = {}


class Signal(Event, tag="signal"):
    """A signal was broadcast."""

    name: str
    variables: dict[str, Any] = {}


class Begin(Event, tag="begin"):
    """Somebody starts an activity of an ad-hoc sub-process."""

    id: int
    element: str
    by: str = ""


class Claim(Event, tag="claim"):
    """Somebody takes a user task, or gives it back (no assignee).

    `handed` gives it to another person, whoever has it.
    """

    id: int
    assignee: str = ""
    by: str = ""
    handed: bool = False


class ConditionMet(Event, tag="hold"):
    """A condition that an activation waits for became true; the engine itself finds out."""

    id: int


class StoreRead(Event, tag="supply"):
    """The values of the data stores that an activity reads are here; None where none is kept."""

    id: int
    values: dict[str, Any] = {}


class Retry(Event, tag="retry"):
    """An operator asks to try an incident again (0: all of them).

    A task that waits for another attempt begins it at once.
    """

    id: int = 0
    by: str = ""


class Cancel(Event, tag="cancel"):
    """An operator ends the instance."""

    reason: str = ""
    by: str = ""


class Suspend(Event, tag="suspend"):
    """An operator lets nothing of the instance begin any more; what runs may end."""

    reason: str = ""
    by: str = ""


class Unsuspend(Event, tag="unsuspend"):
    """An operator lets the instance go on."""

    by: str = ""


class Migrate(Event, tag="migrate"):
    """An operator moves the instance to another version of its definition.

    Attributes:
        definition: The hash of the version.
        mapping: Elements and flows that are called something else there.
        external: The names of the callables whose work external workers do.
        tasks: What the names of callables are bound to.
        state: What the instance is then; whoever moves it finds that out.
    """

    definition: str
    mapping: dict[str, str] = {}
    external: list[str] = []
    tasks: dict[str, str] = {}
    by: str = ""
    state: dict[str, Any] = {}


class Recover(Event, tag="recover"):
    """The engine died; attempts that were running start again."""


class Crash(Event, tag="crash"):
    """The engine itself failed at an event, which is kept until an operator tries it again."""

    event: AnyEvent
    message: str


AnyEvent = (
    Start | Complete | Throw | Fail | Fire | Receive | Signal | Begin | Claim | ConditionMet | Retry
    | Cancel | Recover | StoreRead | Crash | Assign | Suspend | Unsuspend | Migrate
)  # fmt: skip
STEERING = (Assign, Cancel, Suspend, Unsuspend, Migrate)
"""What an instance takes while it is suspended."""
ASKED = (Complete, Throw, Fail, Begin, Claim, Retry)
"""What people and workers ask of an instance: refused while it is suspended."""
DECIDED = (*STEERING, *ASKED)
"""What is decided while an instance is suspended; all other events from outside wait."""


class Hop(msgspec.Struct, frozen=True, array_like=True):
    """An entry of the trace.

    Attributes:
        element: The id of the flow node.
        event: `completed` or `terminated`; `decided` for a decision that a task evaluated.
        iteration: The index in a multi-instance activity, outermost first: `2` or `0.3`.
        attempt: How often its work was started, 0 for what does no work.
        began: When it began, in seconds since 1970; 0 in journals of older versions.
        by: Who completed it, where a person did.
        decision: What was decided, and from what, where `event` is `decided`.
    """

    element: str
    event: str
    iteration: str
    attempt: int
    began: float = 0.0
    by: str = ""
    decision: dict[str, Any] | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What one event led to."""

    effects: list[AnyEffect]
    trace: list[Hop]
