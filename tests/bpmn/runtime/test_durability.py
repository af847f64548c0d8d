"""The journal: replay, kills, locks, inboxes, damage."""

from __future__ import annotations

import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bpmn.runtime.conftest import LEASE
from commands import Mlkit, run_mlkit

from mlkit.bpmn.engine.events import Complete
from mlkit.bpmn.journal import open_journal
from mlkit.bpmn.journal.records import Row
from mlkit.bpmn.runtime.clock import SimulatedClock
from mlkit.bpmn.runtime.documents import root_variables
from mlkit.bpmn.runtime.session import Session
from mlkit.errors import ConfigurationError, InputMissing, ServiceUnavailable

pytestmark = pytest.mark.usefixtures("back_end")
sqlite_only = pytest.mark.parametrize("back_end", ["sqlite"], indirect=True)

ROUNDS = 25
BODY = f"""<startEvent id="s"/><endEvent id="e"/><parallelGateway id="q"/>
<parallelGateway id="j"/><scriptTask id="a"><script>
import os, time
with open(os.path.join(execution.folder, "ran"), "a") as file:
    file.write(f"{{execution.key}} {{execution.attempt}}\\n")
time.sleep(0.01)
x = loopCounter
</script><multiInstanceLoopCharacteristics isSequential="true"
 camunda:outputCollection="xs" camunda:outputElement="${{x}}"><loopCardinality>{ROUNDS}
</loopCardinality></multiInstanceLoopCharacteristics></scriptTask>
<scriptTask id="b"><script>
time = __import__("time")
time.sleep(0.05)
y = 1
</script></scriptTask>"""
FLOWS = "s>q q>a q>b a>j b>j j>e"


def mlkit(*arguments, **options):
    return run_mlkit("bpmn", *arguments, **options)


class Victim:
    """A run that is killed again and again, and what must be true after each kill."""

    def __init__(self, path: Path, rng: random.Random, back_end) -> None:
        self.path = path
        self.back_end = back_end
        self.state = path.parent / "state"
        self.rng = rng
        self.ran = path.parent / "ran"
        self.done: list[tuple[str, str]] = []
        self.hits = 0

    def lines(self) -> list[str]:
        return self.ran.read_text().split("\n")[:-1] if self.ran.exists() else []

    def start(self) -> subprocess.Popen[bytes]:
        begun = self.look()[0] is not None
        command = ["resume"] if begun else ["run", str(self.path)]
        options = [*self.back_end.options(self.state), "--lease", str(LEASE)]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return Mlkit("bpmn", *command, *options, **silent)

    def look(self) -> tuple[Row | None, list[tuple[str, str]]]:
        """Return the instance, and the tasks that the journal says are completed."""
        try:
            journal = self.back_end.open(self.state)
        except InputMissing:
            return None, []
        try:
            row = next(iter(journal.rows()), None)
            while row is not None and journal.is_owned(row):
                self.back_end.end_leases(self.state)
            events = [] if row is None else list(journal.events(row))
        finally:
            journal.close()
        return row, [(step.element, step.iteration) for _, _, trace in events for step in trace]

    def kill(self) -> bool:
        """Start it and kill it at a random moment; return whether it has ended before."""
        before = len(self.lines())
        process = self.start()
        deadline = time.monotonic() + 180
        if self.rng.random() < 0.85:  # most often while it works, sometimes while it starts
            while len(self.lines()) == before and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.003)
            time.sleep(self.rng.uniform(0.0, 0.12))
        else:
            time.sleep(self.rng.uniform(0.0, 0.6))
        process.kill()
        process.wait()
        return self.check(before)

    def check(self, before: int) -> bool:
        row, done = self.look()
        # What was completed before stays the beginning of what is completed now,
        assert done[: len(self.done)] == self.done
        # and nothing of it has run again.
        again = {line.split()[0].split("/", 1)[1] for line in self.lines()[before:]}
        assert not again & {f"{element}/{iteration}" for element, iteration in self.done}
        self.hits += len(self.done) < len(done)
        self.done = done
        return row is not None and row.status == "completed"

    def finish(self) -> None:
        """Let it end, and look at all that it did."""
        before = len(self.lines())
        while not self.check(before):
            before = len(self.lines())
            assert self.start().wait() == 0
        # The order of sequential iterations, each once.
        assert [i for element, i in self.done if element == "a" and i] == [*map(str, range(ROUNDS))]
        assert [element for element, _ in self.done].count("b") == 1
        row, _ = self.look()
        keys = [line.split()[0] for line in self.lines()]
        assert set(keys) == {f"{row.id}/a/{n}" for n in range(ROUNDS)}
        assert len(keys) == len(set(self.lines())), "one attempt number was used twice"


