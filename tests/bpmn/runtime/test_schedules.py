"""What starts by itself: timers, messages and signals of deployed definitions."""

from __future__ import annotations

from pathlib import Path

import pytest
from bpmn.conftest import HEAD

from mlkit.bpmn.definition.start_timers import StartTimer
from mlkit.bpmn.definition.timers import instant
from mlkit.bpmn.runtime import deployment, schedules
from mlkit.bpmn.runtime import scheduler as scheduling
from mlkit.bpmn.runtime.deployment import Starter, deploy
from mlkit.bpmn.runtime.scheduler import Scheduler
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import BadData, InputMissing, UsageError

BEGIN = 1_900_000_000.0
ROOTS = '<message id="M" name="order"/><signal id="S" name="go"/>'
HOURLY = "<timerEventDefinition><timeCycle>R/PT1H</timeCycle></timerEventDefinition>"


def process(starts: str, policy: str = "", waits: bool = True) -> bytes:
    """Return a diagram whose start events `s0`, `s1` ... lead to a user task, or to the end."""
    definitions = starts.split("|")
    events = "".join(f'<startEvent id="s{n}">{e}</startEvent>' for n, e in enumerate(definitions))
    target = "u" if waits else "e"
    flows = "".join(
        f'<sequenceFlow id="f{n}" sourceRef="s{n}" targetRef="{target}"/>'
        for n, _ in enumerate(definitions)
    )
    rest = '<userTask id="u"/><sequenceFlow id="g" sourceRef="u" targetRef="e"/>' if waits else ""
    return (
        f'{HEAD}{ROOTS}<process id="p" isExecutable="true" xmlns:m="urn:mlkit:bpmn" {policy}>'
        f'{events}{rest}<endEvent id="e"/>{flows}</process></definitions>'
    ).encode()


def cron(line: str) -> str:
    return f"<timerEventDefinition><timeCycle>{line}</timeCycle></timerEventDefinition>"


def deploy_beside(here: Here, xml: bytes) -> None:
    """Deploy a second process, called q."""
    deploy(here.session, {"q.bpmn": xml.replace(b'id="p"', b'id="q"')}, "ann")


class Clock:
    """The time of day of all that is tested here."""

    def __init__(self) -> None:
        self.now = BEGIN

    def time(self) -> float:
        return self.now


