"""Processes that die and defects of the engine: what stops one instance stops no other."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pytest
from bpmn.runtime.asking import ENDS, mlkit, sqlite_only, waiting
from processes import started

from mlkit.bpmn.engine.step import Step
from mlkit.bpmn.runtime import session as sessions
from mlkit.bpmn.runtime.documents import document, incidents
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.errors import ConfigurationError, MlkitError

pytestmark = pytest.mark.usefixtures("back_end")


def test_a_killed_instance_is_interrupted_until_it_is_resumed(tmp_path, state, diagram, back_end):
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
    back_end.end_leases(state)
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


@sqlite_only
def test_what_prevents_the_start_of_a_host_is_raised_and_not_a_defect_that_ends_it(tmp_path):
    (tmp_path / "state").write_text("a file, and no folder")
    ended = []
    host = Host(tmp_path / "state", Settings(workers=1))
    with pytest.raises(MlkitError, match="state"):
        host.start(on_failure=lambda: ended.append(True))
    assert not ended
