"""What happened to an instance, read back: its events, the state they give, what was printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from mlkit.bpmn.engine.events import AnyEvent, Hop
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.records import (
    DECODE_EVENT,
    DECODE_LOG,
    DECODE_STATE,
    DECODE_TRACE,
    Damaged,
    Log,
    Row,
)
from mlkit.errors import MlkitError
from mlkit.storage.database import Database

if TYPE_CHECKING:  # Who only lists instances needs no engine.
    from mlkit.bpmn.engine.engine import Engine

_UNREADABLE = (msgspec.DecodeError, TypeError, UnicodeDecodeError)


class History:
    """The events and snapshots of a journal's instances."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.place = database.place

    def replay(self, row: Row, engine: Engine) -> tuple[State, int]:
        """Return an instance's state and the number of its last event.

        Raises:
            Damaged: An event cannot be read, or one is missing.
        """
        state, sequence = self._snapshot(row) or (engine.create(), 0)
        for number, at, event, _ in self._events(row, sequence):
            self._apply(row, engine, state, (number, at, event))
            sequence = number
        return state, sequence

    def _apply(
        self, row: Row, engine: Engine, state: State, event: tuple[int, float, bytes]
    ) -> None:
        number, at, body = event
        try:
            engine.apply(state, self._event(row, number, body), at)
        except MlkitError:
            raise
        except Exception as error:
            problem = f"its event {number} cannot be applied: {type(error).__name__}: {error}"
            raise Damaged(self.place, row.id, problem) from error

    def _snapshot(self, row: Row) -> tuple[State, int] | None:
        found = self.database.query(
            "SELECT sequence, state FROM snapshots WHERE instance = ?", (row.number,)
        )
        try:
            return (DECODE_STATE.decode(found[0][1]), found[0][0]) if found else None
        except _UNREADABLE:
            return None  # All events give the same state.

    def events(self, row: Row) -> Iterator[tuple[float, AnyEvent, list[Hop]]]:
        """Yield an instance's events with their times and traces."""
        for number, at, event, trace in self._events(row, 0):
            try:
                steps = DECODE_TRACE.decode(trace)
            except _UNREADABLE as error:
                problem = f"the trace of its event {number} is damaged: {error}"
                raise Damaged(self.place, row.id, problem) from error
            yield at, self._event(row, number, event), steps

    def _event(self, row: Row, number: int, body: Any) -> AnyEvent:
        try:
            return DECODE_EVENT.decode(body)
        except _UNREADABLE as error:
            problem = f"its event {number} is damaged: {error}"
            raise Damaged(self.place, row.id, problem) from error

    def _events(self, row: Row, after: int) -> list[tuple[int, float, bytes, bytes]]:
        found = self.database.query(
            "SELECT sequence, at, event, trace FROM events"
            " WHERE instance = ? AND sequence > ? ORDER BY sequence",
            (row.number, after),
        )
        numbers = [each[0] for each in found]
        if numbers != list(range(after + 1, after + len(found) + 1)):
            raise Damaged(self.place, row.id, "some of its events are missing")
        if any(type(each[1]) is not float for each in found):
            raise Damaged(self.place, row.id, "the time of one of its events is damaged")
        return found

    def logs(self, row: Row) -> list[Log]:
        """Return what an instance's tasks printed, in the order that they ended."""
        found = self.database.query(
            "SELECT log FROM events WHERE instance = ? AND log IS NOT NULL ORDER BY sequence",
            (row.number,),
        )
        try:
            return [DECODE_LOG.decode(log) for (log,) in found]
        except _UNREADABLE as error:
            raise Damaged(self.place, row.id, f"one of its logs is damaged: {error}") from error
