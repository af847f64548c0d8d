"""What `/metrics` counts: each thing that happened once, whatever it shares a commit with."""

from __future__ import annotations

import asyncio

import pytest

from mlkit.bpmn.engine.events import Assign, Retry
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.server import metrics
from mlkit.bpmn.server.changes import Changes
from mlkit.bpmn.server.telemetry import SECONDS
from mlkit.web.events import Feed
from mlkit.web.metrics import Layout, SharedCounters

LAYOUT = Layout((), metrics.COUNTERS, metrics.HISTOGRAMS, SECONDS)
TIMER = (
    '<intermediateCatchEvent id="{}"><timerEventDefinition><timeDuration>PT0.2S</timeDuration>'
    "</timerEventDefinition></intermediateCatchEvent>"
)


class Counting(Session):
    """A session whose runner counts, as that of a server does."""

    def __init__(self, folder):
        super().__init__(folder, Settings(workers=1), create=True)
        self.changes = Changes(Feed())
        self.shared = SharedCounters(LAYOUT, 1)
        self.loop = None

    def tell(self):
        self.loop = asyncio.new_event_loop()
        self.changes.tell(self.loop, self.shared.row(0))

    def runner(self, pool):
        found = super().runner(pool)
        found.on_entry = self.changes.note
        return found

    def count(self, counter):
        return self.shared.sums()[LAYOUT.counters[counter]]

    def observed(self, histogram):
        return self.shared.histogram(histogram).count


@pytest.fixture
def session(tmp_path):
    with Counting(tmp_path / "state") as found:
        yield found
        if found.loop is not None:
            found.loop.close()


@pytest.fixture
def begin(session, tmp_path, diagram):
    def begin(body, flows, variables=()):
        (tmp_path / "p.bpmn").write_text(diagram(body, flows))
        row = session.begin(tmp_path / "p.bpmn", dict(variables))
        session.advance([row])
        return row

    return begin


def test_an_instance_whose_branches_end_in_one_commit_has_ended_once(session, begin, caplog):
    session.tell()
    body = (
        '<startEvent id="s"/><parallelGateway id="g"/><endEvent id="e1"/><endEvent id="e2"/>'
        + TIMER.format("t1")
        + TIMER.format("t2")
    )
    with caplog.at_level("INFO", "mlkit.bpmn"):
        begin(body, "s>g g>t1 g>t2 t1>e1 t2>e2")
    assert session.count("completed") == session.observed("instance") == 1
    assert sum("is completed" in each.message for each in caplog.records) == 1


def test_the_time_in_the_queue_is_that_of_the_first_attempt(session, begin):
    session.tell()
    body = (
        '<startEvent id="s"/><endEvent id="e"/>'
        '<scriptTask id="a" scriptFormat="python"><script>x = 1 / n</script></scriptTask>'
    )
    row = begin(body, "s>a a>e", {"n": 0})
    assert (session.count("attempts"), session.count("failures")) == (1, 1)
    assert session.observed("queue") == 1
    session.deliver(row, Assign({"n": 1}))
    session.deliver(row, Retry())
    session.advance([session.journal.get(row.number)])
    assert (session.count("attempts"), session.count("failures")) == (2, 1)
    assert session.count("completed") == 1
    assert session.observed("queue") == 1


def test_what_the_engine_does_before_the_server_serves_is_counted(session, begin):
    begin('<startEvent id="s"/><endEvent id="e"/>', "s>e")
    session.changes.count_leases("taken", 1)
    assert session.count("completed") == 0
    session.tell()
    assert (session.count("completed"), session.count("taken")) == (1, 1)


def test_durations_of_days_have_buckets(session):
    session.shared.row(0).observe("instance", 2 * 86400.0)
    assert 86400.0 < session.shared.histogram("instance").quantile(0.5) <= 604800.0
