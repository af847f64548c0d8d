"""The journal: repeats, their window, compaction, and files that are not ours."""

from __future__ import annotations

import base64
import hashlib
import sqlite3

import msgspec
import pytest

from mlkit.bandit.server.decisions.decision import DecisionIds, InvalidDecision
from mlkit.bandit.server.feedback.event_batch import Reason, Rejection, append_events
from mlkit.bandit.server.learning.journal import Journal
from mlkit.bandit.server.learning.records import Change, Event, Kind
from mlkit.errors import BadData, ConfigurationError
from mlkit.storage.sqlite_file import SqliteFailure

DAY = 86400.0


class Clock:
    """The wall clock, which may be wrong by `error` seconds, and the time that has passed."""

    passed = 0.0
    error = 0.0

    def __call__(self):
        return 1e9 + self.passed + self.error

    def elapsed(self):
        return self.passed


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_journal(tmp_path, clock):
    opened = []

    def open_one():
        path, elapsed = tmp_path / "journal.sqlite", clock.elapsed
        opened.append(Journal(path, window=7 * DAY, clock=clock, elapsed=elapsed))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def journal(open_journal):
    return open_journal()


def event(name, reward=1.0, decided=0.0):
    return Event(name.encode().ljust(16), str(reward).encode(), None, "c1", reward, decided)


def forget(journal):
    for _ in range(4096):
        journal.keep_house()


def take(journal, *events):
    with journal.transaction():
        found = append_events(journal, events)
        return found if isinstance(found, Rejection) else found.repeats


@pytest.mark.parametrize("count", [1, 5, 512, 513, 1300])
def test_repeats_are_known_in_batches_of_any_size(journal, count):
    events = [event(f"e{number}") for number in range(count)]
    assert take(journal, *events[::2]) == [False] * len(events[::2])
    assert take(journal, *events) == [number % 2 == 0 for number in range(count)]
    other = event(f"e{count - 1}", reward=0.0)
    assert take(journal, event("new"), *events[:-1], other) == Rejection(count, Reason.CONFLICT)
    assert take(journal, event("new")) == [False]
    assert take(journal) == []


def test_an_id_is_remembered_for_the_window_and_then_forgotten(journal, clock):
    assert take(journal, event("e")) == [False]
    clock.passed += 6.9 * DAY
    assert take(journal, event("e")) == [True]
    clock.passed += 0.2 * DAY
    assert take(journal, event("e")) == [False]


def test_housekeeping_deletes_only_what_is_older_than_the_window(journal, clock, tmp_path):
    take(journal, *[event(f"old{n}") for n in range(50)])
    clock.passed += 8 * DAY
    take(journal, *[event(f"new{n}") for n in range(30)])
    forget(journal)
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        rows = [row for (row,) in database.execute("SELECT content FROM recent")]
    database.close()
    assert [len(msgspec.msgpack.decode(row)) for row in rows] == [30]


def test_another_body_takes_nothing_of_its_list(journal):
    take(journal, event("e"))
    assert take(journal, event("f"), event("e", 0.5)) == Rejection(1, Reason.CONFLICT)
    assert journal.length() == 1


def test_a_change_that_fails_leaves_nothing(journal):
    changes = [Change(Kind.PUT, None, "c1", 1.0, 1.0, 0.0), Change(Kind.PUT, None, None)]
    with pytest.raises(SqliteFailure), journal.transaction():
        journal.append(changes)
    assert journal.length() == 0


def test_compaction_keeps_the_state(journal):
    take(journal, event("e"))
    journal.compact(lambda context, arm: (3.0, 4.0, 5.0))
    assert journal.length() == 0
    assert [tuple(row) for row in journal.snapshot()] == [("c1", "", 0, 3.0, 4.0, 5.0, None, 0.0)]
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


