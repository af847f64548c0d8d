"""The instances of a journal: a row for each, found by id, by number and by what waits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import msgspec

from mlkit.bpmn.journal.records import ENDED, STATES, Damaged, Row, encode, require_id
from mlkit.errors import InputMissing
from mlkit.storage.database import Database

# The column `phase` holds the status: every journal in use has it under this name.
COLUMNS = (
    "number", "id", "process", "definition", "options", "key", "phase", "epoch", "sequence",
    "created", "updated", "due",
)  # fmt: skip
_BEGUN = {
    "number": "BIGINT", "id": "TEXT", "process": "TEXT", "definition": "TEXT",
    "options": "{blob}", "key": "TEXT", "phase": "TEXT", "epoch": "BIGINT",
    "created": "DOUBLE PRECISION", "updated": "DOUBLE PRECISION", "owner": "TEXT",
}  # fmt: skip
_BEGIN = f"INSERT INTO instances ({', '.join(_BEGUN)}) SELECT {', '.join(_BEGUN)} FROM {{rows}}"
_STATUS = COLUMNS.index("phase")
# A row whose status is damaged has not ended.
_NOT_ENDED = f"phase NOT IN ({', '.join(map(repr, ENDED))})"
# The index knows the tasks of instances at rest, but for those of an older mlkit that nobody has
# taken up yet: the migration has set their `due` to 0.
_MAY_HAVE_TASKS = (
    "(number IN (SELECT instance FROM open_tasks)"
    " OR phase NOT IN ('waiting', 'incident') OR due = 0)"
)


class SqlInstances:
    """The rows of a journal's instances; whoever adds one is inside a transaction.

    Args:
        database: The journal's.
        is_alive: Returns whether an owner lives, by its name.
        seen: What messages call the journal.
    """

    def __init__(self, database: Database, is_alive: Callable[[str], bool], seen: str) -> None:
        self._database = database
        self._is_alive = is_alive
        self._seen = seen
        self._reserved: list[tuple[int, str]] = []

    def create(
        self,
        process: str,
        definition: str,
        options: dict[str, Any],
        key: str,
        at: float,
        owner: str = "",
    ) -> Row:
        """Add an instance that has no event yet, inside a transaction; nobody owns it, or one."""
        values = process, definition, encode(options), key, at, at, owner, int(bool(owner))
        found: list[Any] = []
        while not found:  # Among many ids, a new one may be one of them.
            found = self._database.query(
                "INSERT INTO instances (id, process, definition, options, key, phase, created,"
                " updated, owner, epoch) VALUES (?, ?, ?, ?, ?, 'running', ?, ?, ?, ?)"
                f" ON CONFLICT (id) DO NOTHING RETURNING {', '.join(COLUMNS)}",
                (os.urandom(4).hex(), *values),
            )
        return to_row(found[0], True)

    def create_owned(
        self,
        process: str,
        definition: str,
        options: dict[str, Any],
        key: str,
        at: float,
        owner: str,
        most: int,
    ) -> Row:
        """Add an instance like `create`; up to `most` of a transaction are added together."""
        if not self._database.next_number:
            return self.create(process, definition, options, key, at, owner)
        if not self._reserved:
            self._reserve(most)
        number, name = self._reserved.pop()
        text = encode(options)
        self._database.defer_row(
            _BEGIN,
            _BEGUN,
            (number, name, process, definition, text, key, "running", 1, at, at, owner),
        )
        options = _read_options(text)
        return Row(number, name, process, definition, options, key, "running", 1, 0, at, at)

    def _reserve(self, most: int) -> None:
        """Reserve numbers with ids that no instance has; numbers that nobody uses are missing."""
        number = self._database.next_number.format("number", "instances")
        while not self._reserved:  # Among many ids, a new one may be one of them.
            ids = ",".join(os.urandom(4).hex() for _ in range(most))
            # Its text, which is parsed and planned once, does not depend on how many they are.
            self._reserved = self._database.query(
                f"SELECT {number}, g.id FROM unnest(string_to_array(?, ',')) AS g (id)"
                " WHERE NOT EXISTS (SELECT 1 FROM instances i WHERE i.id = g.id) ORDER BY 1 DESC",
                (ids,),
            )

    def forget_reserved(self) -> None:
        """Let what was reserved go: later instances have higher numbers than those of others."""
        self._reserved = []

    def fork(self, row: Row, upto: int, definition: str, options: dict[str, Any]) -> Row:
        """Add, inside a transaction, an instance that begins with another one's first events."""
        new = self.create(row.process, definition, options, row.key, row.created)
        copied = self._database.execute(
            "INSERT INTO events (instance, sequence, at, event, trace, log)"
            " SELECT CAST(? AS BIGINT), sequence, at, event, trace, log FROM events"
            " WHERE instance = ? AND sequence <= ?",
            (new.number, row.number, upto),
        )
        if copied != upto:
            raise InputMissing(f"instance {row.id} is gone", hint="see `mlkit bpmn list`")
        self._database.execute(
            "UPDATE instances SET sequence = ? WHERE number = ?", (upto, new.number)
        )
        return self.get(new.number)

    def find(self, identifier: str) -> Row:
        """Return an instance by its id or the beginning of it, four characters at least.

        Raises:
            UsageError: It is not an id.
            InputMissing: None or several have it.
            Damaged: Its row cannot be read.
        """
        require_id(identifier)
        # "g" comes after all hexadecimal digits.
        found = self.select("WHERE id >= ? AND id < ?", (identifier, f"{identifier}g"))
        exact = [each for each in found if each.id == identifier] or found
        if len(exact) != 1:
            problem = "there is no" if not exact else "several match: no single"
            raise InputMissing(
                f"{problem} instance {identifier!r} in {self._seen}",
                hint="see `mlkit bpmn list`",
            )
        return self.readable(exact[0])

    def get(self, number: int, keep: bool = False) -> Row:
        """Return an instance by its number; `keep` it so until the transaction ends.

        Raises:
            Damaged: Its row cannot be read.
        """
        share = self._database.for_share if keep else ""
        found = self.select(f"WHERE number = ?{share}", (number,))
        if not found:
            raise Damaged(self._database.place, f"number {number}", "its row is missing")
        return self.readable(found[0])

    def readable(self, row: Row) -> Row:
        """Return a row.

        Raises:
            Damaged: It cannot be read.
        """
        row.require_readable(self._database.place)
        return row

    def rows_of(self, numbers: Iterable[int]) -> list[Row]:
        """Return those instances of some numbers that there are, oldest first.

        Raises:
            Damaged: A row cannot be read.
        """
        wanted = tuple(numbers)
        if not wanted:
            return []
        among, values = self._database.among(wanted)
        found = self.select(f"WHERE number IN {among} ORDER BY number", values)
        return [self.readable(each) for each in found]

    def rows(self) -> list[Row]:
        """Return all instances, oldest first; those whose rows are damaged are marked."""
        return self.select("ORDER BY number", ())

    def open_rows(self) -> list[Row]:
        """Return the instances that have not ended, oldest first, with those that are damaged."""
        return self.select(f"WHERE {_NOT_ENDED} ORDER BY number", ())

    def rows_with_tasks(self) -> list[Row]:
        """Return those of `open_rows` in which user tasks may wait."""
        return self.select(f"WHERE {_NOT_ENDED} AND {_MAY_HAVE_TASKS} ORDER BY number", ())

    def select(self, clause: str, values: tuple[Any, ...]) -> list[Row]:
        """Return the rows of a clause of SQL, those that are damaged too."""
        query = f"SELECT {', '.join(COLUMNS)}, owner FROM instances {clause}"
        found = self._database.query(query, values)
        running = {each[-1] for each in found if each[_STATUS] == "running"}
        alive = {owner for owner in running if owner and self._is_alive(owner)}
        return [to_row(columns[:-1], columns[-1] in alive) for columns in found]


def to_row(columns: tuple[Any, ...], is_owned: bool) -> Row:
    """Read a row; one that cannot be read carries the reason in `damage`."""
    fields = dict(zip(COLUMNS, columns, strict=True))
    status = fields.pop("phase")
    fields["status"] = "interrupted" if status == "running" and not is_owned else status
    try:
        if status not in STATES:
            raise ValueError(f"there is no status {status!r}")
        fields["options"] = _read_options(fields["options"])
        return msgspec.convert(fields, Row)
    except (ValueError, TypeError) as error:
        number, identifier = columns[0], str(columns[1])
        damage = str(error)
        return Row(number, identifier, "?", "", {}, "", "damaged", 0, 0, 0.0, 0.0, None, damage)


@lru_cache(maxsize=1024)
def _read_options(text: bytes) -> Any:
    """Read options, which all instances of a definition share, and nobody changes."""
    return json.loads(text)
