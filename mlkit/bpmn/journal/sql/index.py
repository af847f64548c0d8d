"""What lists and searches read, so that they need not replay instances: written with the events."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Collection
from typing import Any

from mlkit.bpmn.engine.state import Activation, State
from mlkit.bpmn.engine.waits import ForPerson
from mlkit.bpmn.journal.records import ENDED, Criteria, Found, OpenTask, Stopped, Throughput
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
_Rows = tuple[tuple[Any, ...], ...]
_RUNNING = ("running", "interrupted")
_ENDED = f"phase IN ({', '.join(map(repr, ENDED))})"


class SqlIndex:
    """Search tables of a journal; `note` runs inside the transaction of the events.

    Args:
        database: The journal's.
        processes: Only instances of these processes are read; None: all.
    """

    def __init__(self, database: Database, processes: Collection[str] | None = None) -> None:
        self.database = database
        self._processes = None if processes is None else sorted(processes)
        self._known: OrderedDict[int, Any] = OrderedDict()

    # -- writing ---------------------------------------------------------------------------

    def note(self, number: int, state: State, is_new: bool = False) -> None:
        """Keep what an instance waits for; and its variables, where it rests."""
        shown = _tasks(state), _stopped(state)
        if self._known.get(number, ((), ()) if is_new else None) != shown:
            self._replace(number, *shown)
        if state.phase != "running":
            self._note_variables(number, state)
        self._known.pop(number, None)
        if state.status == "running":
            self._known[number] = shown
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)

    def forget(self, number: int | None = None) -> None:
        """Know nothing of an instance any more, or of all: it may be another's, or rolled back."""
        if number is None:
            self._known.clear()
        else:
            self._known.pop(number, None)

    def _replace(self, number: int, tasks: _Rows, stopped: _Rows) -> None:
        execute = self.database.defer
        execute("DELETE FROM open_tasks WHERE instance = ?", (number,))
        execute("DELETE FROM incidents WHERE instance = ?", (number,))
        for each in tasks:
            execute("INSERT INTO open_tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *each))
        for each in stopped:
            execute("INSERT INTO incidents VALUES (?, ?, ?, ?, ?)", (number, *each))

    def _note_variables(self, number: int, state: State) -> None:
        for root in state.roots()[:1]:
            for name, value in list(root.variables.items())[:_MOST_VARIABLES]:
                text = searchable(value)
                if text is not None:
                    self.database.defer(
                        "INSERT INTO instance_variables (instance, name, value) VALUES (?, ?, ?)"
                        " ON CONFLICT (instance, name) DO UPDATE SET value = excluded.value",
                        (number, name, text),
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
        return [Found(*row) for row in rows]

    def last_ended(self, limit: int) -> list[Found]:
        """Return the instances that ended last, newest end first."""
        where, values = self._within()
        rows = self.database.query(
            f"SELECT {_FOUND} FROM instances WHERE {' AND '.join([_ENDED, *where])}"
            " ORDER BY updated DESC, number DESC LIMIT ?",
            (*values, limit),
        )
        return [Found(*row) for row in rows]

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

    def _by_element(self, table: str, process: str, definition: str) -> dict[str, int]:
        rows = self.database.query(
            f"SELECT t.element, count(*) FROM {table} t JOIN instances i ON i.number = t.instance"
            " WHERE i.definition = ? AND i.process = ? GROUP BY t.element",
            (definition, process),
        )
        return {str(element): int(count) for element, count in rows}

    def counts(self) -> dict[str, int]:
        """Return how many instances there are in each phase."""
        where, values = self._within()
        condition = "".join(f" WHERE {each}" for each in where)
        rows = self.database.query(
            f"SELECT phase, count(*) FROM instances{condition} GROUP BY phase", tuple(values)
        )
        return {str(phase): int(count) for phase, count in rows}

    def task_count(self) -> int:
        """Return how many user tasks wait."""
        return int(self.database.query("SELECT count(*) FROM open_tasks")[0][0])

    def incident_count(self) -> int:
        """Return how many incidents wait for somebody."""
        where, values = self._within("i.process")
        join = " s JOIN instances i ON i.number = s.instance WHERE " if where else ""
        text = f"SELECT count(*) FROM incidents{join}{''.join(where)}"
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
        rows = self.database.query(
            "SELECT o.instance, i.id, i.process, i.definition, o.activation, o.element, o.name,"
            " o.assignee, o.users, o.teams, o.since, o.due, o.priority, i.key"
            " FROM open_tasks o JOIN instances i ON i.number = o.instance"
            f" WHERE {' AND '.join(where)} ORDER BY o.instance, o.activation LIMIT ?",
            (*values, _UNLIMITED if limit is None else limit),
        )
        return [
            OpenTask._make((*row[:8], json.loads(row[8]), json.loads(row[9]), *row[10:]))
            for row in rows
        ]

    def stopped(
        self, process: str | None, element: str | None, after: tuple[int, int], limit: int
    ) -> list[Stopped]:
        """Return incidents, oldest instance first, of a process and at an element."""
        where, values = self._within("i.process")
        where.append("(s.instance > ? OR (s.instance = ? AND s.activation > ?))")
        values += [after[0], after[0], after[1]]
        for column, value in (("i.process", process), ("s.element", element)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        rows = self.database.query(
            "SELECT s.instance, i.id, i.process, s.activation, s.element, s.attempt, s.message,"
            " i.updated FROM incidents s JOIN instances i ON i.number = s.instance"
            f" WHERE {' AND '.join(where)} ORDER BY s.instance, s.activation LIMIT ?",
            (*values, limit),
        )
        return [Stopped(*row) for row in rows]


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


def _stopped(state: State) -> _Rows:
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


def _open_text(state: State, message: str) -> str:
    """Return the beginning of a message, without what variables with names of secrets hold."""
    mask = Mask.of(each.variables for each in state.scopes.values())
    return mask.text(message)[:1000]


def _open(state: State) -> list[Activation]:
    return list(state.activations.values()) if state.status == "running" else []
