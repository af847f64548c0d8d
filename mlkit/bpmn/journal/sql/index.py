"""What lists and searches read, so that they need not replay instances: written with the events."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.engine.waits import ForPerson, ForRetry
from mlkit.bpmn.journal.records import (
    ENDED,
    Alike,
    Criteria,
    Found,
    OpenTask,
    Retried,
    Stopped,
    Throughput,
)
from mlkit.bpmn.people.masking import Mask
from mlkit.errors import UsageError
from mlkit.storage.database import Database

TABLES = """
CREATE TABLE instance_variables (
  instance BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (instance, name)
) {clustered};
CREATE INDEX instance_variables_by_value ON instance_variables (name, value, instance);
CREATE TABLE open_tasks (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, element TEXT NOT NULL, name TEXT,
  assignee TEXT, users TEXT NOT NULL, teams TEXT NOT NULL, since DOUBLE PRECISION NOT NULL,
  due TEXT, priority TEXT, PRIMARY KEY (instance, activation)
) {clustered};
CREATE INDEX open_tasks_by_assignee ON open_tasks (assignee, instance, activation);
CREATE TABLE incidents (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, element TEXT NOT NULL,
  attempt BIGINT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (instance, activation)
) {clustered};
CREATE INDEX incidents_by_element ON incidents (element, instance);
CREATE INDEX instances_by_process ON instances (process, number);
CREATE INDEX instances_by_phase ON instances (phase, number);
CREATE INDEX instances_by_key ON instances (key, number);
CREATE INDEX instances_by_definition ON instances (definition, number)
"""
RETRIES = """
CREATE TABLE retries (
  instance BIGINT NOT NULL, activation BIGINT NOT NULL, element TEXT NOT NULL,
  attempt BIGINT NOT NULL, message TEXT NOT NULL, due DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (instance, activation)
) {clustered}
"""
LONGEST_VALUE = 200
"""Characters of a value that can be searched for; longer ones are not found."""
_MOST_VARIABLES = 200
_KNOWN = 10_000
_UNLIMITED = 2**62
_FOUND = (
    "number, id, process, definition, phase, owner, key, created, updated,"
    " (SELECT max(version) FROM deployments d WHERE d.definition = instances.definition"
    " AND d.process = instances.process)"
)
_TASK = {
    "instance": "BIGINT", "activation": "BIGINT", "element": "TEXT", "name": "TEXT",
    "assignee": "TEXT", "users": "TEXT", "teams": "TEXT", "since": "DOUBLE PRECISION",
    "due": "TEXT", "priority": "TEXT",
}  # fmt: skip
_INCIDENT = {
    "instance": "BIGINT", "activation": "BIGINT", "element": "TEXT", "attempt": "BIGINT",
    "message": "TEXT",
}  # fmt: skip
_RETRY = {**_INCIDENT, "due": "DOUBLE PRECISION"}
_SHOWN = (("open_tasks", _TASK), ("incidents", _INCIDENT), ("retries", _RETRY))
_VARIABLE = {"instance": "BIGINT", "name": "TEXT", "value": "TEXT"}
_NOTE_VARIABLES = (
    "INSERT INTO instance_variables (instance, name, value) SELECT instance, name, value"
    " FROM {rows} WHERE 1 = 1 ON CONFLICT (instance, name) DO UPDATE SET value = excluded.value"
)
_OPEN_TASKS = (
    "SELECT o.instance, i.id, i.process, i.definition, o.activation, o.element, o.name,"
    " o.assignee, o.users, o.teams, o.since, o.due, o.priority, i.key"
    " FROM open_tasks o JOIN instances i ON i.number = o.instance"
)
_AT_ONCE = 100
_Rows = tuple[tuple[Any, ...], ...]
_RUNNING = ("running", "interrupted")
_ENDED = f"phase IN ({', '.join(map(repr, ENDED))})"


class SqlIndex:
    """Search tables of a journal; `note_all` runs inside the transaction of the events.

    Args:
        database: The journal's.
        processes: Only instances of these processes are read; None: all.
    """

    def __init__(self, database: Database, processes: Collection[str] | None = None) -> None:
        self.database = database
        self._processes = None if processes is None else sorted(processes)
        self._known: OrderedDict[int, Any] = OrderedDict()

    # -- writing ---------------------------------------------------------------------------

    def note_all(self, instances: Iterable[tuple[int, State, bool]]) -> None:
        """Keep what instances wait for; and their variables, where they rest.

        Args:
            instances: The number and the state of each, and whether it is new.
        """
        changed: dict[int, tuple[_Rows, ...]] = {}
        variables: list[tuple[int, str, str]] = []
        for number, state, is_new in instances:
            shown = _tasks(state), _list_stopped(state), _retried(state)
            if self._known.get(number, ((), (), ()) if is_new else None) != shown:
                changed[number] = shown
            if state.effective_status != "running":
                variables += _variables(number, state)
            self._remember(number, shown if state.status == "running" else None)
        self._replace(changed)
        self.database.defer_rows(_NOTE_VARIABLES, _VARIABLE, variables)

    def _remember(self, number: int, shown: tuple[_Rows, ...] | None) -> None:
        self._known.pop(number, None)
        if shown is not None:
            self._known[number] = shown
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)

    def forget(self, number: int | None = None) -> None:
        """Know nothing of an instance any more, or of all: it may be another's, or rolled back."""
        if number is None:
            self._known.clear()
        else:
            self._known.pop(number, None)

    @contextmanager
    def consistent(self) -> Iterator[None]:
        """Forget what the tables hold where a block, with its transaction, is undone."""
        try:
            yield
        except BaseException:
            self.forget()
            raise

    def _replace(self, changed: Mapping[int, tuple[_Rows, ...]]) -> None:
        for place, (table, columns) in enumerate(_SHOWN):
            self.database.defer_rows(
                f"DELETE FROM {table} WHERE instance IN (SELECT instance FROM {{rows}})",
                {"instance": "BIGINT"},
                [(number,) for number in changed],
            )
            names = ", ".join(columns)
            self.database.defer_rows(
                f"INSERT INTO {table} ({names}) SELECT {names} FROM {{rows}}",
                columns,
                [(number, *row) for number, shown in changed.items() for row in shown[place]],
            )

    # -- reading ---------------------------------------------------------------------------

    def within(self, processes: Collection[str] | None) -> SqlIndex:
        """Return an index that reads the instances of some processes only; None: of all."""
        return SqlIndex(self.database, processes)

    def _within(self, column: str = "process") -> tuple[list[str], list[Any]]:
        """Return the condition for the processes that are read, and its values."""
        if self._processes is None:
            return [], []
        marks = ", ".join("?" * len(self._processes))
        return [f"{column} IN ({marks})" if marks else "1 = 0"], list(self._processes)

    def search(self, criteria: Criteria, before: int | None, limit: int) -> list[Found]:
        """Return instances, newest first, whose numbers lie below `before`."""
        where, values = _conditions(criteria, *self._within())
        if before is not None:
            where, values = [*where, "number < ?"], [*values, before]
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        rows = self.database.query(
            f"SELECT {_FOUND} FROM instances{condition} ORDER BY number DESC LIMIT ?",
            (*values, limit),
        )
        return [_to_found(row) for row in rows]

    def list_last_ended(self, limit: int) -> list[Found]:
        """Return the instances that ended last, newest end first."""
        where, values = self._within()
        rows = self.database.query(
            f"SELECT {_FOUND} FROM instances WHERE {' AND '.join([_ENDED, *where])}"
            " ORDER BY updated DESC, number DESC LIMIT ?",
            (*values, limit),
        )
        return [_to_found(row) for row in rows]

    def throughput(self, since: float) -> list[Throughput]:
        """Return what has ended since a time, by hour, process and state."""
        where, values = self._within()
        rows = self.database.query(
            "SELECT CAST(updated AS BIGINT) / 3600, process, phase, count(*),"
            " sum(updated - created), max(updated - created) FROM instances"
            f" WHERE {' AND '.join([_ENDED, 'updated >= ?', *where])} GROUP BY 1, 2, 3",
            (since, *values),
        )
        return [Throughput(*row) for row in rows]

    def tasks_by_element(self, process: str, definition: str) -> dict[str, int]:
        """Return how many user tasks of a stored definition wait, by element."""
        return self._by_element("open_tasks", process, definition)

    def incidents_by_element(self, process: str, definition: str) -> dict[str, int]:
        """Return how many incidents of a stored definition there are, by element."""
        return self._by_element("incidents", process, definition)

    def external_by_element(self, process: str, definition: str) -> dict[str, int]:
        """Return how many external tasks of a stored definition are offered, by element."""
        return self._by_element("external_tasks", process, definition)

    def retries_by_element(self, process: str, definition: str) -> dict[str, int]:
        """Return how many tasks of a stored definition wait for another attempt, by element."""
        return self._by_element("retries", process, definition)

    def _by_element(self, table: str, process: str, definition: str) -> dict[str, int]:
        rows = self.database.query(
            f"SELECT t.element, count(*) FROM {table} t JOIN instances i ON i.number = t.instance"
            " WHERE i.definition = ? AND i.process = ? GROUP BY t.element",
            (definition, process),
        )
        return {str(element): int(count) for element, count in rows}

    def counts(self) -> dict[str, int]:
        """Return how many instances have each status."""
        where, values = self._within()
        condition = "".join(f" WHERE {each}" for each in where)
        rows = self.database.query(
            f"SELECT phase, count(*) FROM instances{condition} GROUP BY phase", tuple(values)
        )
        return {str(status): int(count) for status, count in rows}

    def task_count(self) -> int:
        """Return how many user tasks wait."""
        return int(self.database.query("SELECT count(*) FROM open_tasks")[0][0])

    def incident_count(self) -> int:
        """Return how many incidents wait for somebody."""
        return self._count("incidents")

    def retry_count(self) -> int:
        """Return how many tasks wait for another attempt."""
        return self._count("retries")

    def _count(self, table: str) -> int:
        where, values = self._within("i.process")
        join = " s JOIN instances i ON i.number = s.instance WHERE " if where else ""
        text = f"SELECT count(*) FROM {table}{join}{''.join(where)}"
        return int(self.database.query(text, tuple(values))[0][0])

    def tasks(
        self, assignee: str | None, group: str | None, after: tuple[int, int], limit: int | None
    ) -> list[OpenTask]:
        """Return user tasks that a person, or a group, may do, oldest instance first.

        Args:
            assignee: The person; None for anybody.
            group: The group; None for any.
            after: The instance and activation after which the list begins.
            limit: How many at most; None for all.
        """
        where, values = self._within("i.process")
        where.append("(o.instance > ? OR (o.instance = ? AND o.activation > ?))")
        values += [after[0], after[0], after[1]]
        if assignee is not None:
            where.append("(o.assignee = ? OR o.users LIKE ? ESCAPE '!')")
            values += [assignee, _containing(assignee)]
        if group is not None:
            where.append("o.teams LIKE ? ESCAPE '!'")
            values.append(_containing(group))
        return self._open_tasks(
            f"{' AND '.join(where)} ORDER BY o.instance, o.activation LIMIT ?",
            (*values, _UNLIMITED if limit is None else limit),
        )

    def _open_tasks(self, clause: str, values: Sequence[Any]) -> list[OpenTask]:
        rows = self.database.query(f"{_OPEN_TASKS} WHERE {clause}", values)
        return [
            OpenTask._make((*row[:8], json.loads(row[8]), json.loads(row[9]), *row[10:]))
            for row in rows
        ]

    def assignments(self) -> list[Alike]:
        """Return for whom user tasks wait: those of a process that wait for the same people."""
        where, values = self._within("i.process")
        condition = "".join(f" WHERE {each}" for each in where)
        rows = self.database.query(
            "SELECT i.process, o.assignee, o.users, o.teams, count(*) FROM open_tasks o"
            f" JOIN instances i ON i.number = o.instance{condition} GROUP BY 1, 2, 3, 4",
            values,
        )
        return [
            Alike(_make_task(process, assignee, json.loads(users), json.loads(teams)), number)
            for process, assignee, users, teams, number in rows
        ]

    def oldest_tasks(self, assigned: Sequence[OpenTask], limit: int) -> list[OpenTask]:
        """Return user tasks, oldest first, that are assigned as one of some others is."""
        found: list[OpenTask] = []
        for start in range(0, len(assigned), _AT_ONCE):
            alike = [_alike(each) for each in assigned[start : start + _AT_ONCE]]
            found += self._open_tasks(
                f"({' OR '.join(text for text, _ in alike)}) ORDER BY o.since LIMIT ?",
                (*(value for _, values in alike for value in values), limit),
            )
        return sorted(found, key=lambda each: each.since)[:limit]

    def stopped(
        self, process: str | None, element: str | None, after: tuple[int, int], limit: int
    ) -> list[Stopped]:
        """Return incidents, oldest instance first, of a process and at an element."""
        rows = self._listed("incidents", "i.updated", process, element, after, limit)
        return [Stopped(*row) for row in rows]

    def retried(
        self, process: str | None, element: str | None, after: tuple[int, int], limit: int
    ) -> list[Retried]:
        """Return the tasks that wait for another attempt, as `stopped` does incidents."""
        rows = self._listed("retries", "s.due", process, element, after, limit)
        return [Retried(*row) for row in rows]

    def _listed(
        self,
        table: str,
        column: str,
        process: str | None,
        element: str | None,
        after: tuple[int, int],
        limit: int,
    ) -> list[Any]:
        where, values = self._within("i.process")
        where.append("(s.instance > ? OR (s.instance = ? AND s.activation > ?))")
        values += [after[0], after[0], after[1]]
        for name, value in (("i.process", process), ("s.element", element)):
            if value is not None:
                where.append(f"{name} = ?")
                values.append(value)
        return self.database.query(
            "SELECT s.instance, i.id, i.process, s.activation, s.element, s.attempt, s.message,"
            f" {column} FROM {table} s JOIN instances i ON i.number = s.instance"
            f" WHERE {' AND '.join(where)} ORDER BY s.instance, s.activation LIMIT ?",
            (*values, limit),
        )


