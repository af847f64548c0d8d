"""What an activation waits for, and what has stopped it. Parts of the state, so kept as JSON."""

from __future__ import annotations

from typing import Any

import msgspec


class Wait(msgspec.Struct, tag_field="for", omit_defaults=True):
    """Something that an activation waits for."""


class ForTimer(Wait, tag="timer"):
    """Waits until a moment.

    Attributes:
        due: In seconds since 1970.
        again: How often it fires after that.
        interval: What lies between two firings, empty where it fires once.
    """

    due: float
    again: int = 0
    interval: str = ""


class ForRetry(Wait, tag="retry"):
    """Waits until the next attempt at a task whose last one failed."""

    due: float
    failure: str


class ForMessage(Wait, tag="message"):
    """Waits for a message with a correlation key."""

    name: str
    key: str = ""


class ForSignal(Wait, tag="signal"):
    """Waits for a signal."""

    name: str


class ForCondition(Wait, tag="condition"):
    """Waits until a condition becomes true; `held` is its value at the last look."""

    held: bool = False


class ForPerson(Wait, tag="person"):
    """Waits until somebody completes a user task.

    Attributes:
        since: When the task was created, in seconds since 1970.
        name: What it is called, where the diagram computes that.
        due: When it should be done, as the diagram writes it.
        defaults: Values of the form that are filled in already.
    """

    since: float
    assignee: str | None = None
    users: list[str] = []
    groups: list[str] = []
    due: str | None = None
    priority: str | None = None
    defaults: dict[str, Any] = {}
    name: str | None = None


class ForWorker(Wait, tag="worker"):
    """Waits until an external worker has done a task.

    Attributes:
        since: When the task was offered, in seconds since 1970.
    """

    topic: str
    since: float
    priority: int = 0


class ForStart(Wait, tag="start"):
    """Waits until somebody starts an activity of an ad-hoc sub-process.

    Attributes:
        queue: Activities that a list starts and that have not started yet; None without a list.
        ending: Whether the completion condition held: nothing more starts.
    """

    queue: list[str] | None = None
    ending: bool = False


AnyWait = (
    ForTimer | ForRetry | ForMessage | ForSignal | ForCondition | ForPerson | ForWorker | ForStart
)


class Incident(msgspec.Struct, omit_defaults=True):
    """Why an activation has stopped.

    Attributes:
        message: The problem.
        stage: What a retry does again: `enter`, `arm`, `begin`, `work`, `await`, `receive`,
            `finish` or `leave`.
        received: What a message or signal brought whose mapping failed.
    """

    message: str
    stage: str
    received: dict[str, Any] = {}


class Iterations(msgspec.Struct, omit_defaults=True):
    """How far a multi-instance activity is.

    Attributes:
        items: What it iterates over.
        next: The index of the item that has not begun.
        outputs: What the iterations left, by index; None where nothing is collected.
    """

    items: list[Any]
    next: int = 0
    outputs: list[Any] | None = None
