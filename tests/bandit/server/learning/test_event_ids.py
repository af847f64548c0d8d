"""Ids of events in runs: in whatever place, they are known for their window and no longer."""

from __future__ import annotations

import random
import sqlite3

import pytest

from mlkit.bandit.server.learning import event_ids
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Effect, Seen
from mlkit.storage.sqlite_file import SqliteFailure

WINDOW = 1000.0


class Clock:
    now = 1e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_journal(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(event_ids, "RUN", 100)
    monkeypatch.setattr(event_ids, "_PIECE", 8)
    monkeypatch.setattr(event_ids, "_AT_ONCE", 3)
    monkeypatch.setattr(event_ids, "_DROPPED_AT_ONCE", 2)
    opened = []

    def open_one():
        for each in opened:
            each.close()
        opened.append(Journal(tmp_path / "journal.sqlite", window=WINDOW, shared=clock))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def count(tmp_path, table):
    database = sqlite3.connect(tmp_path / "journal.sqlite")
    try:
        return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        database.close()


def key(number, *, alike=False):
    """Return a key; those that are alike have the same start."""
    generator = random.Random(number // 20 if alike else number)
    start = generator.randbytes(8)
    return start + random.Random(-number - 1).randbytes(8)


def remember(journal, *numbers, body=b"b", decided=0.0, **about):
    effect = Effect("c", "arm", 1.0)
    with journal.transaction():
        journal.remember({key(n, **about): Seen(body, effect, decided) for n in numbers})


def fail(journal, batch):
    with journal.transaction():
        journal.remember(batch)
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(each, marks=pytest.mark.nightly) for each in (1, 2))]
)
def test_ids_are_known_as_by_a_dictionary(open_journal, clock, seed):
    generator = random.Random(seed)
    journal = open_journal()
    expected: dict[bytes, tuple[Seen, float]] = {}
    for _ in range(300):
        clock.now += generator.choice([0.0, 1.0, 10.0])
        numbers = generator.sample(range(4000), generator.randint(1, 12))
        body = generator.randbytes(16)
        ahead = generator.choice([0.0, 0.0, 500.0])
        effect = generator.choice([None, Effect(None, "é", 0.5, at=clock.now)])
        seen = Seen(body, effect, clock.now + ahead)
        batch = {key(n, alike=n % 2 == 0): seen for n in numbers}
        action = generator.random()
        if action < 0.1:
            with pytest.raises(ZeroDivisionError):
                fail(journal, batch)
        else:
            with journal.transaction():
                journal.remember(batch)
            expected |= {each: (Seen(body, effect), clock.now + ahead) for each in batch}
        if action > 0.9:
            journal.keep_house()
        elif action > 0.86:
            journal = open_journal()
        asked = {key(n, alike=n % 2 == 0) for n in generator.sample(range(4000), 200)} | {*batch}
        since = clock.now - WINDOW
        known = {k: e[0] for k in asked if (e := expected.get(k)) is not None and e[1] >= since}
        assert journal.recall(asked) == known
    assert {place for place in ("runs", "pieces") if journal._one(f"SELECT 1 FROM {place}")}


def test_a_run_that_could_not_be_written_is_written_later(open_journal, tmp_path, monkeypatch):
    journal = open_journal()
    remember(journal, *range(150))
    monkeypatch.setattr(journal._database, "execute_many", refuse)
    for number in (1000, 1001):  # They are sorted.
        remember(journal, number)
    with pytest.raises(SqliteFailure):
        remember(journal, 1002)
    monkeypatch.undo()
    assert count(tmp_path, "runs") == 0
    assert len(journal.recall([key(n) for n in range(1003)])) == 152
    for number in range(2000, 2020):
        remember(journal, number)
    assert count(tmp_path, "runs") == 1
    for _ in range(2):
        assert len(journal.recall([key(n) for n in range(2020)])) == 172
        journal = open_journal()


def refuse(statement, rows):
    raise SqliteFailure(sqlite3.OperationalError("disk is full"))


def test_what_is_forgotten_leaves_the_file(open_journal, clock, tmp_path):
    journal = open_journal()
    for start in range(0, 2000, 50):
        remember(journal, *range(start, start + 50))
    for _ in range(100):  # writes the last run
        journal.keep_house()
    assert count(tmp_path, "runs") > 2
    clock.now += WINDOW + 1
    remember(journal, 5000)
    journal.keep_house()
    assert [count(tmp_path, table) for table in ("runs", "pieces")] == [0, 0]
    assert {*journal.recall([key(n) for n in (*range(2000), 5000)])} == {key(5000)}
    journal = open_journal()
    assert {*journal.recall([key(n) for n in (*range(2000), 5000)])} == {key(5000)}


def test_ids_of_an_older_format_stay_known_and_end_first(open_journal, clock, tmp_path):
    open_journal().close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        rows = [(key(n), b"old", clock.now, clock.now, None) for n in range(1300)]
        database.executemany("INSERT INTO seen VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("UPDATE meta SET value = 4 WHERE name = 'format'")
    database.close()
    journal = open_journal()
    assert journal.meta("format") == 5
    remember(journal, 3, body=b"new")
    found = journal.recall([key(n) for n in range(1400)])
    assert [found[key(n)].body for n in (2, 3, 1299)] == [b"old", b"new", b"old"]
    assert len(found) == 1300
    clock.now += WINDOW + 1
    assert journal.recall([key(n) for n in range(1400)]) == {}
    for _ in range(4200):
        journal.keep_house()
    assert (count(tmp_path, "seen"), count(tmp_path, "recent")) == (0, 0)
