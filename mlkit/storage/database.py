"""What a database offers to the SQL that is written once for all of them.

Statements mark their values by `?`. They keep to what SQLite and PostgreSQL share: `INSERT ...
ON CONFLICT`, `RETURNING`, partial indexes, `BIGINT`, `DOUBLE PRECISION` and `TEXT`. Migrations
may hold `{id}` (a primary key that counts up by itself and never uses a number again), `{blob}`
(bytes), `{clustered}` at the end of a table that is kept in the order of its primary key, and
`{postgresql}` before a statement that SQLite leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mlkit.errors import ConfigurationError

Result = TypeVar("Result")
Migrations = Mapping[str, Sequence[str]]
"""By component: the statements of each version, separated by `;`."""
Columns = Mapping[str, str]
"""By name: the type of a column, as in migrations."""


class Database(Protocol):
    """A connection to a database.

    Attributes:
        place: Where it is, for messages; never with a password.
        kind: What it holds, for messages, such as "journal".
        clock: The SQL expression of its time, in seconds since 1970.
        for_share: What a SELECT ends with whose rows nobody may change before the transaction
            ends.
        for_update: What a SELECT ends with that leaves out rows which others have locked, and locks
            the rest until the transaction ends.
        next_number: The SQL expression of the next number of the column `{}` of the table `{}`, its
            `{id}`; empty where each row gets its number at once, when it is added.
        matches: The condition that the column `{}` matches a pattern, in any case; `!` escapes.
        types: What the marks of migrations stand for.
    """

    place: str
    kind: str
    clock: str
    for_share: str
    for_update: str
    next_number: str
    matches: str
    types: Mapping[str, str]

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement; return how many rows it changed."""

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement for each row of values."""

    def defer(
        self, statement: str, values: Sequence[Any] = (), check: Callable[[int], None] | None = None
    ) -> None:
        """Execute a statement whose result nothing needs before the transaction ends.

        All statements take effect in their order; those that are deferred may travel together.

        Args:
            statement: The statement.
            values: Its values.
            check: Called with how many rows it changed, before the transaction ends; what it raises
                undoes the transaction.
        """

    def defer_rows(self, statement: str, columns: Columns, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement on many rows of values, like `defer`.

        No two of the rows may concern the same row of the database.

        Args:
            statement: The statement, with `{rows}` where a table stands that has these columns and
                the name `given`.
            columns: The names and types of the columns.
            rows: The values; without any, nothing is executed.
        """

    def defer_row(self, statement: str, columns: Columns, row: Sequence[Any]) -> None:
        """Execute a statement on a row of values, like `defer_rows`.

        The rows of one statement travel together with the first of them: what is deferred in
        between may not depend on the later ones.
        """

    def defer_updates(
        self,
        table: str,
        keys: Columns,
        columns: Columns,
        rows: Sequence[Sequence[Any]],
        missed: Callable[[set[Any]], None],
    ) -> None:
        """Set columns of many rows of a table, like `defer`.

        Args:
            table: The table.
            keys: The names and types of the columns by which a row is found; the first one names
                no row twice.
            columns: Those that are set.
            rows: The values: those of the keys, then those of the columns.
            missed: Called with the first keys of the rows that are not there, if there are any,
                before the transaction ends; what it raises undoes the transaction.
        """

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows that a statement finds or returns."""

    def query_together(self, queries: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """Return the rows of several statements with their values, which travel together.

        Each sees what those before it have changed, as if it had been executed after them.
        """

    def among(self, values: Collection[Any], kind: str = "BIGINT") -> tuple[str, tuple[Any, ...]]:
        """Return a list of values of a type as the right side of `IN`, and its values."""

    def transaction(self) -> AbstractContextManager[None]:
        """Make all of a block durable at once, or nothing of it."""

    def atomically(self, work: Callable[[], Result]) -> Result:
        """Do a work in a transaction, and again where it was the victim of a deadlock."""

    def relaxed(self) -> AbstractContextManager[None]:
        """Let the transactions of a block be durable no later than the next one outside of it.

        They are ordered as all others: who reads or writes later finds them. Until the next one a
        failure of the machine may undo them, and all that came after them.
        """

    def lock(self, names: Iterable[str]) -> None:
        """Keep others that lock the same names waiting until the transaction ends.

        Whoever locks several names locks them in one call, so that no two wait for each other.
        """

    def announce(self) -> None:
        """Wake, at the end of the transaction, all other connections that `wait`."""

    def wait(self, timeout: float) -> bool:
        """Wait, at most `timeout` seconds, until another connection announces something."""

    def bell(self) -> int | None:
        """Return a file descriptor that can be read when `wait` would return; None: no such."""

    def versions(self, components: Migrations) -> dict[str, int]:
        """Return how many migrations each component has had."""

    def record(self, component: str, version: int) -> None:
        """Note, inside a transaction, how many migrations a component has had."""

    def failures(self) -> AbstractContextManager[None]:
        """Turn the failures of the database and of the disk into errors that name the place."""

    def tables(self) -> dict[str, tuple[str, ...]]:
        """Return the tables with their columns, in order."""

    def freeze(self, tables: Iterable[str]) -> None:
        """Keep others from writing to tables until the transaction ends."""

    def restart_counters(self, tables: Iterable[str]) -> None:
        """Let new numbers go on after those that rows were added with, inside a transaction."""

    def damage(self) -> list[str]:
        """Return what the database's own check finds wrong."""

    def close(self) -> None:
        """Close the connection."""


def migrate(database: Database, components: Migrations) -> None:
    """Bring all components of a database to the newest version, in one transaction.

    Raises:
        ConfigurationError: A component is newer than this program.
    """
    if not any(_missing(database, components)):
        return

    def work() -> None:
        database.lock(["migrations"])
        for name, number, statements in list(_missing(database, components)):
            for statement in statements.format_map(database.types).split(";"):
                database.execute(statement)
            database.record(name, number)

    database.atomically(work)


def _missing(database: Database, components: Migrations) -> Iterator[tuple[str, int, str]]:
    """Yield the component, number and statements of each migration that is still to be made.

    The number of a component may only be higher than known here in a newer program's database.
    """
    versions = database.versions(components)
    for name, version in versions.items():
        newest = len(components.get(name, ()))
        if not isinstance(version, int):
            raise ConfigurationError(f"{database.place}: the version of {name!r} is damaged")
        if version > newest:
            raise ConfigurationError(
                f"{database.place}: {database.kind} version {version}, this mlkit reads up to"
                f" {newest}" + (f" ({name})" if name != next(iter(components)) else ""),
                hint="use the mlkit that wrote it, or a newer one",
            )
    for name, migrations in components.items():
        done = versions.get(name, 0)
        for number, statements in enumerate(migrations[done:], done + 1):
            yield name, number, statements


def open_database(place: str | Path, kind: str, create: bool = False) -> Database:
    """Open a database.

    Args:
        place: A URL of PostgreSQL, or the path of a SQLite file.
        kind: What it holds, for messages, such as "journal".
        create: Whether to make what is missing.

    Raises:
        UsageError: It is no such URL.
        InputMissing: There is none, and none is to be made.
        ConfigurationError: It is something else, or damaged.
        ServiceUnavailable: It cannot be reached, read, written or locked.
    """
    if isinstance(place, Path):
        from mlkit.storage.sqlite import SqliteDatabase

        return SqliteDatabase(place, kind, create)
    from mlkit.storage.postgresql import PostgresqlDatabase

    return PostgresqlDatabase(place, kind, create)
