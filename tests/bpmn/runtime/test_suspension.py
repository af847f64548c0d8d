"""Instances that an operator suspends: nothing of them begins until they may go on."""

from __future__ import annotations

import time

import pytest

from mlkit.bpmn.journal.external import Topic
from mlkit.bpmn.runtime import external
from mlkit.bpmn.runtime.clock import RealClock
from mlkit.bpmn.runtime.host import Host
from mlkit.bpmn.runtime.service import Refused, Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.errors import UsageError

PATIENCE = 180.0
TASK = '<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>'


@pytest.fixture
def service(back_end, tmp_path):
    with Session(tmp_path / "state", Settings(waits=False), create=True) as session:
        yield Service(session)


@pytest.fixture
def begin(service, tmp_path, diagram):
    """Begin an instance of a diagram, and run it to its first wait."""

    def begin(body, flows, **variables):
        path = tmp_path / "p.bpmn"
        path.write_text(diagram(body, flows))
        row = service.session.begin(path, variables)
        service.session.advance([row])
        return row

    return begin


def status(service, row):
    return service.journal.get(row.number).status


def test_nobody_can_do_a_task_of_a_suspended_instance(service, begin):
    row = begin(TASK, "s>u u>e")
    (task,) = service.tasks()
    assert service.suspend(row.id, "wrong prices", "ann").status == "suspended"
    assert service.tasks() == []
    assert service.journal.index.task_count() == 0
    assert service.show(row.id)["waiting"] == []
    # Who writes mail still finds it: a reminder that is due meanwhile is not lost.
    assert [each.id for each in service.session.tasks(service.journal.get(row.number))] == [task.id]
    for refused in (
        lambda: service.complete(task.id, {}, "bob"),
        lambda: service.submit(task, {}, "bob"),
        lambda: service.claim(task.id, "bob"),
    ):
        with pytest.raises(UsageError, match=f"instance {row.id} is suspended") as caught:
            refused()
        assert f"unsuspend {row.id}" in caught.value.hint
    assert service.unsuspend(row.id, "ann").status == "waiting"
    assert [each.id for each in service.tasks()] == [task.id]
    assert service.complete(task.id, {}, "bob").status == "completed"
    audited = [each.action for _, each in service.journal.audit.entries(row.id, None, 10)]
    assert audited == ["complete", "unsuspend", "suspend", "start"]


def test_what_is_not_so_is_not_done_again(service, begin):
    row = begin(TASK, "s>u u>e")
    with pytest.raises(Refused, match="is not suspended"):
        service.unsuspend(row.id, "ann")
    service.suspend(row.id, "", "ann")
    with pytest.raises(Refused, match="is suspended already"):
        service.suspend(row.id, "", "ann")
    assert service.cancel(row.id, "enough", "ann").status == "cancelled"
    with pytest.raises(UsageError, match="is cancelled"):
        service.suspend(row.id, "", "ann")


def test_variables_can_be_changed_meanwhile(service, begin):
    row = begin(TASK, "s>u u>e", x=1)
    service.suspend(row.id, "", "ann")
    service.assign(row.id, {"x": 2}, [], "ann")
    assert status(service, row) == "suspended"
    assert service.show(row.id)["variables"]["x"] == 2


def test_messages_and_signals_are_kept_until_it_goes_on(service, begin):
    catch = '<intermediateCatchEvent id="{}"><{}/></intermediateCatchEvent>'
    row = begin(
        '<startEvent id="s"/><endEvent id="e"/>'
        + catch.format("m", 'messageEventDefinition messageRef="Paid"')
        + catch.format("g", 'signalEventDefinition signalRef="Stop"'),
        "s>m s>g m>e g>e",
    )
    service.suspend(row.id, "", "ann")
    service.message("paid", "", {"sum": 3}, 60)
    service.signal("stop", {})
    assert status(service, row) == "suspended"
    assert service.journal.work(time.time(), 10) == []  # Nobody takes it for what it cannot take.
    assert service.unsuspend(row.id, "ann").status in ("completed", "waiting")
    service.session.advance([service.journal.get(row.number)])
    assert status(service, row) == "completed"
    assert service.show(row.id)["variables"] == {"sum": 3}


def test_a_timer_that_is_due_fires_when_it_goes_on(service, begin):
    timer = "<timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition>"
    ahead = [0.0]
    service.session.settings.clock = RealClock(lambda: time.time() + ahead[0])
    row = begin(
        '<startEvent id="s"/><userTask id="u"/><endEvent id="e"/><endEvent id="late"/>'
        f'<boundaryEvent id="b" attachedToRef="u">{timer}</boundaryEvent>',
        "s>u u>e b>late",
    )
    service.suspend(row.id, "", "ann")
    assert service.journal.get(row.number).due is None
    ahead[0] = 7200.0
    service.session.advance([service.journal.get(row.number)])
    assert status(service, row) == "suspended"
    service.unsuspend(row.id, "ann")
    service.session.advance([service.journal.get(row.number)])
    assert status(service, row) == "completed"


def test_external_workers_get_nothing_of_it(service, begin):
    service.session.settings.external = True
    task = '<serviceTask id="t" camunda:type="external" camunda:topic="work"/>'
    row = begin(f'<startEvent id="s"/>{task}<endEvent id="e"/>', "s>t t>e")

    def fetch():
        topics = [Topic("work", 60.0)]
        return service.session.write(lambda it: it.external.fetch("w", topics, 10, time.time()))

    (held,) = fetch()
    service.suspend(row.id, "", "ann")
    with pytest.raises(external.TaskSuspended, match="is suspended"):
        service.session.write(lambda it: external.complete(it, held.id, external.Report("w")))
    service.session.write(lambda it: external.unlock(it, held.id))
    assert fetch() == []
    service.unsuspend(row.id, "ann")
    assert [each.id for each in fetch()] == [held.id]


def test_a_script_that_runs_may_end_and_the_next_begins_later(back_end, tmp_path, diagram):
    wait = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)"
    began = f"open({str(tmp_path / 'began')!r}, 'a').write('x')"
    path = tmp_path / "p.bpmn"
    path.write_text(
        diagram(
            f'<startEvent id="s"/><scriptTask id="a"><script>{began}\n{wait}</script></scriptTask>'
            f'<scriptTask id="b" mlkit:retry="never"><script>{began}</script></scriptTask>'
            '<endEvent id="e"/>',
            "s>a a>b b>e",
        )
    )
    host = Host(tmp_path / "state", Settings(workers=1))
    with Session(tmp_path / "state", create=True) as session:
        service = Service(session)
        host.start()
        row = session.begin(path, {})
        until((tmp_path / "began").exists)
        service.suspend(row.id, "", "ann")
        (tmp_path / "go").touch()
        until(lambda: len(service.show(row.id)["trace"]) >= 2)
        assert status(service, row) == "suspended"
        assert (tmp_path / "began").read_text() == "x"
        service.unsuspend(row.id, "ann")
        until(lambda: status(service, row) == "completed")
        assert (tmp_path / "began").read_text() == "xx"
        assert [(each.element, each.attempt) for each in session.journal.logs(row)] == [
            ("a", 1), ("b", 1),
        ]  # fmt: skip
    host.join()


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
