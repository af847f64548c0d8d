"""What lists and searches find in a journal, whatever keeps it."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from mlkit.bpmn.journal.records import Moment


class Criteria(msgspec.Struct, frozen=True):
    """Which instances are searched for; times are seconds since 1970.

    Attributes:
        text: Part of the id, the business key or the definition's key, in any case.
    """

    state: str | None = None
    process: str | None = None
    definition: str | None = None
    key: str | None = None
    started_after: float | None = None
    started_before: float | None = None
    ended_after: float | None = None
    ended_before: float | None = None
    variables: dict[str, Any] = {}
    text: str | None = None


class Found(NamedTuple):
    """An instance as a search finds it; `version` is that of its definition, if it is deployed."""

    number: int
    id: str
    process: str
    definition: str
    status: str
    owner: str
    key: str
    created: Moment
    updated: Moment
    version: int | None = None


class OpenTask(NamedTuple):
    """A user task that waits, as a list shows it; `key` is the instance's business key."""

    number: int
    instance: str
    process: str
    definition: str
    activation: int
    element: str
    name: str | None
    assignee: str | None
    users: list[str]
    groups: list[str]
    since: Moment
    due: str | None
    priority: str | None
    key: str = ""


class Alike(NamedTuple):
    """User tasks of a process that wait for the same people.

    Attributes:
        task: One that stands for them; only its process and whom it waits for are known.
        number: How many they are.
    """

    task: OpenTask
    number: int


class Word(NamedTuple):
    """A word that a user task is searched by: one of these has it.

    Attributes:
        text: The word in lower case: part of the business key, the id, or the task's own name or
            due date.
        elements: The definitions and ids of elements, all of whose tasks have it.
        unnamed: Elements whose tasks have it unless the diagram computes their name.
        people: Tasks that wait for people whose names have it, as `Alike` has them.
    """

    text: str
    elements: list[tuple[str, str]]
    unnamed: list[tuple[str, str]]
    people: list[OpenTask]


class Throughput(NamedTuple):
    """The instances of one process that ended alike in one hour.

    Attributes:
        hour: Hours since 1970 at its begin.
        number: How many they are.
        seconds: How long they took, together.
        longest: How long the longest took, in seconds.
    """

    hour: int
    process: str
    state: str
    number: int
    seconds: float
    longest: float


class Stopped(NamedTuple):
    """An incident, as a list shows it; `updated` is when its instance moved last."""

    number: int
    instance: str
    process: str
    activation: int
    element: str
    attempt: int
    message: str
    updated: float


class Retried(NamedTuple):
    """A task that waits for another attempt after `attempt` has failed, as a list shows it.

    Attributes:
        message: Why it has failed.
        due: When the next attempt begins, in seconds since 1970.
    """

    number: int
    instance: str
    process: str
    activation: int
    element: str
    attempt: int
    message: str
    due: float