def _to_found(columns: tuple[Any, ...]) -> Found:
    """Return an instance that a search finds; one that is damaged says so."""
    try:
        return msgspec.convert(columns, Found)
    except (ValueError, TypeError):
        return Found(columns[0], str(columns[1]), "?", "", "damaged", "", "", 0.0, 0.0)


def _variables(number: int, state: State) -> Iterator[tuple[int, str, str]]:
    """Yield the rows of an instance's variables that can be searched for."""
    for root in state.roots()[:1]:
        for name, value in list(root.variables.items())[:_MOST_VARIABLES]:
            text = searchable(value)
            if text is not None:
                yield number, name, text


def _make_task(process: str, assignee: str | None, users: list[str], groups: list[str]) -> OpenTask:
    return OpenTask(0, "", process, "", 0, "", None, assignee, users, groups, 0.0, None, None)


def _alike(task: OpenTask) -> tuple[str, tuple[str, ...]]:
    """Return the condition for tasks that are assigned as one is, with its values."""
    values = task.process, _names(task.users), _names(task.groups)
    text = "i.process = ? AND o.users = ? AND o.teams = ? AND o.assignee"
    if task.assignee is None:
        return f"{text} IS NULL", values
    return f"{text} = ?", (*values, task.assignee)


def searchable(value: Any) -> str | None:
    """Return a value as it is searched for: JSON of a short scalar; None for all others."""
    if isinstance(value, dict | list):
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else None


