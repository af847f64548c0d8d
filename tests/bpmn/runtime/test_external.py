"""Tasks that external workers do: locks, results, failures, and what ends them."""

from __future__ import annotations

import time

import pytest

from mlkit.bpmn.engine.events import Retry
from mlkit.bpmn.journal.external import Condition, Topic
from mlkit.bpmn.runtime import external
from mlkit.bpmn.runtime.diagrams import load
from mlkit.bpmn.runtime.external import NotYours, Report, UnknownTask
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.errors import BadData

TASK = (
    '<startEvent id="s"/><serviceTask id="t" camunda:type="external" camunda:topic="{topic}"'
    ' camunda:taskPriority="${{urgency}}"/>'
    '<endEvent id="e"/>{more}'
)
FLOWS = "s>t t>e"


class Play:
    """An instance with an external task, and a worker."""

    def __init__(self, folder, text, variables=None):
        path = folder / "x.bpmn"
        path.write_text(text, "utf-8")
        self.session = Session(folder / "state", Settings(external=True), create=True)
        self.journal = self.session.journal
        self.row = self.session.begin(path, {"urgency": 3, **(variables or {})}, "key-1")
        self.advance()

    def advance(self):
        self.session.advance([self.journal.get(self.row.number)])
        return self.journal.get(self.row.number)

    @property
    def state(self):
        return self.session.state(self.journal.get(self.row.number))

    @property
    def variables(self):
        return self.state.roots()[0].variables

    def write(self, function, *arguments):
        with self.journal.transaction():
            result = function(self.journal, *arguments)
        self.advance()
        return result

    def fetch(self, worker="w", lock=60.0, topic="work", now=None):
        def fetched(journal):
            at = time.time() if now is None else now
            return journal.external.fetch(worker, [Topic(topic, lock)], 10, at)

        return self.write(fetched)


@pytest.fixture
def play(tmp_path, diagram):
    opened = []

    def begin(text=None, variables=None):
        text = text or diagram(TASK.format(topic="work", more=""), FLOWS)
        opened.append(Play(tmp_path, text, variables))
        return opened[-1]

    yield begin
    for each in opened:
        each.session.__exit__()


def test_a_task_is_fetched_once_and_completed(play):
    one = play()
    assert one.journal.get(one.row.number).status == "waiting"
    (task,) = one.fetch()
    assert (task.topic, task.element, task.priority, task.key) == ("work", "t", 3, "key-1")
    assert (task.worker, task.retries, task.process) == ("w", None, "p")
    assert one.fetch("other") == []
    one.write(external.complete, task.id, Report("w", {"answer": 42}))
    assert one.journal.get(one.row.number).status == "completed"
    with pytest.raises(UnknownTask):
        one.write(external.complete, task.id, Report("w"))


def test_another_worker_may_not_report(play):
    one = play()
    with pytest.raises(NotYours, match="null"):
        one.write(external.complete, one.journal.external.find([])[0].id, Report("w"))
    (task,) = one.fetch("mine")
    with pytest.raises(NotYours, match="locked by worker 'mine'"):
        one.write(external.complete, task.id, Report("w"))
    with pytest.raises(NotYours):
        one.write(external.lock, task.id, "w", 5.0, time.time())
    one.write(external.lock, task.id, "mine", 5.0, time.time())
    one.write(external.unlock, task.id)
    assert [each.worker for each in one.fetch("w")] == ["w"]


def test_a_lock_that_ended_lets_another_fetch_but_its_holder_complete(play):
    one = play()
    (task,) = one.fetch(lock=10.0)
    later = time.time() + 11
    with pytest.raises(NotYours, match="expired"):
        one.write(external.extend, task.id, "w", 5.0, later)
    assert [each.worker for each in one.fetch("other", now=later)] == ["other"]
    with pytest.raises(NotYours):
        one.write(external.complete, task.id, Report("w"))
    one.write(external.complete, task.id, Report("other"))
    assert one.advance().status == "completed"


def test_the_holder_completes_after_its_lock_where_nobody_took_the_task(play):
    one = play()
    (task,) = one.fetch(lock=-1.0)
    one.write(external.complete, task.id, Report("w"))
    assert one.advance().status == "completed"


def test_failures_count_retries_down_to_an_incident(play):
    one = play()
    (task,) = one.fetch()
    now = time.time()
    one.write(external.fail, task.id, Report("w"), "no net", "trace", 1, now + 60)
    assert one.advance().status == "waiting"
    assert one.fetch() == []
    (task,) = one.fetch(now=now + 61)
    assert (task.retries, task.error, one.journal.external.details(task)) == (1, "no net", "trace")
    one.write(external.fail, task.id, Report("w"), "again", None, 0, now)
    assert one.advance().status == "incident"
    assert one.fetch(now=now + 1000) == []
    one.write(external.set_retries, [task.id], 2, now + 1000)
    assert one.advance().status == "waiting"
    assert [each.retries for each in one.fetch(now=now + 1000)] == [2]


