"""Instances that go on with another version of their definition, on disk and under a host."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec import structs

from mlkit.bpmn.engine.events import Complete
from mlkit.bpmn.journal.external import Topic
from mlkit.bpmn.journal.sql import event_writer
from mlkit.bpmn.runtime import deployment, documents, external, migration
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.rerun import rerun
from mlkit.bpmn.runtime.service import Refused, Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.scenarios.recording import record
from mlkit.errors import InputMissing, UsageError

PATIENCE = 60.0
V1 = '<startEvent id="s"/><task id="old" name="Old check"/><userTask id="u"/><endEvent id="e"/>'
V2 = '<startEvent id="s"/><userTask id="v"/><task id="t"/><endEvent id="e"/>'
FLOWS = "s>old old>u u>e", "s>v v>t t>e"


@pytest.fixture
def folder(back_end, tmp_path):
    return tmp_path / "state"


@pytest.fixture
def service(folder):
    with Session(folder, Settings(waits=False), create=True) as session:
        yield Service(session)


@pytest.fixture
def deploy(service, diagram):
    def deploy(body, flows):
        files = {"p.bpmn": diagram(body, flows).encode()}
        return deployment.deploy(service.session, files, "ann")[0].version

    return deploy


@pytest.fixture
def start(service):
    """Start the newest version, and run it to its first wait."""

    def start(**variables):
        session = service.session
        starter = deployment.Starter(service.journal.folder, session.settings, session.engines)
        request = deployment.Request("p", variables=variables)
        row = session.write(lambda journal: starter.start(journal, request))
        session.advance([row])
        return row

    return start


def test_it_goes_on_with_the_new_version_and_keeps_its_history(service, deploy, start, folder):
    deploy(V1, FLOWS[0])
    row = start(x=1)
    assert deploy(V2, FLOWS[1]) == 2
    report = service.migration(row.id, 2, {"u": "v"})
    assert (report["from"], report["to"], report["problems"]) == (1, 2, [])
    assert [(e["element"], e["to"]) for e in report["tokens"]] == [("u", "v")]
    assert [(e["element"], e["status"]) for e in report["then"]] == [("v", "waiting")]
    assert "old would not be completed" in report["differs"]
    assert service.show(row.id)["version"] == 1  # A report changes nothing.
    service.migrate(row.id, 2, {"u": "v"}, "ann")
    shown = service.show(row.id)
    assert (shown["version"], shown["state"]) == (2, "waiting")
    assert [each["element"] for each in shown["tokens"]] == ["v"]
    with Session(folder, Settings(waits=False)) as later:  # Out of the events alone.
        again = Service(later)
        (task,) = again.tasks()
        assert task.element == "v"
        again.complete(task.id, {"y": 2}, "bob")
        found = again.show(row.id)
    assert found["state"] == "completed"
    assert found["variables"] == {"x": 1, "y": 2}
    assert [(e["element"], e["name"], e["type"]) for e in found["trace"]] == [
        ("s", "", "startEvent"),
        ("old", "Old check", "task"),
        ("v", "", "userTask"),
        ("t", "", "task"),
        ("e", "", "endEvent"),
    ]
    audited = [(e.action, e.subject) for _, e in service.journal.audit.entries(row.id, None, 10)]
    assert ("migrate", "version 2") in audited


def test_the_same_way_is_said_to_be_the_same(service, deploy, start):
    deploy(V1, FLOWS[0])
    row = start()
    renamed = V1.replace('"u"', '"v"').replace('"old"', '"new"')
    deploy(renamed, "s>new new>v v>e")
    assert service.migration(row.id, None, {"u": "v", "old": "new"})["differs"] is None


def test_what_prevents_it_is_refused_and_nothing_changes(service, deploy, start):
    deploy(V1, FLOWS[0])
    row = start()
    with pytest.raises(UsageError, match="has version 1 already"):
        service.migration(row.id, None, {})
    deploy(V2, FLOWS[1])
    with pytest.raises(Refused, match=r"cannot be moved: u: it holds a token"):
        service.migrate(row.id, 2, {}, "ann")
    with pytest.raises(InputMissing, match="no definition 'p version 7'"):
        service.migrate(row.id, 7, {}, "ann")
    assert service.show(row.id)["version"] == 1
    service.cancel(row.id, "", "ann")
    with pytest.raises(UsageError, match="is cancelled"):
        service.migrate(row.id, 2, {"u": "v"}, "ann")


def test_whoever_owns_it_looks_again_when_it_is_moved(service, deploy, start):
    two = '<startEvent id="s"/><userTask id="u"/><userTask id="w"/><endEvent id="e"/>'
    deploy(two, "s>u u>w w>e")
    row = start()
    deploy(V2, FLOWS[1])
    event = migration.plan(service.session, row, 2, {"u": "v"}, time.time()).event
    (task,) = service.tasks()
    service.session.deliver(row, Complete(task.activation, {}, "bob"))
    number = service.session.deliver(row, event)
    refusal = service.session.settle(row, number, PATIENCE)
    assert refusal.startswith("w: it holds a token")
    assert service.show(row.id)["version"] == 1


def test_a_suspended_instance_and_one_that_is_moved_twice(service, deploy, start):
    deploy(V1, FLOWS[0])
    row = start()
    deploy(V2, FLOWS[1])
    service.suspend(row.id, "", "ann")
    assert service.migrate(row.id, 2, {"u": "v"}, "ann").status == "suspended"
    assert service.migrate(row.id, 1, {"v": "u"}, "ann").status == "suspended"
    assert service.unsuspend(row.id, "ann").status == "waiting"
    (task,) = service.tasks()
    assert task.element == "u"
    assert service.complete(task.id, {}, "bob").status == "completed"


def test_of_two_who_move_it_at_once_one_is_refused(service, deploy, start):
    deploy(V1, FLOWS[0])
    row = start()
    swapped = V1.replace('"u"', '"v"')
    deploy(swapped, FLOWS[0].replace("u", "v"))
    event = migration.plan(service.session, row, 2, {"u": "v"}, time.time()).event
    again = structs.replace(event, mapping={"v": "u"})
    with service.journal.transaction():
        first, second = (
            service.journal.mailbox.deliver(row.number, each, asks=True) for each in (event, again)
        )
    service.session.advance([row])
    assert service.journal.mailbox.verdict(first) == ""
    assert "has that version already" in service.journal.mailbox.verdict(second)
    assert service.show(row.id)["version"] == 2


def test_a_lock_of_a_worker_holds_across_the_move(service, deploy, start):
    work = '<serviceTask id="{}" camunda:type="external" camunda:topic="work"/>'
    body = f'<startEvent id="s"/>{work}<endEvent id="e"/>'
    service.session.settings.external = True
    deploy(body.format("t"), "s>t t>e")
    row = start()
    topics = [Topic("work", 60.0)]
    (held,) = service.session.write(lambda it: it.external.fetch("w", topics, 1, time.time()))
    deploy(body.format("w"), "s>w w>e")
    service.migrate(row.id, 2, {"t": "w"}, "ann")
    now = service.journal.external.get(held.id)
    assert (now.element, now.worker) == ("w", "w")
    assert now.definition == service.journal.get(row.number).definition
    service.session.write(lambda it: external.complete(it, held.id, external.Report("w")))
    service.session.advance([service.journal.get(row.number)])
    assert service.journal.get(row.number).status == "completed"


def test_a_message_that_waits_is_received_under_its_new_name(service, deploy, start):
    catch = '<startEvent id="s"/><intermediateCatchEvent id="c"><messageEventDefinition'
    body = catch + ' messageRef="{}"/></intermediateCatchEvent><endEvent id="e"/>'
    more = '<intermediateCatchEvent id="x"><messageEventDefinition messageRef="Paid"/>'
    deploy(body.format("Paid"), "s>c c>e")
    row = start()
    deploy(body.format("Paid") + more + "</intermediateCatchEvent>", "s>c c>x x>e")
    service.migrate(row.id, None, {}, "ann")
    (moved,) = service.message("paid", "", {}, 60)
    assert moved.status == "waiting"
    (moved,) = service.message("paid", "", {}, 60)
    assert moved.status == "completed"


def test_an_instance_of_no_deployed_version_moves_too(service, deploy, diagram, tmp_path):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(V1, FLOWS[0]))
    row = service.session.begin(path, {})
    service.session.advance([row])
    deploy(V2, FLOWS[1])
    assert service.migration(row.id, None, {"u": "v"})["from"] is None
    assert service.migrate(row.id, None, {"u": "v"}, "ann").status == "waiting"
    assert service.show(row.id)["version"] == 1


def test_a_move_that_is_not_committed_has_not_been(service, deploy, start, folder, monkeypatch):
    deploy(V1, FLOWS[0])
    row = start()
    deploy(V2, FLOWS[1])
    monkeypatch.setattr(service.journal.mailbox, "take", _fail)
    with pytest.raises(RuntimeError, match="the power is gone"):
        service.migrate(row.id, 2, {"u": "v"}, "ann")
    monkeypatch.undo()
    shown = service.show(row.id)
    assert (shown["version"], [e["element"] for e in shown["tokens"]]) == (1, ["u"])


def _fail(*_, **__):
    raise RuntimeError("the power is gone")


def test_a_new_run_begins_at_what_has_begun_since(service, deploy, start):
    deploy(V1, FLOWS[0])
    row = start()
    deploy(V2, FLOWS[1])
    service.migrate(row.id, 2, {"u": "v"}, "ann")
    row = service.journal.get(row.number)
    with pytest.raises(InputMissing, match="since it was moved"):
        rerun(service.session, row, "s")
    new = rerun(service.session, row, "v")
    assert [each["element"] for each in service.show(new.id)["tokens"]] == ["v"]
    with pytest.raises(UsageError, match="no diagram plays all"):
        record(service.session, row, service.journal.folder)


def test_a_snapshot_of_the_older_version_is_not_used(service, deploy, start, monkeypatch):
    monkeypatch.setattr(event_writer, "SNAPSHOT_EVERY", 2)
    deploy(V1, FLOWS[0])
    row = start()
    for number in range(4):
        service.assign(row.id, {"x": number}, [], "ann")
    monkeypatch.setattr(event_writer, "SNAPSHOT_EVERY", 10_000)
    deploy(V2, FLOWS[1])
    service.migrate(row.id, 2, {"u": "v"}, "ann")
    monkeypatch.setattr(event_writer, "SNAPSHOT_EVERY", 2)
    row = service.journal.get(row.number)
    state = service.session.state(row)
    assert [each.node for each in state.activations.values()] == ["v"]
    assert documents.root_variables(state) == {"x": 3}


def test_the_host_that_owns_it_moves_it(folder, service, deploy, start):
    """The instance is at a running host: whoever asks leaves the move in its inbox."""
    deploy(V1, FLOWS[0])
    timer = "<timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition>"
    row = start()
    body = V2 + f'<boundaryEvent id="b" attachedToRef="v">{timer}</boundaryEvent>'
    deploy(body + '<endEvent id="late"/>', FLOWS[1] + " b>late")
    host = Host(folder, Settings())
    host.start()
    try:
        service.migrate(row.id, 2, {"u": "v"}, "ann")
        deadline = time.monotonic() + PATIENCE
        while service.journal.get(row.number).due is None and time.monotonic() < deadline:
            time.sleep(0.05)
        now = service.journal.get(row.number)
        assert now.due == pytest.approx(time.time() + 3600, abs=PATIENCE)
        assert service.show(row.id)["version"] == 2
    finally:
        host.join()


@pytest.mark.slow
def test_a_kill_at_any_statement_leaves_the_one_version_or_the_other(tmp_path, diagram):
    folder = tmp_path / "state"
    with Session(folder, Settings(waits=False), create=True) as session:
        for body, flows in zip((V1, V2), FLOWS, strict=True):
            deployment.deploy(session, {"p.bpmn": diagram(body, flows).encode()}, "ann")
        starter = deployment.Starter(folder, session.settings, session.engines)
        request = deployment.Request("p", version=1)
        row = session.write(lambda journal: starter.start(journal, request))
        session.advance([row])
    script = Path(__file__).parent / "killed_moves.py"
    command = [sys.executable, str(script), str(folder), row.id]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each[0] for each in found] == [True] * (len(found) - 1) + [False]
    assert all(each[1:] in ([1, ["u"], "completed"], [2, ["v"], "completed"]) for each in found)
    versions = [each[1] for each in found]
    assert versions == sorted(versions)
    assert {*versions[:-1]} == {1, 2}