def _containing(name: str) -> str:
    return _anywhere(json.dumps(name, ensure_ascii=False))


def _anywhere(text: str) -> str:
    """Return the pattern of what holds a text; `!` escapes."""
    for each in "!%_":
        text = text.replace(each, f"!{each}")
    return f"%{text}%"


def _conditions(
    criteria: Criteria, where: list[str], values: list[Any]
) -> tuple[list[str], list[Any]]:
    for column, value in (
        ("process = ?", criteria.process),
        ("definition = ?", criteria.definition),
        ("key = ?", criteria.key),
        ("created >= ?", criteria.started_after),
        ("created < ?", criteria.started_before),
        ("updated >= ?", criteria.ended_after),
        ("updated < ?", criteria.ended_before),
    ):
        if value is not None:
            where.append(column)
            values.append(value)
    if criteria.ended_after is not None or criteria.ended_before is not None:
        where.append(_ENDED)
    if criteria.state is not None:
        where.append("phase = ?")
        values.append("running" if criteria.state in _RUNNING else criteria.state)
    if criteria.text is not None:
        columns = ("id", "key", "process")
        likes = (f"lower({each}) LIKE lower(CAST(? AS TEXT)) ESCAPE '!'" for each in columns)
        where.append(f"({' OR '.join(likes)})")
        values += [_anywhere(criteria.text)] * len(columns)
    for name, value in criteria.variables.items():
        text = searchable(value)
        if text is None:
            raise UsageError(f"variable {name!r:.80}: only short scalars can be searched for")
        where.append(
            "number IN (SELECT instance FROM instance_variables WHERE name = ? AND value = ?)"
        )
        values += [name, text]
    return where, values


