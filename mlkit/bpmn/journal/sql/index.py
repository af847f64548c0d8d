"""What lists and searches read, so that they need not replay instances: written with the events."""

from __future__ import annotations

import itertools
import json
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.listings import (
    Alike,
    Criteria,
    Found,
    OpenTask,
    Retried,
    Stopped,
    Throughput,
    Word,
)
from mlkit.bpmn.journal.records import Append, Row
from mlkit.bpmn.journal.sql.criteria import HAVE_ENDED, conditions, containing
from mlkit.bpmn.journal.sql.found_tasks import SqlFoundTasks
from mlkit.bpmn.journal.sql.index_damage import find_damage
from mlkit.bpmn.journal.sql.index_rows import (
    Rows,
    count_tokens,
    list_incidents,
    list_retries,
    list_tasks,
    list_variables,
)
from mlkit.bpmn.journal.sql.task_search import (
    ELEMENTS,
    Condition,
    condition_of_people,
    conditions_of,
)
from mlkit.storage.database import Database

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
    "due": "TEXT", "priority": "TEXT", "alike": "TEXT", "process": "TEXT", "definition": "TEXT",
}  # fmt: skip
_INCIDENT = {
    "instance": "BIGINT", "activation": "BIGINT", "element": "TEXT", "attempt": "BIGINT",
    "message": "TEXT", "process": "TEXT", "definition": "TEXT",
}  # fmt: skip
_RETRY = {
    "instance": "BIGINT", "activation": "BIGINT", "element": "TEXT", "attempt": "BIGINT",
    "message": "TEXT", "due": "DOUBLE PRECISION", "process": "TEXT", "definition": "TEXT",
}  # fmt: skip
_TOKENS = {
    "instance": "BIGINT", "element": "TEXT", "kind": "TEXT", "count": "BIGINT",
    "process": "TEXT", "definition": "TEXT",
}  # fmt: skip
_SHOWN = (
    ("open_tasks", _TASK), ("incidents", _INCIDENT), ("retries", _RETRY), ("tokens", _TOKENS),
)  # fmt: skip
_NOTHING: tuple[Rows, ...] = ((),) * len(_SHOWN)
_Known = tuple[int, tuple[str, str, float | None], tuple[Rows, ...]]
_NEW: _Known = (0, ("running", "", None), _NOTHING)
_VARIABLE = {"instance": "BIGINT", "name": "TEXT", "value": "TEXT"}
_NOTE_VARIABLES = (
    "INSERT INTO instance_variables (instance, name, value) SELECT instance, name, value"
    " FROM {rows} WHERE 1 = 1 ON CONFLICT (instance, name) DO UPDATE SET value = excluded.value"
)
_OPEN_TASKS = (
    "SELECT o.instance, i.id, o.process, i.definition, o.activation, o.element, o.name,"
    " o.assignee, o.users, o.teams, o.since, o.due, o.priority, i.key"
    " FROM open_tasks o JOIN instances i ON i.number = o.instance"
)
_AT_ONCE = 100
"""Assignments of a query; of more, the tasks of everybody are read by their age."""
_PART = 1000
_BY_ELEMENT = (
    ("open_tasks", "'person'", "*"), ("external_tasks", "'worker'", "*"),
    ("retries", "'retry'", "*"), ("incidents", "'incident'", "*"), ("tokens", "kind", "count"),
)  # fmt: skip


