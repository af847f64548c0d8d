"""What a journal keeps of the tasks that external workers do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec


class Offered(msgspec.Struct, frozen=True):
    """A task that is offered to external workers, as the engine knows it.

    Attributes:
        name: The instance's id.
        process: The process that it belongs to.
        definition: The hash of the instance's definition.
        key: The business key.
        retries: How many attempts are left; None where nobody counts them.
    """

    instance: int
    activation: int
    name: str
    element: str
    topic: str
    priority: int
    retries: int | None
    created: float
    process: str
    definition: str
    key: str

    @property
    def id(self) -> str:
        """What workers call the task; see `instance_of`."""
        return f"{self.name}-{self.activation}"


class ExternalTask(Offered, frozen=True):
    """A task that is offered, with what its workers have reported.

    Attributes:
        number: The order in which tasks were offered.
        worker: Who has it or had it last; None for nobody.
        expires: When the lock of that worker ends.
        error: What the last failed attempt reported.
    """

    number: int
    worker: str | None
    expires: float | None
    error: str | None

    def is_locked(self, now: float) -> bool:
        """Return whether a worker has it."""
        return self.expires is not None and self.expires > now


def instance_of(task: str) -> str:
    """Return the id of the instance of a task, by its id."""
    return task.rpartition("-")[0]


class Topic(NamedTuple):
    """What a worker asks for.

    Attributes:
        lock: For how many seconds it wants a task.
        filters: Column and the values of which a task must have one.
    """

    name: str
    lock: float
    filters: tuple[tuple[str, tuple[Any, ...]], ...] = ()


class Condition(NamedTuple):
    """A condition on the tasks that are listed.

    Attributes:
        column: Of a task, or `id`.
        operator: `=`, `<>`, `<`, `>`, `<=`, `>=`, `IN`, `NULL`, `NOT NULL`, `ACTIVE` or `SUSPENDED`
            (of the instance), or `NULL OR >` and the like.
        values: One for each mark of the operator.
    """

    column: str
    operator: str
    values: tuple[Any, ...] = ()


class ExternalTasks(Protocol):
    """Tasks that external workers do, with their locks.

    Every method that changes something runs inside a transaction of the caller.
    """

    def offer(self, task: Offered) -> None:
        """Offer a task; one that is offered already gets an attempt where it has none left."""

    def withdraw(self, instance: int, activation: int) -> bool:
        """Offer a task no longer; return whether it was offered."""

    def drop(self, instance: int, activation: int) -> None:
        """Offer a task no longer, if it was offered."""

    def forget(self, instances: Iterable[int]) -> None:
        """Withdraw all tasks of instances."""

    def fetch(
        self,
        worker: str,
        topics: Iterable[Topic],
        limit: int,
        now: float,
        order: Sequence[tuple[str, str]] = (),
    ) -> list[ExternalTask]:
        """Lock tasks that nobody has and that may be tried; return them.

        Args:
            worker: Who gets them.
            topics: What it asks for; each has its own time.
            limit: The most tasks, of all topics together.
            now: In seconds since 1970.
            order: Columns, each with `asc` or `desc`.
        """

    def get(self, identifier: str) -> ExternalTask | None:
        """Return a task by its id."""

    def details(self, task: ExternalTask) -> str | None:
        """Return the details of the last failed attempt."""

    def lock(self, task: ExternalTask, worker: str, until: float) -> None:
        """Let a worker have a task."""

    def unlock(self, task: ExternalTask) -> None:
        """Let nobody have a task."""

    def fail(
        self, task: ExternalTask, error: str, details: str | None, retries: int, until: float
    ) -> None:
        """Note a failed attempt; nobody gets the task before `until`."""

    def set_retries(self, task: ExternalTask, retries: int, now: float) -> None:
        """Set how many attempts are left."""

    def set_priority(self, task: ExternalTask, priority: int) -> None:
        """Set the priority."""

    def find(
        self,
        conditions: Iterable[Condition],
        order: Sequence[tuple[str, str]] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[ExternalTask]:
        """Return the tasks for which all conditions hold."""

    def count(self, conditions: Iterable[Condition]) -> int:
        """Return for how many tasks all conditions hold."""

    def topics(self, conditions: Iterable[Condition]) -> list[str]:
        """Return the topics of the tasks for which all conditions hold, each once."""

    def next_due(self, topics: Iterable[str], now: float) -> float | None:
        """Return when the first lock on a task of these topics ends."""
