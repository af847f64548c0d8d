"""PostgreSQL as a database: what differs from a file, and a server that goes away."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import postgresql_server
import pytest

from mlkit.errors import ConfigurationError, InputMissing, ServiceUnavailable, UsageError
from mlkit.storage.database import migrate, open_database

psycopg = pytest.importorskip("psycopg")
TABLES = ("CREATE TABLE a (x BIGINT PRIMARY KEY, y TEXT, z {blob})",)


@pytest.fixture
def opened(postgresql) -> Iterator[list]:
    found = []

    def open_() -> object:
        found.append(open_database(postgresql, "journal", create=True))
        migrate(found[-1], {"journal": TABLES})
        return found[-1]

    yield open_
    for each in found:
        each.close()


def add(database, *numbers) -> None:
    with database.transaction():
        for each in numbers:
            database.execute("INSERT INTO a (x) VALUES (?)", (each,))


def numbers(database) -> list[int]:
    return [x for (x,) in database.query("SELECT x FROM a ORDER BY x")]


def test_values_come_back_as_they_were(opened):
    database = opened()
    rows = [(2**40, "ünï % ? ☃", b"\x00\xff"), (2, "a\0b", b"")]
    with database.transaction():
        database.execute_many("INSERT INTO a (x, y, z) VALUES (?, ?, ?)", rows)
    # PostgreSQL keeps no NUL in a text: its picture stands for it, in what is looked up, too.
    assert database.query("SELECT x, z FROM a WHERE y = ?", ("a\0b",)) == [(2, b"")]
    assert database.query("SELECT * FROM a WHERE x = ?", (2**40,)) == rows[:1]


def test_a_text_is_used_again_after_a_block_that_failed_where_it_was_to_be_prepared(opened):
    """The driver prepares a text when it is used the sixth time."""
    database = opened()
    insert, note = "INSERT INTO a (x) VALUES (?)", "INSERT INTO a (x, y) VALUES (?, ?)"

    def fail(number):
        with database.transaction():
            database.defer(insert, (1,))
            database.defer(note, (number, ""))

    add(database, 1)
    for number in range(10, 30):
        with pytest.raises(ConfigurationError, match="duplicate key"):
            fail(number)
        with database.transaction():
            database.defer(note, (number, ""))
    assert numbers(database) == [1, *range(10, 30)]


def test_a_block_that_has_handled_its_first_error_is_not_committed(opened):
    database = opened()

    def swallow(statement, value):
        with database.transaction(), contextlib.suppress(ConfigurationError):
            database.execute(statement, (value,))

    for statement, value in (
        ("INSERT INTO nowhere VALUES (?)", 1),
        ("INSERT INTO a (x) VALUES (?)", object()),  # The driver does not send that.
    ):
        with pytest.raises(ServiceUnavailable, match="was not committed"):
            swallow(statement, value)
        add(database, value if value == 1 else 2)
    assert numbers(opened()) == [1, 2]


def test_a_block_that_has_handled_a_later_error_is_not_committed(opened):
    database = opened()

    def swallow():
        with database.transaction():
            database.execute("INSERT INTO a (x) VALUES (1)")
            with contextlib.suppress(ConfigurationError):
                database.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(ServiceUnavailable, match="was not committed"):
        swallow()
    add(database, 2)
    assert numbers(database) == [2]


def test_a_block_that_fails_leaves_nothing(opened):
    database = opened()

    def fail():
        with database.transaction():
            database.execute("INSERT INTO a (x) VALUES (1)")
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    def wrong():
        with database.transaction():
            database.execute("INSERT INTO a (x) VALUES (1)")
            database.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(ConfigurationError):
        wrong()
    assert numbers(database) == []


def test_deferred_statements_keep_their_order_and_a_check_undoes_all(opened):
    database = opened()
    insert, counts = "INSERT INTO a (x) VALUES (?)", list[int]()
    with database.transaction():
        database.defer(insert, (1,), counts.append)
        database.defer("UPDATE a SET x = x + 1 WHERE x = ?", (1,), counts.append)
        assert numbers(database) == [2]
        database.defer("UPDATE a SET x = 0 WHERE x = ?", (7,), counts.append)
    assert counts == [1, 1, 0]

    def refuse(changed: int) -> None:
        raise LookupError(changed)

    def refused() -> None:
        with database.transaction():
            database.defer(insert, (3,))
            database.defer("UPDATE a SET x = 0 WHERE x = ?", (7,), refuse)
            database.defer(insert, (2,))  # Fails by itself; what was refused before is the reason.

    def failed() -> None:
        with database.transaction():
            database.defer(insert, (2,), counts.append)

    for function, kind in ((refused, LookupError), (failed, ConfigurationError)):
        with pytest.raises(kind):
            function()
        assert numbers(database) == [2]


def test_a_statement_on_many_rows_keeps_texts_bytes_and_nothing(opened):
    database = opened()
    columns = {"x": "BIGINT", "name": "TEXT", "body": "{blob}", "at": "DOUBLE PRECISION"}
    rows = [
        (1, "a \"b\", {c}\\ 'd'", b"\0\xff", 0.1),
        (2, "NULL", b"", None),
        (3, None, None, 1e300),
        (4, "a\0é", b"{1,2}", -0.5),
    ]
    with database.transaction():
        database.execute("CREATE TABLE b (x BIGINT, name TEXT, body BYTEA, at DOUBLE PRECISION)")
        insert = "INSERT INTO b SELECT x, name, body, at FROM {rows}"
        database.defer_rows(insert, columns, rows[:2])
        database.defer_rows(insert, columns, [])
        for row in rows[2:]:
            database.defer_row(insert, columns, row)
            assert row is rows[2] or database.query("SELECT max(x) FROM b") == [(4,)]
    kept = [*rows[:3], (4, "a\u2400é", b"{1,2}", -0.5)]
    assert database.query("SELECT x, name, body, at FROM b ORDER BY x") == kept

    missed: list[set[int]] = []
    with database.transaction():
        keys, changed = {"x": "BIGINT", "at": "DOUBLE PRECISION"}, {"at": "DOUBLE PRECISION"}
        database.defer_updates("b", keys, changed, [(1, 0.1, 0.2), (4, -0.5, None)], missed.append)
        database.defer_updates("b", keys, changed, [(1, 0.1, 3.0), (9, 1.0, 3.0)], missed.append)
        database.defer_updates("b", {"x": "BIGINT"}, changed, [(2, 7.0), (3, None)], missed.append)
    assert missed == [{1, 9}]
    assert database.query("SELECT at FROM b ORDER BY x") == [(0.2,), (7.0,), (None,), (None,)]


def test_what_is_asked_for_sees_what_was_deferred_before_it(opened):
    database = opened()
    with database.transaction():
        database.execute("CREATE TABLE c (x BIGINT)")
        database.defer("INSERT INTO c VALUES (?)", (1,))
        assert database.query("SELECT x FROM c") == [(1,)]
        database.defer("INSERT INTO c VALUES (?)", (2,))
        assert database.execute("UPDATE c SET x = x + 1") == 2
        assert database.query("SELECT x FROM c ORDER BY x") == [(2,), (3,)]

    def refuse(changed: int) -> None:
        raise LookupError(changed)

    def undo() -> None:
        with database.transaction():
            database.defer("UPDATE c SET x = 0", (), refuse)
            database.query("SELECT x FROM c")

    with pytest.raises(LookupError, match="2"):
        undo()
    assert database.query("SELECT x FROM c ORDER BY x") == [(2,), (3,)]


@pytest.mark.parametrize("numbers", [[], [3], range(1000), [-(2**63), 2**63 - 1, 2]])
def test_rows_are_found_among_any_number_of_integers(opened, numbers):
    database = opened()
    among, values = database.among(numbers)
    for negation in ("", "NOT "):
        ((found,),) = database.query(
            "SELECT count(*) FROM (VALUES (CAST(2 AS BIGINT)), (3)) AS t (x)"
            f" WHERE x {negation}IN {among}", values
        )  # fmt: skip
        wanted = sum((each in numbers) != bool(negation) for each in (2, 3))
        assert found == wanted


def test_a_connection_that_was_lost_is_made_again(opened):
    one, two = opened(), opened()
    end = "SELECT pg_terminate_backend(?)"
    two.query(end, (one.connection.info.backend_pid,))
    assert numbers(one) == []
    two.query(end, (one.connection.info.backend_pid,))
    add(one, 1)

    def cut_off():
        with one.transaction():
            one.execute("INSERT INTO a (x) VALUES (2)")
            two.query(end, (one.connection.info.backend_pid,))
            one.execute("INSERT INTO a (x) VALUES (3)")

    with pytest.raises(ServiceUnavailable, match="postgresql://"):
        cut_off()
    add(one, 4)
    two.query(end, (one.connection.info.backend_pid,))
    with one.transaction():
        one.execute_many("INSERT INTO a (x) VALUES (?)", [(5,), (6,)])
    assert numbers(one) == [1, 4, 5, 6]


class LostAtCommit:
    """A connection that is lost during COMMIT, before or after the server has done it."""

    def __init__(self, real, done: bool) -> None:
        self.real, self.done = real, done

    def execute(self, statement, *given):
        if b"COMMIT" not in (statement if isinstance(statement, bytes) else b""):
            return self.real.execute(statement, *given)
        if self.done:
            self.real.execute(statement)
        self.real.close()
        raise psycopg.OperationalError("the connection was lost")

    def __getattr__(self, name):
        return getattr(self.real, name)


@pytest.mark.parametrize("done", [True, False])
def test_the_outcome_of_a_commit_without_an_answer_is_asked_for(opened, done):
    database = opened()
    database.connection = LostAtCommit(database.connection, done)
    if done:
        add(database, 1)
    else:
        with pytest.raises(ServiceUnavailable, match="lost"):
            add(database, 1)
    assert numbers(database) == ([1] if done else [])


def test_a_commit_whose_outcome_the_server_does_not_know_in_time_is_an_error(opened, monkeypatch):
    database = opened()
    monkeypatch.setattr("mlkit.storage.postgresql.OUTCOME_TIMEOUT", 0.3)
    monkeypatch.setattr(database, "query", lambda *_: [("in progress",)])
    database.connection = LostAtCommit(database.connection, done=True)
    with pytest.raises(ServiceUnavailable, match="not known yet"):
        add(database, 1)


def test_the_victim_of_a_deadlock_does_its_work_again(opened):
    one, two = opened(), opened()
    add(one, 1, 2)
    both = threading.Barrier(2)

    def change(database, order):
        met = []

        def work():
            for x in order:
                database.execute("UPDATE a SET y = 'seen' WHERE x = ?", (x,))
                if not met:
                    met.append(both.wait(180))

        database.atomically(work)

    other = threading.Thread(target=change, args=(two, (2, 1)))
    other.start()
    change(one, (1, 2))
    other.join()
    assert one.query("SELECT DISTINCT y FROM a") == [("seen",)]


def test_several_that_open_an_empty_database_make_its_tables_once(postgresql):
    def open_(_):
        database = open_database(postgresql, "journal", create=True)
        migrate(database, {"journal": TABLES})
        database.close()

    threads = [threading.Thread(target=open_, args=(n,)) for n in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    database = open_database(postgresql, "journal")
    assert database.versions({"journal": TABLES}) == {"journal": 1}
    with pytest.raises(ConfigurationError, match="journal version 1, this mlkit reads up to 0"):
        migrate(database, {"journal": ()})
    database.close()


def test_an_empty_database_has_no_journal(postgresql):
    with pytest.raises(InputMissing, match="there is no journal"):
        open_database(postgresql, "journal")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cr3t@127.0.0.1:1/x?connect_timeout=2",
        "postgresql://ann:s3@cr3t@127.0.0.1:1/x",
        "postgresql://ann:s3/cr3t@127.0.0.1:1/x",
        "postgresql://ann:1/s3cr3t@127.0.0.1/x",
        "postgresql://ann:s3#cr3t@127.0.0.1:1/x",
        "postgresql://ann@127.0.0.1:1/x?password=s3cr3t&connect_timeout=2",
        "mysql://ann:s3cr3t@127.0.0.1/x",
    ],
)
def test_no_error_repeats_a_password(url):
    with pytest.raises((ServiceUnavailable, UsageError)) as caught:
        open_database(url, "journal")
    text = f"{caught.value.message} {caught.value.hint}"
    assert "cr3t" not in text
    assert "s3" not in text


def test_without_the_driver_the_hint_names_the_extra():
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from mlkit.storage.database import open_database\n"
        "try: open_database('postgresql://h/d', 'journal')\n"
        "except Exception as e: print(type(e).__name__, e.hint)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "PackageMissing pip install 'mlkit[postgres]'\n"


def test_a_server_that_crashes_loses_nothing_and_is_found_again():
    if postgresql_server.programs() is None:
        pytest.skip("needs Debian's package postgresql")
    with tempfile.TemporaryDirectory(prefix="mlkit-pg-") as parent:
        Path(parent).chmod(0o755)
        server = postgresql_server.Server(Path(parent) / "s")
        server.make()
        server.start()
        database = open_database(server.url(), "journal", create=True)
        migrate(database, {"journal": TABLES})
        assert database.wait(0)
        add(database, 1)
        server.stop("immediate")
        with pytest.raises(ServiceUnavailable) as caught:
            numbers(database)
        assert "is the server running" in caught.value.hint
        with pytest.raises(ServiceUnavailable):
            add(database, 2)
        server.start()
        add(database, 3)
        assert numbers(database) == [1, 3]
        assert database.wait(10)  # What was announced meanwhile was not heard.
        database.close()
        server.stop()