class SqlIndex:
    """Search tables of a journal; `note_all` runs inside the transaction of the events.

    Args:
        database: The journal's.
        processes: Only instances of these processes are read; None: all.
    """

    def __init__(self, database: Database, processes: Collection[str] | None = None) -> None:
        self.database = database
        self._processes = None if processes is None else sorted(processes)
        # What the tables hold of an instance after an event: whoever moves it adds another one.
        self._known: OrderedDict[int, _Known] = OrderedDict()

    # -- writing ---------------------------------------------------------------------------

    def knows(self, append: Append) -> bool:
        """Return whether lists find an instance by the same as before."""
        if append.sequence == 0:
            row = append.row
            return row.due is None and append.indexed == ("running", row.key, None)
        known = self._known.get(append.number)
        return known is not None and known[0] == append.sequence and known[1] == append.indexed

    def note_all(self, appends: Iterable[Append]) -> None:
        """Keep what instances wait for; and their variables, where they rest."""
        changed: dict[int, tuple[Rows, ...]] = {}
        variables: list[tuple[int, str, str]] = []
        for each in appends:
            number, before, state = each.number, each.sequence, each.state
            shown = (
                _NOTHING if each.only_works else _list_shown(each.changes.moved or each.row, state)
            )
            known = _NEW if before == 0 else self._known.pop(number, None)
            if known is None or known[0] != before or known[2] != shown:
                changed[number] = shown
            if each.indexed[0] != "running":
                variables += list_variables(number, state)
            if state.status == "running":
                self._known[number] = each.after, each.indexed, shown
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        if changed:
            self._replace(changed)
        if variables:
            self.database.defer_rows(_NOTE_VARIABLES, _VARIABLE, variables)

    def forget(self) -> None:
        """Know nothing of the tables any more."""
        self._known.clear()

    def _replace(self, changed: Mapping[int, tuple[Rows, ...]]) -> None:
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

    def damage(self, row: Row, state: State) -> list[str]:
        """Return what its tables, and an instance's row, hold otherwise than its events record."""
        return find_damage(self.database, row, state)

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
        where, values = conditions(criteria, *self._within(), self.database.matches)
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
            f"SELECT {_FOUND} FROM instances WHERE {' AND '.join([HAVE_ENDED, *where])}"
            " ORDER BY ended DESC, number DESC LIMIT ?",
            (*values, limit),
        )
        return [_to_found(row) for row in rows]

    def throughput(self, since: float) -> list[Throughput]:
        """Return what has ended since a time, by hour, process and state."""
        where, values = self._within()
        rows = self.database.query(
            "SELECT CAST(ended AS BIGINT) / 3600, process, phase, count(*),"
            " sum(ended - created), max(ended - created) FROM instances"
            f" WHERE {' AND '.join(['ended >= ?', *where])} GROUP BY 1, 2, 3",
            (since, *values),
        )
        return [Throughput(*row) for row in rows]

    def count_open(self, process: str, definition: str) -> dict[tuple[str, str], int]:
        """Return how many tokens of a stored definition wait: by element and what they wait for.

        What waits is a `person`, `worker`, `retry`, `incident`, or a kind of `count_tokens`; a
        token at a join has the id of its flow instead of that of an element.
        """
        parts = (
            f"SELECT element, {kind}, "
            f"{'count(*)' if count == '*' else f'CAST(sum({count}) AS BIGINT)'} FROM {table}"
            f" WHERE definition = ? AND process = ? GROUP BY 1, 2"
            for table, kind, count in _BY_ELEMENT
        )
        values = (definition, process) * len(_BY_ELEMENT)
        found = self.database.query(" UNION ALL ".join(parts), values)
        return {(str(element), str(kind)): int(count) for element, kind, count in found}

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
        where, values = self._within()
        condition = "".join(f" WHERE {each}" for each in where)
        found = self.database.query(f"SELECT count(*) FROM {table}{condition}", values)
        return int(found[0][0])

    def tasks(
        self,
        names: Collection[str] | None,
        group: str | None,
        after: tuple[int, int],
        limit: int | None,
    ) -> list[OpenTask]:
        """Return user tasks that a person, or a group, may do, oldest instance first.

        Args:
            names: What tasks may call the person: an id, an address; None for anybody.
            group: The group; None for any.
            after: The instance and activation after which the list begins.
            limit: How many at most; None for all.
        """
        where, values = self._within("o.process")
        where.append("(o.instance, o.activation) > (?, ?)")
        values += after
        if names is not None:
            named = [each.lower() if "@" in each else each for each in names]
            where.append(f"({' OR '.join(map(_names_person, names))})")
            values += [part for each in named for part in (each, containing(each))]
        if group is not None:
            where.append("o.teams LIKE ? ESCAPE '!'")
            values.append(containing(group))
        return self._open_tasks(
            f"{' AND '.join(where)} ORDER BY o.instance, o.activation LIMIT ?",
            (*values, _UNLIMITED if limit is None else limit),
        )

    def _open_tasks(self, clause: str, values: Sequence[Any]) -> list[OpenTask]:
        rows = self.database.query(f"{_OPEN_TASKS} WHERE {clause}", values)
        return [task for row in rows if (task := _to_task(row)) is not None]

    def elements_with_tasks(self) -> list[OpenTask]:
        """Return one user task of each element where some wait; whom it waits for is left out."""
        where, values = self._within()
        condition = "".join(f" WHERE {each}" for each in where)
        rows = self.database.query(f"{ELEMENTS}{condition}", values)
        return [
            _make_task(process, None, [], [])._replace(
                number=number, definition=definition, element=element
            )
            for definition, process, element, number in rows
        ]

    def find_tasks(self, words: Sequence[Word]) -> SqlFoundTasks:
        """Return the user tasks that have all of some words."""
        return SqlFoundTasks(self, words)

    def reads(self, process: str) -> bool:
        """Return whether instances of a process are read."""
        return self._processes is None or process in self._processes

    def tasks_of(self, keys: Sequence[Sequence[int]]) -> list[OpenTask]:
        """Return the user tasks of some instances and activations, oldest first."""
        if not keys:
            return []
        rows = self.database.query(
            f"{_OPEN_TASKS} JOIN (VALUES {', '.join(['(?, ?)'] * len(keys))}) AS given"
            " ON o.instance = given.column1 AND o.activation = given.column2 ORDER BY o.since",
            [value for key in keys for value in key],
        )
        return [task for row in rows if (task := _to_task(row)) is not None]

    def assignments(self, words: Sequence[Word] = ()) -> list[Alike]:
        """Return for whom user tasks wait: those of a process that wait for the same people."""
        where, values = self._within("o.process")
        for text, more in conditions_of(words, self.database.matches):
            where, values = [*where, text], [*values, *more]
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        rows = self.database.query(
            "SELECT DISTINCT g.process, g.alike, o.assignee, o.users, o.teams, g.count FROM"
            " (SELECT o.process, o.alike, count(*) AS count, min(o.instance) AS first"
            f" FROM open_tasks o{condition} GROUP BY o.process, o.alike) g"
            " JOIN open_tasks o"
            " ON o.instance = g.first AND o.process = g.process AND o.alike = g.alike",
            values,
        )
        counts: Counter[tuple[Any, ...]] = Counter()
        for process, _, assignee, users, teams, count in rows:
            counts[process, assignee, users, teams] += count
        return [
            Alike(_make_task(process, assignee, json.loads(users), json.loads(teams)), count)
            for (process, assignee, users, teams), count in counts.items()
        ]

    def oldest_tasks(
        self, assigned: Sequence[OpenTask], limit: int, words: Sequence[Word] = ()
    ) -> list[OpenTask]:
        """Return user tasks, oldest first, that are assigned as one of some others is."""
        if not assigned:
            return []
        matching = conditions_of(words, self.database.matches)
        if len(assigned) > _AT_ONCE:
            return self._oldest_of_many(assigned, limit, matching)
        wanted = [_all_of([condition_of_people(each), *matching]) for each in assigned]
        parts = (
            "SELECT * FROM (SELECT o.instance, o.activation, o.since FROM open_tasks o"
            f" WHERE {text} ORDER BY o.since LIMIT ?) part{position}"
            for position, (text, _) in enumerate(wanted)
        )
        rows = self.database.query(
            f"{_OPEN_TASKS} JOIN (SELECT * FROM ({' UNION ALL '.join(parts)}) parts"
            " ORDER BY since LIMIT ?) k ON k.instance = o.instance AND k.activation = o.activation"
            " ORDER BY o.since",
            (*(value for _, values in wanted for value in (*values, limit)), limit),
        )
        return [task for row in rows if (task := _to_task(row)) is not None]

    def _oldest_of_many(
        self, assigned: Sequence[OpenTask], limit: int, matching: list[Condition]
    ) -> list[OpenTask]:
        wanted = {_people(each) for each in assigned}
        found: list[OpenTask] = []
        text, values = _all_of([("1 = 1", []), *matching])
        for start in itertools.count(0, _PART):
            clause = f"{text} ORDER BY o.since LIMIT ? OFFSET ?"
            part = self._open_tasks(clause, (*values, _PART, start))
            found += [each for each in part if _people(each) in wanted]
            if len(found) >= limit or len(part) < _PART:
                break
        return found[:limit]

    def list_incidents(
        self, process: str | None, element: str | None, after: tuple[int, int], limit: int
    ) -> list[Stopped]:
        """Return incidents, oldest instance first, of a process and at an element."""
        rows = self._list("incidents", "i.updated", process, element, after, limit)
        return [Stopped(*row) for row in rows]

    def list_retries(
        self, process: str | None, element: str | None, after: tuple[int, int], limit: int
    ) -> list[Retried]:
        """Return the tasks that wait for another attempt, as `list_incidents` does incidents."""
        rows = self._list("retries", "s.due", process, element, after, limit)
        return [Retried(*row) for row in rows]

    def _list(
        self,
        table: str,
        column: str,
        process: str | None,
        element: str | None,
        after: tuple[int, int],
        limit: int,
    ) -> list[Any]:
        where, values = self._within("s.process")
        where.append("(s.instance, s.activation) > (?, ?)")
        values += after
        for name, value in (("s.process", process), ("s.element", element)):
            if value is not None:
                where.append(f"{name} = ?")
                values.append(value)
        return self.database.query(
            "SELECT s.instance, i.id, s.process, s.activation, s.element, s.attempt, s.message,"
            f" {column} FROM {table} s JOIN instances i ON i.number = s.instance"
            f" WHERE {' AND '.join(where)} ORDER BY s.instance, s.activation LIMIT ?",
            (*values, limit),
        )


