"""Journals of older versions: `versions/N.sql` is what the mlkit of that version has left."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.errors import ConfigurationError

VERSIONS = sorted((Path(__file__).parent / "versions").glob("*.sql"))
YEAR_2100 = 4102444800.0


def restored(folder: Path, dump: Path) -> Path:
    with sqlite3.connect(folder / "journal.sqlite") as connection:
        connection.executescript(dump.read_text())
    connection.close()
    return folder


@pytest.mark.parametrize("dump", VERSIONS, ids=lambda path: path.stem)
def test_a_journal_of_an_older_version_goes_on(tmp_path, dump):
    with Session(restored(tmp_path, dump), Settings(waits=False)) as session:
        (row,) = session.journal.rows()
        assert (row.status, row.key) == ("waiting", "k")
        assert session.journal.mailbox.send("other", "k", {}, 9e9) is None
        assert [each.element for each in Service(session).tasks()] == ["u"]
        # When it is due was not kept: whoever takes it first finds out.
        assert [each.id for each in session.journal.work(1.0, 10)] == [row.id]
        session.advance([row])
        assert session.journal.get(row.number).due == YEAR_2100
        assert session.journal.work(1.0, 10) == []
        assert [each.element for each in Service(session).tasks()] == ["u"]
        assert session.journal.damage() == []
        if dump.stem != "1":
            assert session.journal.stores.get(["seen"]) == {"seen": 4}


def test_an_older_program_refuses_the_file(tmp_path):
    open_journal(tmp_path, create=True).close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    connection.close()
    assert version > 3  # The last one that older programs know.


@pytest.mark.parametrize("component", ["journal", "something-new"])
def test_a_newer_version_of_a_component_is_refused(tmp_path, component):
    open_journal(tmp_path, create=True).close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.execute("REPLACE INTO schema_versions VALUES (?, 99)", (component,))
    connection.close()
    with pytest.raises(ConfigurationError, match="journal version 99"):
        open_journal(tmp_path)
