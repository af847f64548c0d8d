"""What happened to an instance, read back: its events, the state they give, what was printed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlkit.bpmn.engine.events import AnyEvent, Hop
from mlkit.bpmn.engine.state import State
from mlkit.bpmn.journal.records import (
    DECODE_EVENT,
    DECODE_LOG,
    DECODE_STATE,
    DECODE_TRACE,
    EARLIEST,
    LATEST,
    MIGRATED,
    UNREADABLE,
    Damaged,
    Log,
    Recorded,
    Row,
)
from mlkit.bpmn.journal.sql import event_writer
from mlkit.errors import MlkitError
from mlkit.storage.database import Database

if TYPE_CHECKING:  # Who only lists instances needs no engine.
    from mlkit.bpmn.engine.engine import Engine

_AT_ONCE = 100
_Event = tuple[int, float, bytes, bytes]


def _first(row: Row) -> int:
    """Return the first event of the version of an instance: see `Migrate`."""
    return int(row.options.get(MIGRATED, 1))


class History:
    """The events and snapshots of a journal's instances."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.place = database.place

    def replay(
        self, row: Row, engine: Engine, recorded: Recorded | None = None
    ) -> tuple[State, int]:
        """Return an instance's state and the number of its last event.

        Args:
            row: The instance.
            engine: The engine of its definition.
            recorded: What `recorded` has read of it, whose state is changed; None: it is read now.

        Raises:
            Damaged: An event cannot be read, or one is missing.
        """
        snapshot, last, events = recorded or self._read([row])[row.number]
        state = engine.create() if snapshot is None else snapshot
        for number, _ in self._follow(row, engine, state, self._complete(row, last, events)):
            last = number
        return state, last

    def follow(
        self,
        row: Row,
        engine: Engine,
        state: State,
        after: int,
        recorded: Recorded | None = None,
    ) -> Iterator[tuple[int, AnyEvent]]:
        """Apply an instance's events after one to a state; yield each that is, with its number.

        Those of an older version, which the instance has left, are yielded and not applied.

        Raises:
            Damaged: An event cannot be read, or one is missing.
        """
        if recorded is not None and recorded.after <= after:
            found = [each for each in recorded.events if each[0] > after]
        else:
            found = self._events({row.number: after})[row.number]
        return self._follow(row, engine, state, self._complete(row, after, found))

    def _follow(
        self, row: Row, engine: Engine, state: State, events: list[_Event]
    ) -> Iterator[tuple[int, AnyEvent]]:
        first = _first(row)
        for number, at, body, _ in events:
            event = self._event(row, number, body)
            if number >= first:
                self._apply(row, engine, state, (number, at, event))
            yield number, event

    def load_recorded(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Recorded | None]]:
        """Yield instances with what `replay` needs of them, many of which are read together.

        Where some cannot be, it is None: each is read by itself then, and shows its damage.
        """
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            try:
                found: Mapping[int, Recorded] = self._read(part)
            except (MlkitError, ValueError, TypeError):
                found = {}
            for row in part:
                yield row, found.get(row.number)

    def _read(self, rows: Sequence[Row]) -> dict[int, Recorded]:
        snapshots = self._snapshots(
            [each.number for each in rows if each.sequence >= event_writer.SNAPSHOT_EVERY]
        )
        begun = {each.number: _beginning(each, snapshots.get(each.number)) for each in rows}
        events = self._events({number: after for number, (_, after) in begun.items()})
        return {
            number: Recorded(state, after, events[number])
            for number, (state, after) in begun.items()
        }

    def _snapshots(self, numbers: Sequence[int]) -> dict[int, tuple[int, bytes]]:
        """Return the snapshots of instances: the number of the last event in it, and the state."""
        if not numbers:
            return {}
        among, values = self.database.among(numbers)
        found = self.database.query(
            f"SELECT instance, sequence, state FROM snapshots WHERE instance IN {among}", values
        )
        return {number: (sequence, state) for number, sequence, state in found}

    def _apply(
        self, row: Row, engine: Engine, state: State, entry: tuple[int, float, AnyEvent]
    ) -> None:
        number, at, event = entry
        try:
            engine.apply(state, event, at, replayed=True)
        except MlkitError:
            raise
        except Exception as error:
            problem = f"its event {number} cannot be applied: {type(error).__name__}: {error}"
            raise Damaged(self.place, row.id, problem) from error

    def events(self, row: Row) -> Iterator[tuple[float, AnyEvent, list[Hop]]]:
        """Yield an instance's events with their times and traces."""
        found = self._events({row.number: 0})[row.number]
        for number, at, event, trace in self._complete(row, 0, found):
            try:
                steps = DECODE_TRACE.decode(trace)
            except UNREADABLE as error:
                problem = f"the trace of its event {number} is damaged: {error}"
                raise Damaged(self.place, row.id, problem) from error
            yield at, self._event(row, number, event), steps

    def _event(self, row: Row, number: int, body: Any) -> AnyEvent:
        try:
            return DECODE_EVENT.decode(body)
        except UNREADABLE as error:
            problem = f"its event {number} is damaged: {error}"
            raise Damaged(self.place, row.id, problem) from error

    def _events(self, after: Mapping[int, int]) -> dict[int, list[_Event]]:
        """Return the events of instances, by their number, after an event of each."""
        given = ", ".join(["(?, ?)"] * len(after))
        rows = self.database.query(
            "SELECT e.instance, e.sequence, e.at, e.event, e.trace"
            f" FROM (VALUES {given}) AS given JOIN events e"
            " ON e.instance = given.column1 AND e.sequence > given.column2"
            " ORDER BY e.instance, e.sequence",
            [value for pair in after.items() for value in pair],
        )
        found: dict[int, list[_Event]] = {number: [] for number in after}
        for number, *event in rows:
            found[number].append(tuple(event))
        return found

    def _complete(self, row: Row, after: int, found: list[_Event]) -> list[_Event]:
        """Return an instance's events after one of them, which are all there.

        Raises:
            Damaged: They are not.
        """
        numbers = [each[0] for each in found]
        if numbers != list(range(after + 1, after + len(found) + 1)):
            raise Damaged(self.place, row.id, "some of its events are missing")
        if any(type(at) is not float or not EARLIEST <= at <= LATEST for _, at, *_ in found):
            raise Damaged(self.place, row.id, "the time of one of its events is damaged")
        return found

    def traces(self, instances: Sequence[int], most: int) -> Iterator[tuple[float, Hop]]:
        """Yield what instances passed, with the times: their newest events, up to a number.

        What cannot be read is left out.
        """
        among, values = self.database.among(instances)
        found = self.database.query(
            f"SELECT at, trace FROM events WHERE instance IN {among}"
            " ORDER BY instance DESC, sequence DESC LIMIT ?",
            (*values, most),
        )
        for at, trace in found:
            with contextlib.suppress(*UNREADABLE):
                yield from ((at, each) for each in DECODE_TRACE.decode(trace))

    def logs(self, row: Row) -> list[Log]:
        """Return what an instance's tasks printed, in the order that they ended."""
        found = self.database.query(
            "SELECT log FROM events WHERE instance = ? AND log IS NOT NULL ORDER BY sequence",
            (row.number,),
        )
        try:
            return [DECODE_LOG.decode(log) for (log,) in found]
        except UNREADABLE as error:
            raise Damaged(self.place, row.id, f"one of its logs is damaged: {error}") from error


def _beginning(row: Row, snapshot: tuple[int, bytes] | None) -> tuple[State | None, int]:
    """Return the state from which an instance is replayed, and the event that it comes after."""
    first = _first(row) - 1
    if snapshot is None or snapshot[0] < first:
        return None, first
    try:
        return DECODE_STATE.decode(snapshot[1]), snapshot[0]
    except UNREADABLE:
        return None, first  # All events give the same state.
