"""Races, damage and defects: what stops one instance stops no other, and everybody is told."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from commands import run_mlkit
from processes import started

from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.engine.events import Cancel
from mlkit.bpmn.engine.step import Step
from mlkit.bpmn.journal.listings import Criteria
from mlkit.bpmn.journal.records import RunningAttempt
from mlkit.bpmn.runtime import session as sessions
from mlkit.bpmn.runtime.documents import document, incidents, trace
from mlkit.bpmn.runtime.inspection import damage
from mlkit.bpmn.runtime.service import Refused, Service
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import ConfigurationError, MlkitError, UsageError, Waiting

pytestmark = pytest.mark.usefixtures("back_end")
sqlite_only = pytest.mark.parametrize("back_end", ["sqlite"], indirect=True)

ENDS = '<startEvent id="s"/><endEvent id="e"/>'
ASKS = ENDS + '<userTask id="u"/>'


@pytest.fixture
def path(tmp_path, diagram):
    found = tmp_path / "p.bpmn"
    found.write_text(diagram(ASKS, "s>u u>e"))
    return found


@pytest.fixture
def state(tmp_path, back_end):
    back_end.url(tmp_path / "state")
    return tmp_path / "state"


def waiting(session, path, count=1):
    """Run so many instances to their user task."""
    rows = [session.begin(path, {"n": n}) for n in range(count)]
    return session.advance(rows)


def mlkit(state, *arguments):
    return run_mlkit("bpmn", *arguments, "--state", state)


# -- races -------------------------------------------------------------------------------------


def test_of_several_who_complete_a_task_one_wins_and_the_others_learn_who(path, state):
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
    together = threading.Barrier(6)

    def complete(person: str) -> str:
        with Session(state) as session:
            together.wait()
            try:
                Service(session).complete("u", {"who": person}, person)
            except Refused as error:
                return error.message
            return ""

    people = [f"p{n}" for n in range(6)]
    with ThreadPoolExecutor(6) as threads:
        told = dict(zip(people, threads.map(complete, people), strict=True))
    (winner,) = [person for person, message in told.items() if not message]
    assert all(f"{winner} has completed it" in each for each in told.values() if each)
    with Session(state) as session:
        row = session.journal.find(row.id)
        found = document(session, row)
    assert (found["state"], found["variables"]["who"]) == ("completed", winner)


def test_an_owner_that_does_not_answer_is_waited_for_with_a_limit(path, state):
    with Session(state, create=True) as session, Session(state) as other:
        (row,) = waiting(session, path)
        owned = other.journal.own(row)
        with pytest.raises(Waiting, match="has not answered"):
            Service(session, limit=0.1).complete("u", {}, "ann")
        other.journal.release([owned])
        # What was asked is still in the inbox, and is taken by whoever runs the instance next.
        session.advance([row])
        assert session.journal.find(row.id).status == "completed"


def test_an_event_for_an_ended_instance_is_refused(path, state):
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
        service = Service(session)
        assert service.cancel(row.id, "late", "ann").status == "cancelled"
        with pytest.raises(UsageError, match="is cancelled"):
            service.cancel(row.id, "again", "bob")
        with pytest.raises(UsageError, match="is cancelled"):
            session.deliver(row, Cancel())


@sqlite_only
def test_the_history_knows_who_completed_a_task_and_when_it_began(path, state):
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
        row = Service(session).complete(f"{row.id}/u", {}, "ann")
        steps = trace(session.journal, row, session.engine(row))
    assert [(each["element"], each["by"]) for each in steps] == [
        ("s", None), ("u", "ann"), ("e", None),
    ]  # fmt: skip
    assert steps[1]["began"] < steps[1]["at"]


@sqlite_only
@pytest.mark.parametrize(
    ("people", "person", "allowed"),
    [
        ('camunda:assignee="ann"', "ann", True),
        ('camunda:assignee="ann"', "bob", False),
        ('camunda:candidateUsers="ann,bob"', "bob", True),
        ('camunda:candidateUsers="ann,bob"', "carl", False),
        ('camunda:candidateUsers="ann" camunda:candidateGroups="g"', "carl", True),
        ("", "carl", True),
    ],
)
def test_a_named_person_must_be_one_who_may(tmp_path, state, diagram, people, person, allowed):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(ENDS + f'<userTask id="u" {people}/>', "s>u u>e"))
    with Session(state, create=True) as session:
        waiting(session, path)
        service = Service(session)
        if not allowed:
            for attempt in (
                lambda: service.complete("u", {}, person, checked=True),
                lambda: service.decide("u", True, None, person, checked=True),
                lambda: service.claim("u", person),
            ):
                with pytest.raises(Refused):
                    attempt()
        else:
            assert service.complete("u", {}, person, checked=True).status == "completed"


def test_as_is_an_option_of_the_commands(path, state):
    assert mlkit(state, "run", path, "--no-input").returncode == 3
    assert mlkit(state, "complete", "u", "--as", " ").returncode == 2
    done = json.loads(mlkit(state, "complete", "u", "--as", "ann", "--json").stdout)
    assert done["trace"][1]["by"] == "ann"
    assert "by ann" in mlkit(state, "history", done["instance"]).stdout
    late = mlkit(state, "complete", f"{done['instance']}/u", "--as", "bob")
    assert late.returncode == 2
    assert "ann has completed it" in late.stderr


# -- processes that die ------------------------------------------------------------------------


def test_a_killed_instance_is_interrupted_until_it_is_resumed(tmp_path, state, diagram):
    source = "import os, time\nopen('begun', 'w').close()\n"
    source += "while not os.path.exists('go'): time.sleep(0.02)"
    path = tmp_path / "p.bpmn"
    path.write_text(
        diagram(ENDS + f'<scriptTask id="w"><script>{source}</script></scriptTask>', "s>w w>e")
    )
    command = [sys.executable, "-m", "mlkit", "bpmn", "run", str(path), "--state", str(state)]
    with started(command, stdout=subprocess.DEVNULL) as victim:
        while not (begun := list(state.glob("work/*/begun"))):
            assert victim.poll() is None
            time.sleep(0.02)
        listed = json.loads(mlkit(state, "list", "--json").stdout)["instances"]
        victim.kill()
    assert [each["state"] for each in listed] == ["running"]
    row = listed[0]
    deadline = time.monotonic() + 180
    while row["state"] == "running" and time.monotonic() < deadline:  # Until its lease ends.
        (row,) = json.loads(mlkit(state, "list", "--json").stdout)["instances"]
    assert row["state"] == "interrupted"
    assert (
        json.loads(mlkit(state, "show", row["instance"], "--json").stdout)["state"] == "interrupted"
    )
    (begun[0].parent / "go").touch()
    assert mlkit(state, "resume").returncode == 0
    (row,) = json.loads(mlkit(state, "list", "--json").stdout)["instances"]
    assert row["state"] == "completed"


@sqlite_only
def test_one_process_owns_more_instances_than_it_may_open_files(path, state):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Session(state, create=True) as session:
        rows = [session.begin(path, {}) for _ in range(150)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        try:
            assert len(session.advance(rows)) == 150
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# -- a state folder of somebody else -----------------------------------------------------------


@sqlite_only
def test_a_state_folder_of_another_user_is_shown_and_not_run(path, state, monkeypatch):
    with Session(state, create=True) as session:
        (row,) = waiting(session, path)
    monkeypatch.setattr(sessions.os, "geteuid", lambda: state.stat().st_uid + 1)
    monkeypatch.setattr(type(state), "stat", _owned_by(type(state).stat, 4321))
    with Session(state) as session:
        assert session.tasks(session.journal.find(row.id))
        with pytest.raises(ConfigurationError, match="belongs to user 4321"):
            session.advance([row])


def _owned_by(stat, user):
    class Status:
        def __init__(self, found):
            self.found = found
            self.st_uid = user

        def __getattr__(self, name):
            return getattr(self.found, name)

    return lambda path, **options: Status(stat(path, **options))


# -- defects of the engine ---------------------------------------------------------------------


@pytest.fixture
def defect(monkeypatch):
    """Let the engine raise at random; returns how often that was, and switches it off."""
    rng, usual, raised = random.Random(7), Step.run, []

    def run(move):
        usual(move)
        if rng.random() < 0.3:
            raised.append(move)
            raise RuntimeError("a defect of the engine")

    def stop():
        monkeypatch.setattr(Step, "run", usual)
        return len(raised)

    monkeypatch.setattr(Step, "run", run)
    return stop


def busy(tmp_path, diagram):
    timer = "<timerEventDefinition><timeDuration>PT0.05S</timeDuration></timerEventDefinition>"
    body = ENDS + f'<intermediateCatchEvent id="t">{timer}</intermediateCatchEvent>'
    body += '<scriptTask id="w"><script>x = n + 1</script></scriptTask><userTask id="u"/>'
    path = tmp_path / "busy.bpmn"
    path.write_text(diagram(body, "s>t t>w w>u u>e"))
    return path


def test_an_error_of_the_engine_is_an_incident_of_one_instance(tmp_path, state, diagram, defect):
    with Session(state, create=True) as session:
        path = busy(tmp_path, diagram)
        rows = session.advance([session.begin(path, {"n": n}) for n in range(30)])
        assert len(rows) == 30
        assert defect() > 10
        # Where the engine failed even at keeping its failure, the instance is as if killed.
        session.advance(rows)
        statuses = [session.journal.find(each.id).status for each in rows]
        assert set(statuses) <= {"waiting", "incident"}
        assert statuses.count("waiting") > 2
        service = Service(session)
        for row in rows:
            while session.journal.find(row.id).status == "incident":
                found = incidents(session.engine(row), session.state(row))
                assert "internal error: RuntimeError" in found[0]["message"]
                assert "Traceback" in session.journal.logs(row)[-1].stderr
                service.retry(row.id, 0, "ann")
            done = service.complete(f"{row.id}/u", {}, "ann")
            found = document(session, done)
            assert found["state"] == "completed"
            assert found["variables"]["x"] == found["variables"]["n"] + 1
            ended = [each["element"] for each in found["trace"] if each["event"] == "completed"]
            assert ended == ["s", "t", "w", "u", "e"]


def test_cancel_works_whatever_the_engine_does(tmp_path, state, diagram, monkeypatch):
    def broken(*_):
        raise RuntimeError("a defect of the engine")

    with Session(state, create=True) as session:
        rows = waiting(session, busy(tmp_path, diagram), 3)
    with monkeypatch.context() as patch, Session(state) as session:
        patch.setattr(Step, "clear", broken)  # Cancelling itself fails,
        assert Service(session).cancel(rows[0].id, "one", "ann").status == "cancelled"
    with monkeypatch.context() as patch, Session(state) as session:
        patch.setattr(Step, "run", broken)  # and no event can be replayed.
        assert Service(session).cancel(rows[1].id, "two", "ann").status == "cancelled"
        with pytest.raises(ConfigurationError, match="cannot be applied"):
            session.state(rows[2])
    with Session(state) as session:
        assert [each.status for each in session.journal.rows()] == ["cancelled"] * 2 + ["waiting"]
        for row in rows[:2]:
            assert document(session, row)["error"]["message"] in {"one", "two"}


# -- damage ------------------------------------------------------------------------------------

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
        assert index.retried(None, None, (0, 0), 10) is not None


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