class Here:
    """A state folder with a scheduler that looks when it is told to."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.session = Session(folder, create=True)
        self.starter = Starter(folder, self.session.settings, self.session.engines)
        self.scheduler = Scheduler(None, self.starter)  # type: ignore[arg-type]

    def deploy(self, xml: bytes) -> None:
        deploy(self.session, {"p.bpmn": xml}, "ann")

    def look(self, after: float = 0.0) -> int:
        """Let time pass and look; return how many instances have begun by it."""
        self.clock.now += after
        before = len(self.rows())
        self.session.write(self.scheduler.look)
        rows = self.rows()
        self.session.advance(rows[before:])
        return len(rows) - before

    def rows(self):
        return self.session.journal.rows()

    def finish(self, instance: str = "") -> None:
        """Complete all tasks that wait, or those of one instance."""
        service = Service(self.session)
        for task in service.tasks():
            if task.id.startswith(instance):
                service.complete(task.id, {}, "ann")


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    for module in (deployment, scheduling, schedules):
        monkeypatch.setattr(module.time, "time", made.time)
    return made


@pytest.fixture
def here(tmp_path, clock):
    made = Here(tmp_path / "state", clock)
    with made.session:
        yield made


def test_a_cycle_starts_at_its_times_and_at_no_other(here):
    here.deploy(process(HOURLY))
    assert [here.look(each) for each in (0, 3599, 1, 0, 1800, 1800)] == [0, 0, 1, 0, 0, 1]
    (row, _) = here.rows()
    trace = [hop.element for _, _, hops in here.session.journal.events(row) for hop in hops]
    assert trace == ["s0"]


def test_two_hosts_that_look_at_one_journal_start_each_time_once(here, tmp_path, clock):
    here.deploy(process(HOURLY))
    other = Here(tmp_path / "state", clock)
    with other.session:
        begun = [each.look(1800) for _ in range(10) for each in (here, other, other)]
    assert sum(begun) == 15


def test_a_stale_reading_of_a_schedule_starts_nothing(here):
    """Another host may have acted between the reading and the writing."""
    here.deploy(process(HOURLY))
    here.clock.now += 3600
    (stale,) = here.session.journal.schedules.due(here.clock.now)
    assert here.look() == 1
    here.session.write(
        lambda journal: scheduling.step(journal, here.starter, stale, here.clock.now)
    )
    assert len(here.rows()) == 1


@pytest.mark.parametrize(
    ("policy", "begun", "after_the_first_ended"),
    [("", [1, 1, 1], 0), ('m:overlap="skip"', [1, 0, 0], 0), ('m:overlap="queue"', [1, 0, 0], 1)],
)
def test_starts_that_overlap(here, policy, begun, after_the_first_ended):
    here.deploy(process(HOURLY, policy))
    assert [here.look(3600) for _ in range(3)] == begun
    here.finish()
    assert here.look(1) == after_the_first_ended
    if after_the_first_ended:
        assert schedules.schedules(here.session)[0].scheduled.queued == 1
        here.finish()
        assert here.look(1) == 1


@pytest.mark.parametrize(
    ("policy", "begun"), [("", 1), ('m:misfire="all"', 5), ('m:misfire="none"', 0)]
)
def test_times_that_passed_while_nobody_ran(here, policy, begun):
    here.deploy(process(HOURLY, policy))
    assert here.look(5 * 3600 + 1800) == begun
    assert here.look(1800) == 1


def test_a_new_version_keeps_the_times_that_it_does_not_change(here):
    here.deploy(process(HOURLY))
    here.clock.now += 1800
    here.deploy(process(HOURLY, waits=False))
    assert here.look(1800) == 1
    here.deploy(process(HOURLY.replace("PT1H", "PT2H")))
    assert [here.look(3600), here.look(3600)] == [0, 1]
    here.deploy(process("", waits=False))
    assert schedules.schedules(here.session) == []


def test_a_paused_schedule_starts_nothing_and_makes_nothing_up(here):
    here.deploy(process(HOURLY, 'm:misfire="all"'))
    assert schedules.pause(here.session, "p", True, "ann").scheduled.paused
    assert here.look(5 * 3600) == 0
    shown = schedules.pause(here.session, "p/s0", False, "ann")
    assert shown.upcoming[0] == BEGIN + 6 * 3600
    assert here.look(3600) == 1
    with pytest.raises(InputMissing, match="no schedule is called 'p/none'"):
        schedules.pause(here.session, "p/none", True, "ann")


def test_a_schedule_starts_now_beside_its_times(here):
    here.deploy(process(HOURLY))
    row = schedules.run(here.session, here.starter, "p", "ann")
    assert row.process == "p"
    assert here.look(3600) == 1
    assert len(here.rows()) == 2


@pytest.mark.parametrize("policy", ["", 'm:overlap="skip"'])
def test_an_instance_that_would_wait_for_what_the_schedule_waits_for_is_refused(here, policy):
    here.deploy(process(HOURLY, policy))
    with pytest.raises(UsageError, match="each of its start events waits"):
        here.session.write(lambda journal: here.starter.start(journal, deployment.Request("p")))
    assert here.rows() == []
    assert here.look(3600) == 1


def test_a_cron_line_whose_years_are_over_ends_and_stops_nothing_else(here):
    here.deploy(process(cron("0 0 6 18 3 ? 2030")))
    deploy_beside(here, process(HOURLY))
    (shown, _) = schedules.schedules(here.session)
    assert [instant(each) for each in shown.upcoming] == ["2030-03-18T06:00:00.000Z"]
    assert here.look(2 * 86400) == 2
    (shown, hourly) = schedules.schedules(here.session)
    assert (shown.upcoming, len(hourly.upcoming)) == ([], 5)


def test_times_of_a_schedule_that_was_paused_for_long_are_found_at_once(here, monkeypatch):
    counted = []
    after = StartTimer.after
    monkeypatch.setattr(StartTimer, "after", lambda *args: counted.append(1) or after(*args))
    here.deploy(process(HOURLY.replace("PT1H", "PT1S")))
    schedules.pause(here.session, "p", True, "ann")
    here.clock.now += 30 * 86400 + 0.5
    (shown,) = schedules.schedules(here.session)
    assert shown.upcoming == [BEGIN + 30 * 86400 + n for n in range(1, 6)]
    assert len(counted) < 10


def test_a_clock_that_was_years_ahead_is_forgotten_by_pause_and_resume(here):
    here.deploy(process(cron("0 6 * * *")))
    usual = schedules.schedules(here.session)[0].upcoming
    assert here.look(10 * 365 * 86400) == 1
    here.clock.now -= 10 * 365 * 86400
    schedules.pause(here.session, "p", True, "ann")
    assert schedules.pause(here.session, "p", False, "ann").upcoming == usual
    assert here.look(86400) == 1


def test_what_overlaps_is_judged_by_the_start_of_the_schedule_not_by_one_of_hand(here):
    here.deploy(process(HOURLY, 'm:overlap="skip"'))
    assert here.look(3600) == 1
    by_hand = schedules.run(here.session, here.starter, "p", "ann")
    here.session.advance([by_hand])
    here.finish(by_hand.id)
    assert here.look(3600) == 0
    here.finish()
    assert here.look(3600) == 1


def test_a_damaged_instance_stops_only_its_own_schedule(here):
    here.deploy(process(HOURLY, 'm:overlap="skip"'))
    deploy_beside(here, process(HOURLY))
    assert here.look(3600) == 2
    database = here.session.journal.schedules.database
    broken = "UPDATE instances SET phase = 'broken' WHERE process = 'p'"
    here.session.write(lambda journal: database.execute(broken))
    shown = {each.scheduled.timer.process: each for each in schedules.schedules(here.session)}
    assert shown["p"].instance is None
    assert shown["q"].instance is not None
    assert here.look(3600) == 1


def test_a_schedule_that_cannot_be_computed_does_not_stop_the_others(here, monkeypatch, caplog):
    """As where a host lacks a time zone that another one knows."""
    here.deploy(process(HOURLY))
    deploy_beside(here, process(HOURLY))
    after = StartTimer.after

    def refuse(timer, now):
        if timer.process == "p":
            raise BadData("'Mars/Olympus' is not a time zone")
        return after(timer, now)

    monkeypatch.setattr(StartTimer, "after", refuse)
    assert here.look(3600) == 1
    assert "p/s0: 'Mars/Olympus' is not a time zone" in caplog.text
    due = here.session.write(here.scheduler.look)
    assert due > here.clock.now, "what fails is not tried again without a pause"
    monkeypatch.undo()


def test_a_reading_from_before_a_start_of_hand_changes_nothing(here):
    """Else the instance of the other one would be forgotten."""
    here.deploy(process(HOURLY))
    stale = here.session.journal.schedules.require("p")
    schedules.run(here.session, here.starter, "p", "ann")
    assert not here.session.write(lambda journal: journal.schedules.update(stale, stale))


def test_messages_and_signals_start_what_is_deployed(here):
    starts = '<messageEventDefinition messageRef="M"/>|<signalEventDefinition signalRef="S"/>'
    here.deploy(process(starts))
    service = Service(here.session)
    service.message("order", "k1", {"a": 1}, 60.0)
    service.message("other", "k1", {}, 60.0)
    service.signal("go", {"b": 2})
    assert here.look() == 2
    assert here.look() == 0
    states = [here.session.state(each) for each in here.rows()]
    found = sorted((state.key, *state.scopes[1].variables.items()) for state in states)
    assert found == [("", ("b", 2)), ("k1", ("a", 1))]


def test_who_waits_for_a_message_comes_before_a_start(here):
    waits = '<messageEventDefinition messageRef="M"/>'
    here.deploy(process(waits))
    other = (
        process("")
        .replace(b'id="p"', b'id="q"')
        .replace(b'<userTask id="u"/>', b'<receiveTask id="u" messageRef="M"/>')
    )
    deploy(here.session, {"q.bpmn": other}, "ann")
    begun = here.session.write(
        lambda journal: here.starter.start(journal, deployment.Request("q", key="k"))
    )
    here.session.advance([begun])
    Service(here.session).message("order", "k", {}, 60.0)
    assert here.look() == 0
    assert here.session.journal.get(begun.number).status == "completed"