def kill_often(folder: Path, xml: str, seed: int, kills: int, back_end) -> int:
    """Kill runs several times; return how many kills met a run that had got further."""
    rng, left, hits, number = random.Random(seed), kills, 0, 0
    while left:
        place = folder / f"{seed}-{number}"
        place.mkdir()
        (place / "p.bpmn").write_text(xml)
        victim = Victim(place / "p.bpmn", rng, back_end)
        ended = False
        while left and not ended:
            ended = victim.kill()
            left -= 1
        victim.finish()
        hits += victim.hits
        number += 1
    return hits


def test_kills_lose_and_repeat_no_completed_task(tmp_path, diagram, back_end):
    assert kill_often(tmp_path, diagram(BODY, FLOWS), 1, 3, back_end) > 0


@pytest.mark.slow
@sqlite_only
@pytest.mark.parametrize("kills", [35, pytest.param(105, marks=pytest.mark.nightly)])
def test_many_kills(tmp_path, diagram, back_end, kills):
    xml = diagram(BODY, FLOWS)
    with ThreadPoolExecutor(2) as threads:
        runs = threads.map(lambda seed: kill_often(tmp_path, xml, seed, kills, back_end), (2, 3))
        hits = sum(runs)
    assert hits > kills * 100 // 105


@sqlite_only
def test_scripts_die_with_their_engine(tmp_path, diagram):
    body = """<startEvent id="s"/><endEvent id="e"/><scriptTask id="w"><script>
import os, time
open(os.path.join(execution.folder, "pid"), "w").write(str(os.getpid()))
time.sleep(60)
</script></scriptTask>"""
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(body, "s>w w>e"))
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = Mlkit("bpmn", "run", path, "--state", tmp_path / "st", **silent)
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 180
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 180
    worker = int(pid.read_text())
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail("the worker outlived its engine")


def test_a_closed_and_opened_session_goes_on_from_the_same_state(tmp_path, diagram, as_json):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram('<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>', "s>u u>e"))
    with Session(tmp_path / "st", create=True) as session:
        row = session.begin(path, {"x": [1, {"y": None}]})
        session.advance([row])
        before = as_json(session.state(row))
    # Editing the file does not disturb what runs.
    path.write_text("<broken/>")
    with Session(tmp_path / "st") as session:
        row = session.journal.find(row.id)
        assert as_json(session.state(row)) == before
        task = session.tasks(row)[0]
        session.deliver(row, Complete(task.activation, {"z": 1}))
        assert session.advance([row])[0].status == "completed"


def test_snapshots_give_the_same_state_as_all_events(tmp_path, diagram, as_json, monkeypatch):
    monkeypatch.setattr("mlkit.bpmn.journal.sql.event_writer.SNAPSHOT_EVERY", 3)
    cycle = "<timerEventDefinition><timeCycle>R20/PT1H</timeCycle></timerEventDefinition>"
    body = f"""<startEvent id="s"/><userTask id="u"/><boundaryEvent id="b" attachedToRef="u"
    cancelActivity="false">{cycle}</boundaryEvent><endEvent id="e"/>"""
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(body, "s>u u>e b>e"))
    from mlkit.bpmn.runtime.session import Settings

    with Session(tmp_path / "st", Settings(clock=SimulatedClock(0.0)), create=True) as session:
        row = session.advance([session.begin(path, {})])[0]
        short = as_json(session.state(row))
        session.journal.database.execute("DELETE FROM snapshots")
        assert as_json(session.state(row)) == short
        assert row.sequence == 21


