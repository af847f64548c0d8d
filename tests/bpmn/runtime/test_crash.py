"""A crash after every commit, and a disk that is full at any byte."""

from __future__ import annotations

import json
import resource
import sqlite3
from contextlib import contextmanager

import pytest
from commands import run_mlkit

from mlkit.bpmn.engine.events import Complete
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.sql.journal import SqlJournal
from mlkit.bpmn.runtime.documents import root_variables
from mlkit.bpmn.runtime.session import Session
from mlkit.storage.sqlite import SqliteDatabase

BODY = """<startEvent id="s"/><endEvent id="e"/><parallelGateway id="q"/><parallelGateway id="j"/>
<exclusiveGateway id="m"/><scriptTask id="a"><script>x = loopCounter * 10</script>
<multiInstanceLoopCharacteristics camunda:outputCollection="xs" camunda:outputElement="${x}">
<loopCardinality>3</loopCardinality></multiInstanceLoopCharacteristics></scriptTask>
<scriptTask id="b"><script>raise BpmnError("LOW", "too low")</script></scriptTask>
<boundaryEvent id="low" attachedToRef="b"><errorEventDefinition/></boundaryEvent>
<scriptTask id="c"><script>mended = sorted(["b", "a"])</script></scriptTask>
<userTask id="u"/><scriptTask id="d"><script>total = sum(xs) + answer</script></scriptTask>"""
FLOWS = "s>q q>a q>b b>m low>c c>m m>j a>j j>u u>d d>e"


@pytest.fixture
def path(tmp_path, diagram):
    found = tmp_path / "p.bpmn"
    found.write_text(diagram(BODY, FLOWS))
    return found


def finish(session, row):
    """Run an instance to its end, and answer what it asks."""
    while session.journal.find(row.id).status not in {"completed", "failed", "incident"}:
        for task in session.tasks(session.journal.find(row.id)):
            session.deliver(row, Complete(task.activation, {"answer": 7}))
        session.advance([session.journal.find(row.id)])
    return session.journal.find(row.id)


def told(session, row):
    """Return the outcome, the variables, and what completed how often."""
    steps = [each for _, _, steps in session.journal.events(row) for each in steps]
    done = sorted((each.element, each.iteration) for each in steps if each.event == "completed")
    return row.status, root_variables(session.state(row)), done


def test_a_crash_after_any_commit_changes_nothing(path, tmp_path, as_json, monkeypatch):
    copies, states = [], {}
    usual_transaction, usual_append = SqliteDatabase.transaction, SqlJournal.append_all

    @contextmanager
    def transaction(database):
        with usual_transaction(database):
            yield
        copy = tmp_path / f"crash{len(copies)}"
        copy.mkdir()
        with sqlite3.connect(copy / database.path.name) as target:
            database.connection.backup(target)
        target.close()
        copies.append(copy)

    def append_all(journal, appends):
        numbers = usual_append(journal, appends)
        states.update((each.after, as_json(each.state)) for each in appends)
        return numbers

    open_journal(tmp_path / "whole", create=True).close()
    with monkeypatch.context() as patch:
        patch.setattr(SqliteDatabase, "transaction", transaction)
        patch.setattr(SqlJournal, "append_all", append_all)
        with Session(tmp_path / "whole", create=True) as session:
            row = session.begin(path, {})
            expected = told(session, finish(session, row))
    assert expected[0] == "completed"
    assert expected[1]["total"] == 37
    assert len(copies) >= 6  # tasks that end together share a commit
    for copy in copies:
        with Session(copy) as session:
            row = session.journal.find(row.id)
            before = list(session.journal.events(row))
            if row.sequence:
                assert as_json(session.state(row)) == states[row.sequence]
            assert told(session, finish(session, row)) == expected
            assert list(session.journal.events(row))[: len(before)] == before


def limited(size):
    """Let no file grow beyond so many bytes, as on a full disk; the signal for it is ignored."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [0, 4096, 60_000, 75_000, 90_000, 105_000, 200_000])
def test_a_full_disk_is_one_error_and_loses_nothing(path, size):
    def mlkit(*arguments, **options):
        return run_mlkit("bpmn", *arguments, "--state", "st", cwd=path.parent, **options)

    run = mlkit("run", path.name, "--json", preexec_fn=limited(size))
    assert run.returncode in {3, 69}, run.stderr
    assert "Traceback" not in run.stderr
    if run.returncode == 69:
        assert run.stderr.startswith("error: ")
        assert run.stderr.count("\n") <= 2
    listed = mlkit("list", "--json")
    instances = json.loads(listed.stdout)["instances"] if listed.returncode == 0 else []
    for each in instances:
        resumed = json.loads(mlkit("resume", each["instance"], "--json").stdout)
        done = [step["element"] for step in resumed["trace"] if step["event"] == "completed"]
        assert sorted(done) == sorted(["s", "q", "a", "a", "a", "a", "low", "c", "m", "j"])
        assert resumed["state"] == "waiting"
