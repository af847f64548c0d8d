"""Damaged journals and stored values: one instance stops, and everybody is told."""

from __future__ import annotations

import sqlite3
import time
from functools import partial

import pytest
from bpmn.runtime.asking import ASKS, mlkit, sqlite_only, waiting

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.engine.events import Cancel
from mlkit.bpmn.journal.listings import Criteria
from mlkit.bpmn.journal.records import RunningAttempt
from mlkit.bpmn.runtime.documents import document
from mlkit.bpmn.runtime.inspection import damage
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import MlkitError

pytestmark = pytest.mark.usefixtures("back_end")


COLUMNS = [
    ("instances", name)
    for name in ("process", "definition", "options", "key", "phase", "epoch", "sequence", "created",
                 "updated")
] + [
    ("events", "at"), ("events", "event"), ("events", "trace"), ("definitions", "content"),
    ("definitions", "resources"), ("definitions", "file"), ("inbox", "event"),
    ("messages", "variables"), ("stores", "value"), ("snapshots", "state"),
    ("running_attempts", "content"),
]  # fmt: skip
ATTEMPT = RunningAttempt(2, "ask", "", 1, 5.0, "here:1", "", "")
GARBAGE = [b"\xff\xfe{", '{"id":', "[]", 12]


def damaged(state, table, column, value, url=None):
    where = {"instances": "number = 1", "events": "instance = 1 AND sequence = 1"}.get(
        table, "1 = 1"
    )
    if url is not None:
        import psycopg

        with psycopg.connect(url) as connection:
            connection.execute(f"UPDATE {table} SET {column} = %s WHERE {where}", (value,))
        return
    with sqlite3.connect(state / "journal.sqlite") as connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (value,))
    connection.close()


@sqlite_only
@pytest.mark.parametrize("column", COLUMNS, ids=".".join)
def test_a_damaged_row_stops_its_own_instance_only(path, tmp_path, state, diagram, column):
    other = tmp_path / "other.bpmn"
    other.write_text(diagram(ASKS + '<task id="t"/>', "s>u u>t t>e"))
    with Session(state, create=True) as session:
        first, second = *waiting(session, path), *waiting(session, other)
        with session.journal.transaction():
            session.journal.mailbox.deliver(first.number, Cancel())
            session.journal.mailbox.keep("m", "k", {}, time.time() + 100)
            session.journal.stores.set("seen", 1)
            session.journal.database.execute("INSERT INTO snapshots VALUES (1, 1, '{}')")
            session.journal.running_attempts.write([(first.number, ATTEMPT)], time.time())
    keep = {each.name: each.read_bytes() for each in state.iterdir() if each.is_file()}
    for value in GARBAGE:
        for name, content in keep.items():
            (state / name).write_bytes(content)
        damaged(state, *column, value)
        with Session(state) as session:
            journal = session.journal
            assert second.id in [each.id for each in journal.rows()]
            found = Service(session).tasks()
            if column[0] != "definitions":  # Both are damaged there.
                assert second.id in [each.instance for each in found]
                assert document(session, journal.find(second.id))["state"] == "waiting"
                rows = [each for each in journal.rows() if each.is_open]
                assert second.id in [each.id for each in session.advance(rows)]
            for error in refusals(session, first.id):
                assert error.exit_code in {65, 78}
                assert str(state) in error.message


def refusals(session, instance):
    """Return the errors of commands that may meet damage."""
    found = []
    for use in (
        session.journal.stores.all,
        partial(session.journal.find, instance),
        lambda: Service(session).logs(instance),
        partial(damage, session),
    ):
        try:
            use()
        except MlkitError as error:
            found.append(error)
    return found


def change(state, back_end, statement):
    """Run a statement on the tables of a journal."""
    url = back_end.url(state)
    if url is not None:
        import psycopg

        with psycopg.connect(url) as connection:
            connection.execute(statement)
        return
    with sqlite3.connect(state / "journal.sqlite") as connection:
        connection.execute(statement)
    connection.close()