def test_two_processes_never_run_one_instance(tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram('<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>', "s>u u>e"))
    with Session(tmp_path / "st", create=True) as one, Session(tmp_path / "st") as two:
        row = one.advance([one.begin(path, {})])[0]
        owned = one.journal.own(row)
        assert two.advance([row]) == []
        one.journal.release([owned])
        # The epoch refuses whoever held the instance before.
        assert two.journal.own(row) is not None
        from mlkit.bpmn.journal.records import Changes

        with pytest.raises(ConfigurationError, match="took it over"), one.journal.transaction():
            one.journal.append(owned, owned.sequence, one.state(row), Changes())


@sqlite_only
def test_a_newer_journal_is_refused(tmp_path):
    journal = open_journal(tmp_path, create=True)
    journal.database.connection.execute("PRAGMA user_version = 99")
    journal.close()
    with pytest.raises(ConfigurationError, match="journal version 99"):
        open_journal(tmp_path)


@sqlite_only
def test_a_missing_and_a_foreign_journal_are_refused(tmp_path):
    with pytest.raises(InputMissing, match="no journal"):
        open_journal(tmp_path)
    (tmp_path / "journal.sqlite").write_bytes(b"no database, but long enough to look at" * 40)
    with pytest.raises(ConfigurationError, match=r"journal\.sqlite"):
        open_journal(tmp_path)


@sqlite_only
def test_a_journal_that_was_deleted_in_use_stops_the_run(tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram('<startEvent id="s"/><endEvent id="e"/>', "s>e"))
    with Session(tmp_path / "st", create=True) as session:
        row = session.begin(path, {})
        (tmp_path / "st" / "journal.sqlite").unlink()
        with pytest.raises(ServiceUnavailable, match="was deleted"):
            session.advance([row])


@sqlite_only
def test_journal_bytes_grow_linearly_with_steps(tmp_path, diagram, monkeypatch):
    monkeypatch.setattr("mlkit.bpmn.journal.sql.event_writer.SNAPSHOT_EVERY", 20)
    sizes = []
    for steps in (100, 200):
        body = f"""<startEvent id="s"/><endEvent id="e"/><scriptTask id="w"><script>x = "v" * 50
</script><multiInstanceLoopCharacteristics isSequential="true" camunda:outputCollection="xs"
 camunda:outputElement="${{x}}"><loopCardinality>{steps}</loopCardinality></multiInstanceLoopCharacteristics></scriptTask>"""
        path = tmp_path / f"{steps}.bpmn"
        path.write_text(diagram(body, "s>w w>e"))
        with Session(tmp_path / str(steps), create=True) as session:
            row = session.advance([session.begin(path, {})])[0]
            (size,) = session.journal.database.connection.execute(
                "SELECT (SELECT sum(length(event) + length(trace)) FROM events WHERE instance = ?1)"
                " + (SELECT sum(length(state)) FROM snapshots WHERE instance = ?1)",
                (row.number,),
            ).fetchone()
            sizes.append(size)
    assert sizes[1] < 2.2 * sizes[0]


@sqlite_only
def test_a_new_run_takes_a_script_file_as_it_is_now(tmp_path, diagram):
    script = tmp_path / "step.py"
    path = tmp_path / "a.bpmn"
    path.write_text(
        diagram(
            '<startEvent id="s"/><scriptTask id="t" camunda:resource="step.py"/><endEvent id="e"/>',
            "s>t t>e",
        )
    )
    for number in (1, 2):
        script.write_text(f"x = {number}")
        with Session(tmp_path / "state", create=True) as session:
            row = session.begin(path, {})
            session.advance([row])
            assert root_variables(session.state(session.journal.find(row.id))) == {"x": number}