def _tasks(state: State) -> _Rows:
    return tuple(
        (
            each.id, each.node, wait.name, wait.assignee, _names(wait.users), _names(wait.groups),
            wait.since, wait.due, wait.priority,
        )
        for each in _open(state)
        if not state.suspended
        and each.status == "waiting"
        and isinstance(wait := each.wait, ForPerson)
    )  # fmt: skip


def _names(names: list[str]) -> str:
    return json.dumps(names, ensure_ascii=False)


def _list_stopped(state: State) -> _Rows:
    found = [
        (each.id, each.node, each.attempt, _open_text(state, each.incident.message))
        for each in _open(state)
        if each.status == "incident" and each.incident is not None
    ]
    if state.status == "running":
        found += [
            (number, state.process, 0, _open_text(state, each.message))
            for number, each in state.defects.items()
            if number not in state.activations
        ]
    return tuple(found)


def _retried(state: State) -> _Rows:
    return tuple(
        (each.id, each.node, each.attempt, _open_text(state, wait.failure), wait.due)
        for each in _open(state)
        if not state.suspended
        and each.status == "pausing"
        and isinstance(wait := each.wait, ForRetry)
    )


def _open_text(state: State, message: str) -> str:
    """Return the beginning of a message, without what variables with names of secrets hold."""
    mask = Mask.of(each.variables for each in state.scopes.values())
    return mask.text(message)[:1000]


def _open(state: State) -> list[Activation]:
    return list(state.activations.values()) if state.status == "running" else []
