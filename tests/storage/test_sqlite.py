"""SQLite files: private, migrated once, open to readers, and errors with hints that fit."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

import pytest

from mlkit.errors import ConfigurationError, InputMissing, ServiceUnavailable
from mlkit.storage import sqlite
from mlkit.storage.database import migrate
from mlkit.storage.sqlite import SqliteDatabase

TABLES = ("CREATE TABLE a (x INTEGER)", "ALTER TABLE a ADD COLUMN y TEXT")


def database(folder: Path, create: bool = True, versions=TABLES) -> SqliteDatabase:
    opened = SqliteDatabase(folder / "st" / "d.sqlite", "journal", create)
    try:
        migrate(opened, {"journal": versions})
    except BaseException:
        opened.close()
        raise
    return opened


def test_a_new_folder_and_its_files_are_for_their_owner_only(tmp_path):
    before = os.umask(0o022)
    try:
        opened = database(tmp_path)
        with opened.transaction():
            opened.execute("INSERT INTO a VALUES (1, 'x')")
        modes = {
            each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "st").iterdir()
        }
        opened.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "st").stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path):
    (tmp_path / "st").mkdir(mode=0o755)
    database(tmp_path).close()
    assert stat.S_IMODE((tmp_path / "st").stat().st_mode) == 0o755


def test_older_files_are_migrated_and_newer_ones_refused(tmp_path):
    database(tmp_path, versions=TABLES[:1]).close()
    opened = database(tmp_path, create=False)
    assert opened.query("SELECT x, y FROM a") == []
    opened.close()
    with pytest.raises(ConfigurationError, match="journal version 2, this mlkit reads up to 1"):
        database(tmp_path, versions=TABLES[:1])


def test_opening_and_reading_wait_for_no_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0.0)
    writer = database(tmp_path)
    with writer.transaction():
        writer.execute("INSERT INTO a VALUES (1, 'x')")
        reader = database(tmp_path, create=False)
        assert reader.query("SELECT * FROM a") == []
        with pytest.raises(ServiceUnavailable, match="locked") as caught, reader.transaction():
            pass
        assert "another process" in caught.value.hint
        assert "disk space" not in caught.value.hint
        reader.close()
    writer.close()


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(InputMissing, match="there is no journal"):
        database(tmp_path, create=False)
    (tmp_path / "st").mkdir()
    path = tmp_path / "st" / "d.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE a (z)")
    other.close()
    with pytest.raises(ConfigurationError) as caught:
        database(tmp_path)
    assert "disk space" not in caught.value.hint


def as_nobody(check) -> str:
    """Run a check in a process that may not write what root has made; return what it found."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            found = check()
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        os.write(write, found.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        found = file.read()
    os.waitpid(child, 0)
    return found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("owner", ["closed", "open", "killed"])
def test_a_folder_that_can_only_be_read_is_read(owner):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "st").mkdir(mode=0o755)
        opened = database(folder)
        with opened.transaction():
            opened.execute("INSERT INTO a VALUES (1, 'x')")
        if owner == "killed":  # What it leaves: the log of what was committed, without its index.
            for each in ("d.sqlite", "d.sqlite-wal"):
                shutil.copy(folder / "st" / each, folder)
            opened.close()
            for each in ("d.sqlite", "d.sqlite-wal"):
                shutil.move(folder / each, folder / "st" / each)
        if owner == "closed":
            opened.close()
        for each in (folder / "st").iterdir():
            each.chmod(0o644)

        def check() -> str:
            reader = database(folder, create=False)
            rows = reader.query("SELECT * FROM a")
            try:
                with reader.transaction():
                    return "wrote"
            except ConfigurationError as error:
                return f"{rows} {error.message} {error.hint}"
            finally:
                reader.close()

        found = as_nobody(check)
        if owner == "open":
            opened.close()
    assert found.startswith("[(1, 'x')]")
    assert "read-only" in found
    assert "permissions" in found


def test_rows_that_an_update_does_not_find_are_named(tmp_path):
    opened = database(tmp_path, versions=("CREATE TABLE b (x BIGINT, at BIGINT)",))
    missed: list[set[int]] = []
    keys, changed = {"x": "BIGINT", "at": "BIGINT"}, {"at": "BIGINT"}
    with opened.transaction():
        opened.execute_many("INSERT INTO b VALUES (?, ?)", [(1, 10), (2, 20)])
        opened.defer_updates("b", keys, changed, [(1, 10, 11), (2, 20, None)], missed.append)
        opened.defer_updates("b", keys, changed, [(1, 10, 12), (9, 1, 12)], missed.append)
        opened.defer_updates("b", keys, changed, [], missed.append)
    assert missed == [{1, 9}]
    assert opened.query("SELECT at FROM b ORDER BY x") == [(11,), (None,)]
    opened.close()


def test_a_statement_on_rows_takes_as_many_as_there_are(tmp_path):
    opened = database(tmp_path, versions=("CREATE TABLE b (x BIGINT PRIMARY KEY, y BLOB)",))
    columns = {"x": "BIGINT", "y": "{blob}"}
    rows = [(number, None if number % 7 else bytes([number])) for number in range(120)]
    insert = "INSERT INTO b (x, y) SELECT x, y FROM {rows}"
    delete = "DELETE FROM b WHERE x IN (SELECT x FROM {rows} WHERE y IS NULL)"
    with opened.transaction():
        for part in (rows[:1], rows[1:4], rows[4:], []):
            opened.defer_rows(insert, columns, part)
    assert opened.query("SELECT x, y FROM b ORDER BY x") == rows
    with opened.transaction():
        opened.defer_rows(delete, columns, rows)
    assert opened.query("SELECT x FROM b ORDER BY x") == [(each,) for each in range(0, 120, 7)]
    opened.close()
