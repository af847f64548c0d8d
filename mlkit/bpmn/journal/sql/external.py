"""Tasks that external workers do as rows of a journal.

A fetch is a walk along an index over the tasks that are free (`free` is 0); a lock that has ended
makes its task free at the next fetch. So a fetch costs the same however many tasks wait, or are
locked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from mlkit.bpmn.journal.external import Condition, ExternalTask, Offered, Topic
from mlkit.storage.database import Database

NEVER = 1e18
"""When a task without retries is free."""
_OFFERED = (
    "instance", "activation", "name", "element", "topic", "priority", "retries", "created",
    "process", "definition", "key",
)  # fmt: skip
_COLUMNS = (*_OFFERED, "number", "worker", "expires", "error")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM external_tasks"
_WITHDRAW = "DELETE FROM external_tasks WHERE instance = ? AND activation = ?"
_SORTED = {"number", "name", "priority", "created", "expires", "process", "definition", "key"}
_COMPARISONS = {"=", "<>", "<", ">", "<=", ">="}


class SqlExternalTasks:
    """The external tasks of a journal.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.foresee((), ())

    # -- what the engine does --------------------------------------------------------------

    def offer(self, task: Offered) -> None:
        """Offer a task; one that is offered already gets an attempt where it has none left."""
        values = tuple(getattr(task, each) for each in _OFFERED)
        self.database.defer(
            f"INSERT INTO external_tasks ({', '.join(_OFFERED)}, id, free)"
            f" VALUES ({', '.join('?' * len(_OFFERED))}, ?, 0)"
            " ON CONFLICT (instance, activation) DO UPDATE SET retries = 1, free = 0"
            " WHERE external_tasks.retries = 0",
            (*values, task.id),
        )
        self.database.announce()

    def withdraw(self, instance: int, activation: int) -> bool:
        """Offer a task no longer; return whether it was offered."""
        if instance in self._claimed:  # Whoever calls has found it since: it is there.
            self.drop(instance, activation)
            return True
        return bool(self.database.execute(_WITHDRAW, (instance, activation)))

    def drop(self, instance: int, activation: int) -> None:
        """Offer a task no longer, if it was offered."""
        if (instance, activation) in self._dropped:
            return
        self.database.defer(_WITHDRAW, (instance, activation))
        if instance in self._claimed:
            self._dropped.add((instance, activation))

    def rename(self, instance: int, activation: int, element: str, definition: str) -> None:
        """Let a task, if it is one, be that of another element; who has it keeps it."""
        self.database.defer(
            "UPDATE external_tasks SET element = ?, definition = ?"
            " WHERE instance = ? AND activation = ?",
            (element, definition, instance, activation),
        )

    def forget(self, instances: Iterable[int]) -> None:
        """Withdraw all tasks of instances."""
        self.database.defer_rows(
            "DELETE FROM external_tasks WHERE instance IN (SELECT instance FROM {rows})",
            {"instance": "BIGINT"},
            [(each,) for each in instances],
        )

    # -- what a transaction reads together -------------------------------------------------

    def reading(self, tasks: Collection[str]) -> tuple[str, tuple[Any, ...]]:
        """Return the statement that reads tasks by their ids, with its values."""
        among, values = self.database.among(sorted(tasks), "TEXT")
        return f"{_SELECT} WHERE id IN {among}", values

    def foresee(self, rows: Sequence[Sequence[Any]], claimed: Collection[int]) -> None:
        """Know tasks, until this is called again, that only this transaction may end.

        Args:
            rows: What `reading` has found.
            claimed: The instances that the transaction had claimed before.
        """
        found = (_task(each) for each in rows)
        self._foreseen = {each.id: each for each in found if each.instance in claimed}
        self._claimed = frozenset(claimed)
        self._dropped: set[tuple[int, int]] = set()

    # -- what workers do -------------------------------------------------------------------

    def fetch(
        self,
        worker: str,
        topics: Iterable[Topic],
        limit: int,
        now: float,
        order: Sequence[tuple[str, str]] = (),
    ) -> list[ExternalTask]:
        """Lock tasks that nobody has and that may be tried; return them."""
        found: dict[int, tuple[ExternalTask, float]] = {}
        for topic in topics:
            self._free_expired(topic.name, now)
            conditions = [
                Condition("topic", "=", (topic.name,)),
                Condition("free", "=", (0,)),
                Condition("instance", "ACTIVE", ()),
            ]
            conditions += [Condition(column, "IN", values) for column, values in topic.filters]
            for task in self._find_free(conditions, order or (("number", "asc"),), limit):
                found.setdefault(task.number, (task, topic.lock))
        chosen = sorted(found.values(), key=lambda each: each[0].number)
        for column, direction in reversed(order):
            chosen.sort(key=lambda each: getattr(each[0], column), reverse=direction == "desc")
        chosen = chosen[:limit]
        for task, _ in chosen:
            self._foreseen.pop(task.id, None)
        for lock in {lock for _, lock in chosen}:
            self._lock([task.number for task, own in chosen if own == lock], worker, now + lock)
        return [_locked(task, worker, now + lock) for task, lock in chosen]

    def _free_expired(self, topic: str, now: float) -> None:
        self.database.defer(
            "UPDATE external_tasks SET free = 0 WHERE topic = ? AND free > 0 AND free <= ?",
            (topic, now),
        )

    def _find_free(
        self, conditions: Iterable[Condition], order: Sequence[tuple[str, str]], limit: int
    ) -> list[ExternalTask]:
        """Return free tasks that no other host is about to lock, and keep it from them.

        Hosts that fetch at the same time get different tasks: none gets nothing while there are
        some.
        """
        where, values = _where(conditions)
        query = f"{_SELECT}{where}{_order(order)} LIMIT ?{self.database.for_update}"
        return [_task(each) for each in self.database.query(query, (*values, limit))]

    def _lock(self, numbers: list[int], worker: str, until: float) -> None:
        among, values = self.database.among(numbers)
        self.database.defer(
            f"UPDATE external_tasks SET worker = ?, expires = ?, free = ? WHERE number IN {among}",
            (worker, until, until, *values),
        )

    def get(self, identifier: str) -> ExternalTask | None:
        """Return a task by its id."""
        if identifier in self._foreseen:  # Once: whoever asks may change it.
            return self._foreseen.pop(identifier)
        rows = self.database.query(f"{_SELECT} WHERE id = ?", (identifier,))
        return _task(rows[0]) if rows else None

    def details(self, task: ExternalTask) -> str | None:
        """Return the details of the last failed attempt."""
        rows = self.database.query(
            "SELECT details FROM external_tasks WHERE number = ?", (task.number,)
        )
        return rows[0][0] if rows else None

    def lock(self, task: ExternalTask, worker: str, until: float) -> None:
        """Let a worker have a task."""
        free = NEVER if task.retries == 0 else until
        self._set(task, worker=worker, expires=until, free=free)

    def unlock(self, task: ExternalTask) -> None:
        """Let nobody have a task."""
        free = NEVER if task.retries == 0 else 0
        self._set(task, worker=None, expires=None, free=free)
        self.database.announce()

    def fail(
        self, task: ExternalTask, error: str, details: str | None, retries: int, until: float
    ) -> None:
        """Note a failed attempt; nobody gets the task before `until`."""
        free = until if retries > 0 else NEVER
        self._set(task, error=error, details=details, retries=retries, expires=until, free=free)
        self.database.announce()

    def set_retries(self, task: ExternalTask, retries: int, now: float) -> None:
        """Set how many attempts are left."""
        free = (task.expires or 0) if task.is_locked(now) else 0
        self._set(task, retries=retries, free=free if retries > 0 else NEVER)
        self.database.announce()

    def set_priority(self, task: ExternalTask, priority: int) -> None:
        """Set the priority."""
        self._set(task, priority=priority)

    def _set(self, task: ExternalTask, **values: Any) -> None:
        sets = ", ".join(f"{each} = ?" for each in values)
        self.database.execute(
            f"UPDATE external_tasks SET {sets} WHERE number = ?", (*values.values(), task.number)
        )

    # -- lists -----------------------------------------------------------------------------

    def find(
        self,
        conditions: Iterable[Condition],
        order: Sequence[tuple[str, str]] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> list[ExternalTask]:
        """Return the tasks for which all conditions hold."""
        where, values = _where(conditions)
        page = f" LIMIT {int(limit)}" if limit is not None else ""
        if offset:
            page = f" LIMIT {int(limit if limit is not None else 2**62)} OFFSET {int(offset)}"
        rows = self.database.query(f"{_SELECT}{where}{_order(order)}{page}", values)
        return [_task(each) for each in rows]

    def count(self, conditions: Iterable[Condition]) -> int:
        """Return for how many tasks all conditions hold."""
        where, values = _where(conditions)
        ((found,),) = self.database.query(f"SELECT count(*) FROM external_tasks{where}", values)
        return int(found)

    def topics(self, conditions: Iterable[Condition]) -> list[str]:
        """Return the topics of the tasks for which all conditions hold, each once."""
        where, values = _where(conditions)
        rows = self.database.query(
            f"SELECT DISTINCT topic FROM external_tasks{where} ORDER BY topic", values
        )
        return [topic for (topic,) in rows]

    def next_due(self, topics: Iterable[str], now: float) -> float | None:
        """Return when the first lock on a task of these topics ends."""
        found = []
        for topic in topics:
            rows = self.database.query(
                "SELECT min(free) FROM external_tasks WHERE topic = ? AND free > ? AND free < ?",
                (topic, 0, NEVER),
            )
            found += [due for (due,) in rows if due is not None]
        return min(found, default=None)


def _where(conditions: Iterable[Condition]) -> tuple[str, tuple[Any, ...]]:
    texts: list[str] = []
    values: list[Any] = []
    for each in conditions:
        assert each.column.isidentifier(), each.column
        texts.append(_condition(each))
        values += each.values
    return (f" WHERE {' AND '.join(texts)}" if texts else ""), tuple(values)


def _condition(condition: Condition) -> str:
    column, operator, values = condition
    if operator == "IN":
        return f"{column} IN ({', '.join('?' * len(values))})" if values else "1 = 0"
    if operator in ("ACTIVE", "SUSPENDED"):
        negated = "NOT " if operator == "ACTIVE" else ""
        return f"{column} {negated}IN (SELECT number FROM instances WHERE phase = 'suspended')"
    if operator in ("NULL", "NOT NULL"):
        return f"{column} IS {operator}"
    null, _, comparison = operator.rpartition(" OR ")
    assert comparison in _COMPARISONS, operator
    found = f"{column} {comparison} ?"
    return f"({column} IS NULL OR {found})" if null else found


def _order(order: Sequence[tuple[str, str]]) -> str:
    parts = []
    for column, direction in order:
        assert column in _SORTED, column
        parts.append(f"{column} {'DESC' if direction == 'desc' else 'ASC'}")
    if ("number", "asc") not in order:
        parts.append("number")
    return f" ORDER BY {', '.join(parts)}"


def _locked(task: ExternalTask, worker: str, until: float) -> ExternalTask:
    fields = {each: getattr(task, each) for each in _COLUMNS}
    return ExternalTask(**{**fields, "worker": worker, "expires": until})


def _task(row: Sequence[Any]) -> ExternalTask:
    return ExternalTask(**dict(zip(_COLUMNS, row, strict=True)))
