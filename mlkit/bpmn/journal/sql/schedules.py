"""When deployed processes start by themselves: timers, and what signals have begun."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from mlkit.bpmn.definition.start_timers import StartTimer
from mlkit.bpmn.journal.records import CONDITION, Begun, Scheduled, StoreChange, encode
from mlkit.bpmn.journal.sql.decoding import decode, find_damage
from mlkit.errors import ConfigurationError, InputMissing
from mlkit.storage.database import Database

TABLES = """
CREATE TABLE schedules (
  process TEXT NOT NULL, element TEXT NOT NULL, timer {blob} NOT NULL, due DOUBLE PRECISION,
  paused BIGINT NOT NULL DEFAULT 0, queued BIGINT NOT NULL DEFAULT 0,
  instance BIGINT NOT NULL DEFAULT 0, last DOUBLE PRECISION, revision BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (process, element)
) {clustered};
CREATE INDEX schedules_by_due ON schedules (due) WHERE due IS NOT NULL;
CREATE TABLE start_events (
  process TEXT NOT NULL, element TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY (process, element, kind, name)
) {clustered};
CREATE INDEX start_events_by_name ON start_events (kind, name);
CREATE TABLE begun (
  number {id}, process TEXT NOT NULL, element TEXT NOT NULL, variables {blob} NOT NULL
)
"""
CHANGES = """
CREATE TABLE store_changes (
  number {id}, name TEXT NOT NULL, earlier {blob}, later {blob} NOT NULL
)
"""
_COLUMNS = "process, element, timer, paused, queued, instance, last, revision"
_CHANGES_LOCK = "changes of data stores"
logger = logging.getLogger("mlkit.bpmn")


class SqlSchedules:
    """The schedules of a journal; whoever writes is inside a transaction.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._reported: set[str] = set()

    # -- timers ----------------------------------------------------------------------------

    def replace(self, process: str, timers: Iterable[StartTimer]) -> None:
        """Let a process start at these timers, and at no other ones.

        A timer that is the same as before goes on as it is: it keeps its next time, and stays
        paused.
        """
        known = {each.timer.element: each for each in self._find("WHERE process = ?", (process,))}
        new = {each.element: each for each in timers}
        for element in known.keys() - new.keys():
            self.database.execute(
                "DELETE FROM schedules WHERE process = ? AND element = ?", (process, element)
            )
        for element, timer in new.items():
            before = known.get(element)
            if before is None:
                self.database.execute(
                    "INSERT INTO schedules (process, element, timer, due) VALUES (?, ?, ?, ?)",
                    (process, element, encode(timer), timer.due),
                )
            else:
                self.update(before, msgspec.structs.replace(before, timer=_going_on(before, timer)))

    def due(self, now: float) -> list[Scheduled]:
        """Return what is due and not paused, and what waits for the end of its last start.

        One that is damaged keeps no other from its start: the log names it.
        """
        found = []
        for row in self.database.query(
            f"SELECT {_COLUMNS} FROM schedules WHERE paused = 0 AND (due <= ? OR queued > 0)"
            " ORDER BY due, process, element",
            (now,),
        ):
            try:
                found.append(self._read(row))
            except ConfigurationError as error:
                if error.message not in self._reported:
                    logger.error("%s", error.message)
                self._reported.add(error.message)
        return found

    def next_due(self, after: float = 0.0) -> float | None:
        """Return when the next start after a time is due, both in seconds since 1970."""
        query = "SELECT min(due) FROM schedules WHERE paused = 0 AND due > ?"
        ((found,),) = self.database.query(query, (after,))
        return None if found is None else float(found)

    def update(self, before: Scheduled, after: Scheduled) -> bool:
        """Write a schedule as it goes on, unless somebody else has changed it meanwhile."""
        timer = after.timer
        return self.database.execute(
            "UPDATE schedules SET timer = ?, due = ?, paused = ?, queued = ?, instance = ?,"
            " last = ?, revision = revision + 1"
            " WHERE process = ? AND element = ? AND revision = ?",
            (
                encode(timer), timer.due, int(after.paused), after.queued, after.instance,
                after.last, timer.process, timer.element, before.revision,
            ),
        ) == 1  # fmt: skip

    def note(self, scheduled: Scheduled, instance: int) -> None:
        """Note, after `update`, the instance that a schedule has started last."""
        self.database.execute(
            "UPDATE schedules SET instance = ?, revision = revision + 1"
            " WHERE process = ? AND element = ?",
            (instance, scheduled.timer.process, scheduled.timer.element),
        )

    def all(self) -> list[Scheduled]:
        """Return all schedules, by process and element."""
        return self._find("ORDER BY process, element", ())

    def require(self, process: str, element: str | None = None) -> Scheduled:
        """Return a schedule.

        Raises:
            InputMissing: The process has no such timer, or several and none is named.
        """
        found = self._find("WHERE process = ? ORDER BY element", (process,))
        chosen = [each for each in found if element in (None, each.timer.element)]
        if len(chosen) == 1:
            return chosen[0]
        names = ", ".join(f"{process}/{each.timer.element}" for each in found)
        which = process if element is None else f"{process}/{element}"
        problem = "several schedules are" if chosen else "no schedule is"
        raise InputMissing(
            f"{problem} called {which!r:.120}",
            hint=f"it has {names}" if found else "`mlkit bpmn schedules` lists them",
        )

    def _find(self, clause: str, values: tuple[Any, ...]) -> list[Scheduled]:
        rows = self.database.query(f"SELECT {_COLUMNS} FROM schedules {clause}", values)
        return [self._read(row) for row in rows]

    def damage(self) -> list[str]:
        """Return the schedules that cannot be read."""
        return find_damage(self.database.query(f"SELECT {_COLUMNS} FROM schedules"), self._read)

    def _read(self, row: tuple[Any, ...]) -> Scheduled:
        process, element, content, paused, queued, instance, last, revision = row
        what = f"{self.database.place}: the schedule {process}/{element}"
        timer = decode(content, StartTimer, what)
        return Scheduled(timer, bool(paused), queued, instance, last, revision)

    # -- messages and signals --------------------------------------------------------------

    def expect(self, process: str, events: Iterable[tuple[str, str, str]]) -> None:
        """Let a process start at these events (element, kind, name).

        The kind is `message`, `signal`, or `condition` with the name of a data store.
        """
        self.database.execute("DELETE FROM start_events WHERE process = ?", (process,))
        for element, kind, name in sorted(set(events)):
            self.database.execute(
                "INSERT INTO start_events VALUES (?, ?, ?, ?)", (process, element, kind, name)
            )

    def expecting(self, kind: str, name: str) -> list[str]:
        """Return the processes that a message or signal starts where nobody waits for it."""
        rows = self.database.query(
            "SELECT DISTINCT process FROM start_events WHERE kind = ? AND name = ?"
            " ORDER BY process",
            (kind, name),
        )
        return [str(process) for (process,) in rows]

    def note_signal(self, name: str, variables: dict[str, Any]) -> None:
        """Note what a signal begins."""
        self.database.execute(
            "INSERT INTO begun (process, element, variables)"
            " SELECT process, element, CAST(? AS {blob}) FROM start_events".format_map(
                self.database.types
            )
            + " WHERE kind = 'signal' AND name = ? ORDER BY process, element",
            (encode(variables), name),
        )

    # -- data stores -----------------------------------------------------------------------

    def note_store(self, name: str, value: bytes) -> None:
        """Note, before it is written, what a data store becomes, where a condition mentions it."""
        query = "SELECT 1 FROM start_events WHERE kind = ? AND name = ? LIMIT 1"
        if self.database.query(query, (CONDITION, name)):
            self.database.lock([_CHANGES_LOCK])  # So that all agree on the order.
            self.database.execute(
                "INSERT INTO store_changes (name, earlier, later)"
                " VALUES (?, (SELECT value FROM stores WHERE name = ?), ?)",
                (name, name, value),
            )

    def take_changes(self) -> list[StoreChange]:
        """Take the changes of the data stores that conditions mention, oldest first."""
        if not self.database.query("SELECT 1 FROM store_changes LIMIT 1"):
            return []
        self.database.lock([_CHANGES_LOCK])
        found = self.database.query(
            "DELETE FROM store_changes RETURNING number, name, earlier, later"
        )
        return [
            StoreChange(name, _value(earlier), _value(later))
            for _, name, earlier, later in sorted(found, key=lambda row: row[0])
        ]

    def conditions(self) -> list[tuple[str, str, frozenset[str]]]:
        """Return the start events with conditions: process, element, the names they mention."""
        found: dict[tuple[str, str], set[str]] = {}
        for process, element, name in self.database.query(
            "SELECT process, element, name FROM start_events WHERE kind = ?"
            " ORDER BY process, element",
            (CONDITION,),
        ):
            found.setdefault((process, element), set()).add(name)
        return [(*place, frozenset(names)) for place, names in found.items()]

    # -- what has begun --------------------------------------------------------------------

    def take_starts(self, now: float) -> list[Begun]:
        """Take what signals, and messages that nobody else waits for, have begun."""
        found = self.database.query(
            "DELETE FROM begun RETURNING number, process, element, variables"
        )
        begun = [
            Begun(process, element, "", msgspec.json.decode(variables))
            for _, process, element, variables in sorted(found)
        ]
        return begun + self._by_message(now)

    def _by_message(self, now: float) -> list[Begun]:
        kept = self.database.query(
            "SELECT id, messages.name, key, variables, process, element FROM messages"
            " JOIN start_events ON kind = 'message' AND start_events.name = messages.name"
            " WHERE expires > ? ORDER BY id, process, element",
            (now,),
        )
        self.database.lock(sorted({f"message {name!r} {key!r}" for _, name, key, *_ in kept}))
        gone = {
            number
            for number in {row[0] for row in kept}
            if self.database.execute("DELETE FROM messages WHERE id = ?", (number,))
        }
        return [
            Begun(process, element, key, msgspec.json.decode(variables))
            for number, _, key, variables, process, element in kept
            if number in gone
        ]


def _value(body: Any) -> Any:
    """Return what a store held; None where that is damaged, or it held nothing."""
    try:
        return None if body is None else msgspec.json.decode(body)
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
        return None


def _going_on(before: Scheduled, timer: StartTimer) -> StartTimer:
    """Return a timer of a new version, at the next time of the old one if both are the same."""
    if not timer.is_same(before.timer):
        return timer
    old = before.timer
    return replace(timer, due=old.due, again=old.again, interval=old.interval)
