"""Who runs which instance: taken with a new epoch, and released."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from mlkit.bpmn.journal.owner import Owner
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.journal.sql.instances import COLUMNS, SqlInstances, to_row
from mlkit.bpmn.journal.sql.mailbox import STEERS
from mlkit.storage.database import Database, Result

_AT_ONCE = 500
_OPEN = "phase IN ('running', 'waiting', 'incident')"
# Each part has an index: those that rest, and those that have ended, cost nothing.
_MAY_MOVE = (
    "SELECT number FROM instances WHERE phase = 'running'"
    " UNION SELECT number FROM instances WHERE due <= ? UNION SELECT instance FROM inbox"
)


class SqlOwnership:
    """Which process owns which instance of a journal.

    Args:
        database: The journal's.
        owner: This process.
        instances: The rows.
    """

    def __init__(self, database: Database, owner: Owner, instances: SqlInstances) -> None:
        self._database = database
        self._owner = owner
        self._instances = instances

    def register(self) -> str:
        """Let others see that this process uses the journal; return its name among them."""
        with self._database.failures():
            return self._owner.register()

    def is_used(self) -> bool:
        """Return whether another process that lives owns instances, or has registered."""
        return bool(self._owner.living() - {self._owner.name})

    def is_owned(self, row: Row) -> bool:
        """Return whether a live process owns an instance."""
        owner = self._owner_of(row)
        return bool(owner) and self._owner.is_alive(owner)

    def _owner_of(self, row: Row) -> str:
        found = self._database.query("SELECT owner FROM instances WHERE number = ?", (row.number,))
        return str(found[0][0]) if found else ""

    def take(self, rows: Iterable[Row]) -> list[Row]:
        """Take instances for this process; return those that it got, with their new epochs."""
        mine = self.register()
        numbers = sorted(each.number for each in rows)

        def work() -> list[Row]:
            found: list[Row] = []
            for start in range(0, len(numbers), _AT_ONCE):
                found += self._take_some(numbers[start : start + _AT_ONCE], mine)
            return sorted(found, key=lambda each: each.number)

        return self._atomically(work)

    def _take_some(self, numbers: list[int], mine: str) -> Iterator[Row]:
        """Take instances from nobody, from this process itself, and from owners that are dead."""
        among, values = self._database.among(numbers)
        query = f"SELECT DISTINCT owner FROM instances WHERE number IN {among}"
        owners = self._database.query(query, values)
        for (before,) in sorted(owners):
            if before not in ("", mine):
                if self._owner.is_alive(before):
                    continue
                self._owner.bury(before)
            found = self._database.query(
                "UPDATE instances SET epoch = epoch + 1, owner = ?"
                f" WHERE number IN {among} AND owner = ? RETURNING {', '.join(COLUMNS)}",
                (mine, *values, before),
            )
            yield from (to_row(each, True) for each in found)

    def take_free(self, numbers: Collection[int]) -> list[Row]:
        """Take, inside a transaction, those of some open instances that nobody owns or locks."""
        if not numbers:
            return []
        among, values = self._database.among(sorted(numbers))
        return self.read_taken(self._database.query(*self._taking(f"number IN {among}", values)))

    def taking(self, names: Collection[str]) -> tuple[str, tuple[Any, ...]]:
        """Return the statement, with its values, that does what `take_free` does, by their ids.

        `read_taken` reads the rows that it returns.
        """
        among, values = self._database.among(sorted(names), "TEXT")
        return self._taking(f"id IN {among}", values)

    def _taking(self, condition: str, values: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
        query = (
            "UPDATE instances SET epoch = epoch + 1, owner = ? WHERE number IN (SELECT number"
            f" FROM instances WHERE {condition} AND owner = '' AND {_OPEN}"
            f"{self._database.for_update}) RETURNING {', '.join(COLUMNS)}"
        )
        return query, (self._owner.name, *values)

    @staticmethod
    def read_taken(found: Sequence[tuple[Any, ...]]) -> list[Row]:
        """Return the instances that were taken, but for those that are damaged."""
        return [row for each in found if not (row := to_row(each, True)).damage]

    def work(self, now: float, limit: int, without: Collection[int] = ()) -> list[Row]:
        """Return open instances that no other process owns and that can go on."""
        # What this process owns and does not run: the answer to its taking was lost.
        unowned, living = self._not_owned_by(self._owner.living() - {self._owner.name})
        known, values = self._database.among(without)
        return [
            row
            for row in self._instances.select(
                f"WHERE number IN ({_MAY_MOVE}) AND {unowned} AND number NOT IN {known}"
                f" AND ({_OPEN} OR phase = 'suspended' AND number IN"
                f" (SELECT instance FROM inbox WHERE asks = {STEERS})) ORDER BY number LIMIT ?",
                (now, *living, *values, limit),
            )
            if not row.damage
        ]

    def next_due(self) -> float | None:
        """Return when the first timer is due of the instances that nobody alive owns."""
        unowned, living = self._not_owned_by(self._owner.living())
        query = f"SELECT min(due) FROM instances WHERE due IS NOT NULL AND {unowned}"
        ((due,),) = self._database.query(query, living)
        return None if due is None else float(due)

    @staticmethod
    def _not_owned_by(names: set[str]) -> tuple[str, tuple[str, ...]]:
        """Return a condition on rows, with its values."""
        values = tuple(names)
        return f"owner NOT IN ({', '.join('?' * len(values))})" if values else "1 = 1", values

    def release(self, rows: Iterable[Row]) -> None:
        """Let other processes have instances."""
        numbers = sorted((each.number, each.epoch) for each in rows)

        def work() -> None:
            for each in numbers:
                self._database.defer(
                    "UPDATE instances SET owner = '' WHERE number = ? AND epoch = ?", each
                )

        if numbers:
            self._atomically(work)

    def _atomically(self, work: Callable[[], Result]) -> Result:
        # Owners of a file die with its machine: only commits that follow have to survive that.
        with self._database.relaxed():
            return self._database.atomically(work)
