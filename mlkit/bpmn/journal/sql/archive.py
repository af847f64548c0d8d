"""All tables of a journal as lines of JSON, the same for every database."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any

from mlkit.bpmn.journal.sql.schema import COMPONENTS
from mlkit.errors import BadData
from mlkit.storage.database import Database

_LEFT_OUT = {"hosts", "verdicts", "schema_versions", "artifact_store", "running_attempts"}
# What belongs to processes that live, and where this journal has its stored values.
_LARGE = {"events": "instance", "audit": "number"}
# Tables that are read in parts, by a number.
_RANGE = 500
_AT_ONCE = 500
_BYTES = "$bytes"


def versions() -> dict[str, int]:
    """Return the version of each component that this program reads and writes."""
    return {name: len(each) for name, each in COMPONENTS.items()}


class SqlArchive:
    """The tables of a journal, to be moved; every method is called inside a transaction.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tables = {
            name: columns for name, columns in database.tables().items() if name not in _LEFT_OUT
        }

    def freeze(self) -> None:
        """Keep others from writing until the transaction ends."""
        self.database.freeze(self.tables)

    def is_empty(self) -> bool:
        """Return whether no table has a row."""
        return not any(self.database.query(f"SELECT 1 FROM {each} LIMIT 1") for each in self.tables)

    def read(self, table: str) -> Iterator[bytes]:
        """Yield the rows of a table, a line of JSON each."""
        columns = self.tables[table]
        names = ", ".join(columns)
        for condition, values in self._ranges(table):
            query = f"SELECT {names} FROM {table}{condition} ORDER BY {columns[0]}"
            for row in self.database.query(query, values):
                yield _line(dict(zip(columns, row, strict=True)))

    def _ranges(self, table: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield conditions that part a large table, so that it need not be in memory at once."""
        column = _LARGE.get(table)
        if column is None:
            yield "", ()
            return
        query = f"SELECT min({column}), max({column}) FROM {table}"
        ((first, last),) = self.database.query(query)
        if first is not None:
            for start in range(first, last + 1, _RANGE):
                yield f" WHERE {column} >= ? AND {column} < ?", (start, start + _RANGE)

    def write(self, table: str, lines: Iterable[bytes]) -> int:
        """Add rows to a table; return how many.

        Raises:
            BadData: They are not rows of it.
        """
        columns = self.tables.get(table)
        if columns is None:
            raise BadData(f"a journal has no table {table!r:.80}")
        statement = (
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        )
        count, waiting = 0, list[tuple[Any, ...]]()
        for line in lines:
            waiting.append(_values(table, columns, line))
            count += 1
            if len(waiting) == _AT_ONCE:
                self.database.execute_many(statement, waiting)
                waiting.clear()
        self.database.execute_many(statement, waiting)
        return count

    def finish(self) -> None:
        """Let numbers go on after those of the rows that were added; nobody owns an instance."""
        self.database.execute("UPDATE instances SET owner = ''")
        self.database.restart_counters(self.tables)


def _line(row: dict[str, Any]) -> bytes:
    packed = {
        name: {_BYTES: base64.b64encode(value).decode()}
        if isinstance(value, bytes | memoryview)
        else value
        for name, value in row.items()
    }
    return json.dumps(packed, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _values(table: str, columns: tuple[str, ...], line: bytes) -> tuple[Any, ...]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict) or row.keys() != set(columns):
            raise ValueError("its columns are others")
        return tuple(_value(row[each]) for each in columns)
    except (ValueError, TypeError) as error:
        raise BadData(f"a row of {table} cannot be read: {error}") from error


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value[_BYTES], validate=True)
    if isinstance(value, list):
        raise TypeError("a list is not a value")
    return value
