"""Deployed processes that begin when a data store changes; and event sub-processes of theirs."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from mlkit.bpmn.runtime import deployment
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.scheduler import Scheduler
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings

PATIENCE = 180.0


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
        deployment.deploy(service.session, {"p.bpmn": diagram(body, flows).encode()}, "ann")

    return deploy


@pytest.fixture
def look(service):
    """Look for what has begun, and let it run; return the variables of the new instances."""
    session = service.session
    starter = deployment.Starter(service.journal.folder, session.settings, session.engines)
    scheduler = Scheduler(None, starter)

    def look():
        before = len(service.journal.rows())
        session.write(scheduler.look)
        rows = service.journal.rows()[before:]
        session.advance(rows)
        return [service.show(each.id)["variables"] for each in rows]

    return look


def condition(text):
    event = f"<conditionalEventDefinition><condition>{text}</condition>"
    return (
        f'<startEvent id="s">{event}</conditionalEventDefinition></startEvent>'
        '<userTask id="u"/><endEvent id="e"/>'
    )


FLOWS = "s>u u>e"


def test_an_instance_begins_each_time_that_the_condition_becomes_true(service, deploy, look):
    deploy(condition("drift &gt; 0.2"), FLOWS)
    begun = []
    for value in (0.1, 0.3, 0.4, 0.1, 0.5):
        service.store("drift", value)
        begun += look()
    assert begun == [{"drift": 0.3}, {"drift": 0.5}]


def test_what_was_true_for_a_moment_only_is_seen(service, deploy, look):
    deploy(condition("drift &gt; 0.2"), FLOWS)
    for value in (0.3, 0.1, 0.4, 0.1):
        service.store("drift", value)
    assert look() == [{"drift": 0.3}, {"drift": 0.4}]
    assert look() == []


def test_several_stores_count_together(service, deploy, look):
    deploy(condition("drift &gt; 0.2 and rows &gt; 100"), FLOWS)
    service.store("drift", 0.5)
    assert look() == []  # `rows` is null so far: a condition that fails does not hold.
    service.store("unrelated", 1)
    service.store("rows", 200)
    assert look() == [{"drift": 0.5, "rows": 200}]
    service.store("drift", 0.6)
    assert look() == []


def test_what_holds_at_the_deployment_has_not_become_true(service, deploy, look):
    service.store("drift", 0.5)
    deploy(condition("drift &gt; 0.2"), FLOWS)
    assert look() == []
    service.store("drift", 0.5)
    assert look() == []


def test_the_newest_version_counts(service, deploy, look):
    deploy(condition("drift &gt; 0.2"), FLOWS)
    deploy(condition("drift &gt; 0.9"), FLOWS)
    service.store("drift", 0.5)
    assert look() == []
    deploy('<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>', FLOWS)
    service.store("drift", 0.95)
    assert look() == []


def test_a_task_that_sets_a_store_begins_another_process(service, deploy, look, diagram):
    deploy(condition("rate &gt; 1"), FLOWS)
    writer = (
        '<startEvent id="s"/><scriptTask id="t" scriptFormat="python"><dataOutputAssociation'
        ' id="o"><targetRef>r</targetRef></dataOutputAssociation><script>rate = 5</script>'
        '</scriptTask><endEvent id="e"/>'
        '<dataStoreReference id="r" name="rate"/>'
    )
    path = service.journal.folder.parent / "w.bpmn"
    path.write_text(diagram(writer, "s>t t>e").replace('process id="p"', 'process id="w"'))
    row = service.session.begin(path, {})
    service.session.advance([row])
    assert service.journal.get(row.number).status == "completed"
    assert look() == [{"rate": 5}]


def test_a_timer_event_sub_process_of_a_deployed_definition_acts(folder, service, deploy, arrows):
    timer = "<timerEventDefinition><timeDuration>PT0.2S</timeDuration></timerEventDefinition>"
    inner = f'<startEvent id="ts">{timer}</startEvent><endEvent id="te"/>{arrows("ts>te", "in")}'
    body = '<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>'
    deploy(f'{body}<subProcess id="sub" triggeredByEvent="true">{inner}</subProcess>', FLOWS)
    host = Host(folder, Settings())
    host.start()
    try:
        session = service.session
        starter = deployment.Starter(folder, session.settings, session.engines)
        row = host.write(lambda it: starter.start(it, deployment.Request("p"))).result(PATIENCE)
        until(lambda: service.journal.get(row.number).status == "completed")
        assert [e["element"] for e in service.show(row.id)["trace"]] == [
            "s",
            "u",
            "ts",
            "te",
            "sub",
        ]
    finally:
        host.join()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