def _names_person(name: str) -> str:
    """Return the condition that a task names somebody; addresses are the same in any case."""
    assignee, users = ("lower(o.assignee)", "lower(o.users)") if "@" in name else (
        "o.assignee", "o.users")  # fmt: skip
    return f"{assignee} = ? OR {users} LIKE ? ESCAPE '!'"


def _list_shown(row: Row, state: State) -> tuple[Rows, ...]:
    """Return the rows of an instance in each table of `_SHOWN`, without its number."""
    if state.status != "running":
        return _NOTHING
    place = row.process, row.definition
    found = (
        list_tasks(row.number, state), list_incidents(state), list_retries(state),
        count_tokens(state),
    )  # fmt: skip
    return tuple(tuple((*each, *place) for each in rows) for rows in found)


def _to_task(columns: tuple[Any, ...]) -> OpenTask | None:
    """Return a user task of a list; None where its row is damaged, which `check` reports."""
    try:
        users, groups = json.loads(columns[8]), json.loads(columns[9])
        return msgspec.convert((*columns[:8], users, groups, *columns[10:]), OpenTask)
    except (ValueError, TypeError):
        return None


def _to_found(columns: tuple[Any, ...]) -> Found:
    """Return an instance that a search finds; one that is damaged is marked."""
    try:
        return msgspec.convert(columns, Found)
    except (ValueError, TypeError):
        return Found(columns[0], str(columns[1]), "?", "", "damaged", "", "", 0.0, 0.0)


def _make_task(process: str, assignee: str | None, users: list[str], groups: list[str]) -> OpenTask:
    return OpenTask(0, "", process, "", 0, "", None, assignee, users, groups, 0.0, None, None)


def _people(task: OpenTask) -> tuple[Any, ...]:
    return task.process, task.assignee, tuple(task.users), tuple(task.groups)


def _all_of(conditions: Sequence[Condition]) -> Condition:
    return " AND ".join(text for text, _ in conditions), [
        value for _, values in conditions for value in values
    ]
