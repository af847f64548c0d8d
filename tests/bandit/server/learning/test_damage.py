"""Rows of the journal that are missing or garbled: an error that names the table, no traceback."""

from __future__ import annotations

import random
import sqlite3
import time

import pytest

from mlkit.bandit.server.feedback.attribution import settle_due
from mlkit.bandit.server.feedback.event_batch import append_events
from mlkit.bandit.server.learning import event_ids
from mlkit.bandit.server.learning.export import export
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.model import Model
from mlkit.bandit.server.learning.records import Change, Event, Kind, Seen, Shown
from mlkit.bandit.server.learning.state import StateDirectory
from mlkit.errors import BadData
from mlkit.storage.sqlite_file import DamagedRow

POSTERIORS = "context,arm,a,b,pulls\n,c1,2,30,30\n,c2,3,50,51\nu1,c1,5,50,53\n"


def key(number):
    return random.Random(number).randbytes(16)


def execute(path, statement):
    with sqlite3.connect(path) as database:
        assert database.execute(statement).rowcount
    database.close()


@pytest.fixture
def ids(tmp_path, monkeypatch):
    """Return the path of a journal with ids in a run and beside it, and a decision that waits."""
    monkeypatch.setattr(event_ids, "RUN", 40)
    monkeypatch.setattr(event_ids, "_PIECE", 8)
    journal = Journal(tmp_path / "journal.sqlite")
    for start in range(0, 60, 4):
        with journal.transaction():
            journal.remember({key(n): Seen(b"b", None) for n in range(start, start + 4)})
    with journal.transaction():
        journal.keep([Shown(b"d" * 16, 1.0, b"\x90")])
    journal.close()
    return tmp_path / "journal.sqlite"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM pieces",
        "UPDATE pieces SET content = x'90'",
        "UPDATE pieces SET content = 'text'",
        "UPDATE recent SET content = x'93'",
        "UPDATE recent SET content = x'90'",
        "UPDATE runs SET filter = x''",
        "UPDATE runs SET firsts = x'01'",
        "UPDATE runs SET run = -7",
    ],
)
def test_ids_that_cannot_be_read_are_damage_of_their_table(ids, statement):
    journal = Journal(ids)
    assert len(journal.recall([key(n) for n in range(80)])) == 60
    journal.close()
    execute(ids, statement)
    journal = Journal(ids)
    table = next(each for each in ("pieces", "recent", "runs") if each in statement)
    with pytest.raises(DamagedRow, match=f"table {table} "):
        journal.recall([key(n) for n in range(80)])
    journal.close()


def test_a_decision_that_cannot_be_read_is_damage(ids):
    journal = Journal(ids)
    with pytest.raises(DamagedRow, match="table pending "), journal.transaction():
        settle_due(journal, time.time(), 10, lambda arm: True)
    journal.close()


def open_model(folder):
    state = StateDirectory(folder / "state")
    state.open()
    return Model(state, folder / "posteriors.csv", window=1000.0)


@pytest.fixture
def learned(tmp_path):
    """Return a folder whose state has a snapshot, and changes after it."""
    (tmp_path / "posteriors.csv").write_text(POSTERIORS)
    model = open_model(tmp_path)
    for number in range(3):
        with model.journal.transaction():
            events = [
                Event(key(10 * number + n), b"b", context, "c1", 1.0)
                for n, context in enumerate((None, "u1"))
            ]
            found = append_events(model.journal, events)
        model.apply_all([change for each in found.changes for change in each])
        if number == 0:
            model.compact()
    with model.journal.transaction():
        model.journal.append([Change(Kind.REWARD, None, "c2", 1.0)])
    model.journal.close()
    return tmp_path


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET features = 'x' WHERE kind = 4",
        "UPDATE journal SET features = x'93' WHERE kind = 4",
        "UPDATE journal SET a = NULL WHERE kind = 0",
        "UPDATE journal SET a = 1e300 WHERE kind = 0",
        "UPDATE journal SET kind = 99 WHERE kind = 0",
        "UPDATE snapshot SET a = 'text' WHERE context = ''",
        "UPDATE snapshot SET a = NULL WHERE context = ''",
        "UPDATE snapshot SET pulls = -1 WHERE context = ''",
        "UPDATE meta SET value = x'00' WHERE name = 'since'",
        "UPDATE meta SET value = 7 WHERE name = 'posteriors'",
        "DELETE FROM meta WHERE name = 'posteriors_hash'",
    ],
)
def test_what_cannot_be_learned_from_is_damage_of_its_table(learned, statement):
    assert export(learned / "state", learned / "out.csv") == 3
    path = learned / "state" / "journal.sqlite"
    execute(path, statement)
    table = statement.removeprefix("DELETE FROM ").removeprefix("UPDATE ").split()[0]
    with pytest.raises(BadData, match=f"table {table} ") as caught:
        export(learned / "state", learned / "out.csv")
    assert caught.value.message.startswith(f"{path}: ")
    assert "\n" not in caught.value.message
    with pytest.raises(DamagedRow, match=f"table {table} "):
        open_model(learned)