def test_an_id_is_kept_as_long_as_its_decision_is_young(journal, clock):
    ahead = clock() + 30 * DAY  # the clock was wrong when the decision was made
    assert take(journal, event("e", decided=ahead)) == [False]
    clock.passed += 36.9 * DAY
    forget(journal)
    assert take(journal, event("e", decided=ahead)) == [True]
    clock.passed += 0.2 * DAY
    forget(journal)
    assert take(journal, event("e", decided=ahead)) == [False]


@pytest.mark.parametrize("error", [-30 * DAY, 30 * DAY, -1e9 + 1])
@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_learned_under_a_wrong_clock_counts_once(open_journal, clock, error, restarted):
    clock.error = error
    journal = open_journal()
    assert take(journal, event("e")) == [False]
    clock.passed += DAY
    forget(journal)
    if restarted:
        journal.close()
        journal = open_journal()
    clock.error = 0.0  # it is set right
    forget(journal)
    assert take(journal, event("e")) == [True]
    clock.passed += 5.9 * DAY
    forget(journal)
    assert take(journal, event("e")) == [True]


def test_an_arm_that_is_not_known_takes_nothing_of_its_list(journal):
    with journal.transaction():
        assert append_events(journal, [event("e")], lambda arm: arm == "c1").repeats == [False]
        found = append_events(journal, [event("f"), event("e")], lambda arm: False)
    assert found == Rejection(0, Reason.UNKNOWN_ARM)
    with journal.transaction():  # a repeat of what was accepted stays one
        assert append_events(journal, [event("e")], lambda arm: False).repeats == [True]
    assert journal.length() == 1


def test_a_journal_of_format_1_is_brought_to_the_present_one(tmp_path, open_journal):
    with sqlite3.connect(tmp_path / "journal.sqlite") as old:
        old.executescript(
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
            "CREATE TABLE seen (event BLOB PRIMARY KEY, body BLOB NOT NULL, at REAL NOT NULL)"
            " WITHOUT ROWID; INSERT INTO meta VALUES ('format', 1);"
        )
        row = event("e").event, event("e").body, 1e9
        old.execute("INSERT INTO seen VALUES (?, ?, ?)", row)
    old.close()
    for _ in range(2):
        journal = open_journal()
        assert take(journal, event("e")) == [True]
        assert journal.meta("format") == 5
        journal.close()


def test_decision_ids_carry_time_context_and_arms_and_cannot_be_made_up(clock):
    ids = DecisionIds(b"k" * 32, clock)
    for context in (None, "", "u1", "é" * 100):
        made = ids.make(context, ["c1", "é"])
        decision = ids.resolve(made)
        assert (decision.context, decision.at) == (context, clock())
        shown = [decision.has_shown(arm) for arm in ("c1", "é", "c2", "")]
        assert shown == [True, True, False, False]
        with pytest.raises(InvalidDecision):
            DecisionIds(b"x" * 32, clock).resolve(made)
        for place in range(len(made)):
            other = "A" if made[place] != "A" else "B"
            with pytest.raises(InvalidDecision):
                ids.resolve(made[:place] + other + made[place + 1 :])


def test_a_decision_may_show_many_arms_or_none(clock):
    ids = DecisionIds(b"k" * 32, clock)
    names = [f"arm-{n}" for n in range(65535)]
    decision = ids.resolve(ids.make("u", names))
    assert all(decision.has_shown(name) for name in names[::5000])
    assert not decision.has_shown("arm-65535")
    assert not ids.resolve(ids.make("u", [])).has_shown("arm-1")


def test_a_decision_id_of_version_1_is_resolved(clock):
    """It was made by an earlier release, and did not carry its arms."""
    body = (1 | 128).to_bytes(1) + int(clock() * 1000).to_bytes(6) + bytes(8) + b"u1"
    mac = hashlib.blake2b(body, key=b"k" * 32, digest_size=16).digest()
    made = base64.urlsafe_b64encode(body + mac).rstrip(b"=").decode()
    decision = DecisionIds(b"k" * 32, clock).resolve(made)
    assert (decision.context, decision.at) == ("u1", clock())
    assert decision.has_shown("anything")