def test_an_operator_retries_the_incident(play):
    one = play()
    (task,) = one.fetch()
    one.write(external.fail, task.id, Report("w"), "no", None, 0, 0.0)
    one.session.deliver(one.journal.get(one.row.number), Retry())
    assert one.advance().status == "waiting"
    assert [each.retries for each in one.fetch(now=time.time() + 100)] == [1]


def test_a_task_without_retries_can_still_be_completed(play):
    one = play()
    (task,) = one.fetch()
    one.write(external.fail, task.id, Report("w"), "no", None, 0, 0.0)
    one.write(external.complete, task.id, Report("w"))
    assert one.advance().status == "completed"


BOUNDARY = (
    '<boundaryEvent id="b" attachedToRef="t"><errorEventDefinition errorRef="Bad"'
    ' camunda:errorMessageVariable="why"/></boundaryEvent><userTask id="u"/>'
)


def test_a_bpmn_error_is_caught_at_the_boundary(play, diagram):
    one = play(diagram(TASK.format(topic="work", more=BOUNDARY), f"{FLOWS} b>u"))
    (task,) = one.fetch()
    one.write(external.throw, task.id, Report("w", {"seen": 1}), "BAD", "too much")
    assert one.variables["why"] == "too much"
    assert one.variables["seen"] == 1
    assert [each.node for each in one.state.activations.values()] == ["u"]


def test_an_uncaught_bpmn_error_ends_the_token(play):
    one = play()
    (task,) = one.fetch()
    one.write(external.throw, task.id, Report("w"), "ELSE", "")
    assert one.advance().status == "completed"


def test_local_variables_reach_output_mappings_only(play, diagram):
    mapped = TASK.format(topic="work", more='<userTask id="u"/>').replace(
        "/><endEvent",
        "><extensionElements><camunda:inputOutput><camunda:outputParameter name='total'>"
        "${part + 1}</camunda:outputParameter></camunda:inputOutput></extensionElements>"
        "</serviceTask><endEvent",
        1,
    )
    zeebe = ' xmlns:zeebe="http://camunda.org/schema/zeebe/1.0"'
    one = play(diagram(mapped, "s>t t>u u>e").replace(zeebe, ""))
    (task,) = one.fetch()
    one.write(external.complete, task.id, Report("w", {"open": 1}, {"part": 4}))
    assert one.variables == {"urgency": 3, "open": 1, "total": 5}


def test_a_boundary_timer_and_a_cancellation_withdraw_the_task(play, diagram):
    timer = (
        '<boundaryEvent id="b" attachedToRef="t"><timerEventDefinition><timeDuration>PT0S'
        '</timeDuration></timerEventDefinition></boundaryEvent><userTask id="u"/>'
    )
    one = play(diagram(TASK.format(topic="work", more=timer), f"{FLOWS} b>u"))
    assert one.advance().status == "waiting"
    assert one.journal.external.find([]) == []


def test_the_topic_is_computed_and_lists_are_filtered(play, diagram):
    one = play(diagram(TASK.format(topic="${where}", more=""), FLOWS), {"where": "north"})
    tasks = one.journal.external
    assert tasks.topics([]) == ["north"]
    assert tasks.count([Condition("priority", ">=", (3,))]) == 1
    assert tasks.count([Condition("priority", ">", (3,))]) == 0
    assert tasks.count([Condition("retries", "NULL OR >", (0,))]) == 1
    assert tasks.count([Condition("worker", "NOT NULL")]) == 0
    assert [each.element for each in tasks.find([Condition("key", "IN", ("key-1", "x"))])] == ["t"]


def test_higher_priority_and_filters_choose_what_is_fetched(tmp_path, diagram):
    text = diagram(TASK.format(topic="work", more=""), FLOWS)
    one = Play(tmp_path, text)
    for urgency in (9, 1):
        row = one.session.begin(tmp_path / "x.bpmn", {"urgency": urgency}, f"key-{urgency}")
        one.session.advance([row])
    with one.journal.transaction():
        found = one.journal.external.fetch(
            "w", [Topic("work", 9.0, (("key", ("key-9", "key-1")),))], 1, time.time(),
            [("priority", "desc")],
        )  # fmt: skip
    assert [each.priority for each in found] == [9]
    one.session.__exit__()


def test_without_a_server_an_unbound_topic_is_an_error(tmp_path, diagram):
    path = tmp_path / "x.bpmn"
    path.write_text(diagram(TASK.format(topic="work", more=""), FLOWS), "utf-8")
    with pytest.raises(BadData, match="not a Python callable"):
        load(path)
    assert load(path, external=True).warnings == []


def test_a_bound_callable_does_the_work(tmp_path, diagram):
    (tmp_path / "jobs.py").write_text("def work():\n    return {'by': 'callable'}\n", "utf-8")
    text = diagram(TASK.format(topic="work", more='<userTask id="u"/>'), "s>t t>u u>e")
    (tmp_path / "x.bpmn").write_text(text, "utf-8")
    with Session(tmp_path / "state", Settings(external=True), create=True) as session:
        bindings = {"work": "jobs:work"}
        row = session.begin(tmp_path / "x.bpmn", {"urgency": 1}, bindings=bindings)
        session.advance([row])
        assert session.state(row).roots()[0].variables["by"] == "callable"
