"""The journal: repeats, their window, compaction, and files that are not ours."""

from __future__ import annotations

import sqlite3

import pytest

from mlkit.bandit.server.decision import DecisionIds, InvalidDecision
from mlkit.bandit.server.journal import Change, Conflict, Event, Journal, Kind
from mlkit.errors import BadData, ConfigurationError

DAY = 86400.0


class Clock:
    now = 1e9

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def journal(tmp_path, clock):
    opened = Journal(tmp_path / "journal.sqlite", window=7 * DAY, clock=clock)
    yield opened
    opened.close()


def event(name, reward=1.0):
    return Event(name.encode().ljust(16), str(reward).encode(), None, "c1", reward)


def take(journal, *events):
    with journal.transaction():
        return journal.take_events(events)


def test_an_id_is_remembered_for_the_window_and_then_forgotten(journal, clock):
    assert take(journal, event("e")) == [False]
    clock.now += 6.9 * DAY
    assert take(journal, event("e")) == [True]
    clock.now += 0.2 * DAY
    assert take(journal, event("e")) == [False]


def test_housekeeping_deletes_only_what_is_older_than_the_window(journal, clock, tmp_path):
    take(journal, *[event(f"old{n}") for n in range(50)])
    clock.now += 8 * DAY
    take(journal, *[event(f"new{n}") for n in range(30)])
    for _ in range(4096):
        journal.forget_expired()
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        assert database.execute("SELECT count(*) FROM seen").fetchone() == (30,)
    database.close()


def test_another_body_takes_nothing_of_its_list(journal):
    take(journal, event("e"))
    assert take(journal, event("f"), event("e", 0.5)) == Conflict(1)
    assert journal.length() == 1


def test_a_change_that_fails_leaves_nothing(journal):
    changes = [Change(Kind.PUT, None, "c1", 1.0, 1.0, 0.0), Change(Kind.PUT, None, None)]
    with pytest.raises(sqlite3.IntegrityError), journal.transaction():
        journal.append(changes)
    assert journal.length() == 0


def test_compaction_keeps_the_state(journal):
    take(journal, event("e"))
    journal.compact(lambda context, arm: (3.0, 4.0, 5.0))
    assert journal.length() == 0
    assert [tuple(row) for row in journal.snapshot()] == [("c1", "", 0, 3.0, 4.0, 5.0)]
    assert take(journal, event("e")) == [True]


def test_a_newer_format_and_a_damaged_file_are_refused(tmp_path):
    path = tmp_path / "journal.sqlite"
    first = Journal(path)
    first.set_meta({"format": 99})
    first.close()
    with pytest.raises(ConfigurationError, match="a journal of format 99"):
        Journal(path)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(BadData, match=r"journal\.sqlite"):
        Journal(path)


def test_decision_ids_tell_their_time_and_context_and_cannot_be_made_up(clock):
    ids = DecisionIds(b"k" * 32, clock)
    for context in (None, "", "u1", "é" * 100):
        made = ids.make(context)
        assert ids.resolve(made) == (context, clock.now)
        with pytest.raises(InvalidDecision):
            DecisionIds(b"x" * 32, clock).resolve(made)
        for place in range(len(made)):
            other = "A" if made[place] != "A" else "B"
            with pytest.raises(InvalidDecision):
                ids.resolve(made[:place] + other + made[place + 1 :])