@sqlite_only
@pytest.mark.parametrize(
    ("statement", "told", "code", "status"),
    [
        ("UPDATE instances SET updated = 1e300 WHERE number = 1", "updated", 78, "damaged"),
        ("UPDATE instances SET created = -1e30 WHERE number = 1", "created", 78, "damaged"),
        (
            "UPDATE instances SET phase = 'weird' WHERE number = 1",
            "no status 'weird'",
            78,
            "damaged",
        ),
        ("UPDATE instances SET sequence = 99 WHERE number = 1", "counts 99 events", 0, "cancelled"),
        ("UPDATE events SET at = 1e30 WHERE instance = 1", "the time of one", 78, "cancelled"),
        ("DELETE FROM events WHERE instance = 1", "there are 0", 0, "cancelled"),
    ],
)
def test_what_no_journal_can_hold_is_damage(path, state, back_end, statement, told, code, status):
    with Session(state, create=True) as session:
        first, second = waiting(session, path, 2)
        assert damage(session) == []
    change(state, back_end, statement)
    with Session(state) as session:
        assert any(first.id in each and told in each for each in damage(session))
        assert second.id in [each.instance for each in Service(session).tasks()]
        found = session.journal.index.search(Criteria(), None, 10)
        assert [each.id for each in found] == [second.id, first.id]
        assert [instant(each.updated) for each in found]
    for command in (["list"], ["show", first.id]):
        done = mlkit(state, *command)
        assert done.returncode in (0, 78), done.stderr
    done = mlkit(state, "cancel", first.id)
    assert done.returncode == code, done.stderr
    with Session(state) as session:
        assert [each.status for each in session.journal.rows()] == [status, "waiting"]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE instances SET due = 'soon' WHERE number = 1", "its row is damaged"),
        ("UPDATE instances SET due = 9e999 WHERE number = 1", "is due at inf"),
        ("UPDATE instances SET due = 12 WHERE number = 1", "is due at 12.0"),
        ("UPDATE instances SET ended = 12 WHERE number = 1", "its end is at 12.0"),
        ("UPDATE open_tasks SET since = 'now' WHERE instance = 1", "open_tasks (activation, since"),
        ("UPDATE open_tasks SET since = 1e300 WHERE instance = 1", "open_tasks (activation, since"),
        ("UPDATE open_tasks SET due = x'ff' WHERE instance = 1", "open_tasks (activation, since"),
        ("UPDATE open_tasks SET users = '{' WHERE instance = 1", None),
        ("DELETE FROM open_tasks WHERE instance = 1", "open_tasks (activation, since"),
        ("UPDATE retries SET due = -5 WHERE instance = 1", "retries (activation, due)"),
    ],
)
@sqlite_only
def test_check_finds_damaged_times_and_lists_go_on(path, state, back_end, statement, told):
    with Session(state, create=True) as session:
        first, second = waiting(session, path, 2)
    if "retries" in statement:
        names = "instance, activation, element, attempt, message, due, process, definition"
        row = f"INSERT INTO retries ({names}) VALUES (1, 99, 'u', 1, '', 5, 'p', '')"
        change(state, back_end, row)
    else:
        with Session(state) as session:
            assert damage(session) == []
    change(state, back_end, statement)
    checked = mlkit(state, "check")
    if told is not None:
        assert checked.returncode == 1
        assert first.id in checked.stdout
        assert told in checked.stdout
    with Session(state) as session:
        index = session.journal.index
        listed = index.tasks(None, None, (0, 0), None)
        assert second.id in [each.instance for each in listed]
        [instant(each.since) for each in listed]
        assert index.list_retries(None, None, (0, 0), 10) is not None


@pytest.mark.parametrize(
    "column",
    [
        ("instances", "options"),
        ("events", "event"),
        ("inbox", "event"),
        ("stores", "value"),
        ("running_attempts", "content"),
    ],
)
def test_check_finds_damage_and_commands_name_it(path, state, column, back_end):
    with Session(state, create=True) as session:
        first, second = waiting(session, path, 2)
        with session.journal.transaction():
            session.journal.mailbox.deliver(first.number, Cancel())
            session.journal.stores.set("seen", 1)
            session.journal.running_attempts.write([(first.number, ATTEMPT)], time.time())
        assert damage(session) == []
    damaged(state, *column, b"{oops", back_end.url(state))
    checked = mlkit(state, "check")
    assert checked.returncode == 1
    assert "damaged" in checked.stdout
    if column[0] in ("instances", "events"):
        assert first.id in checked.stdout
        resumed = mlkit(state, "resume")
        assert resumed.returncode == 78
        assert first.id in resumed.stderr
        listed = mlkit(state, "list")
        assert listed.returncode == (78 if column[0] == "instances" else 0)
        assert second.id in listed.stdout
        assert second.id in resumed.stdout
        assert mlkit(state, "approve", f"{second.id}/u").returncode == 0


@pytest.mark.parametrize("harm", ["lost", "changed"])
def test_a_stored_value_that_is_not_what_was_stored_is_named_and_not_loaded(
    tmp_path, state, diagram, harm
):
    body = ASKS + "<scriptTask id='a'><script>odd = {1, 3}</script></scriptTask>"
    body += "<scriptTask id='b'><script>total = sum(odd)</script></scriptTask>"
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(body, "s>a a>u u>b b>e"))
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
        (stored,) = (state / "artifacts").iterdir()
        if harm == "lost":
            stored.unlink()
        else:  # What was put there would run when it is loaded.
            stored.write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
        assert any("odd" in each and stored.name[:12] in each for each in damage(session))
        assert Service(session).complete("u", {}, "ann").status == "incident"
        (found,) = document(session, row)["incidents"]
    assert "builtins.set made by a" in found["message"]
    assert not list(tmp_path.rglob("owned"))
