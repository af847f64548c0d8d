"""The journal: replay, kills, locks, inboxes, damage."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlkit.bpmn.events import Complete
from mlkit.bpmn.journal import Journal
from mlkit.bpmn.report import root_variables
from mlkit.bpmn.session import Session
from mlkit.bpmn.timers import SimulatedClock
from mlkit.errors import ConfigurationError, InputMissing, ServiceUnavailable

BODY = """<startEvent id="s"/><endEvent id="e"/><parallelGateway id="q"/><parallelGateway id="j"/>
<scriptTask id="a"><script>
import os, time
time.sleep(0.02)
with open(os.path.join(execution.folder, "ran"), "a") as file:
    file.write(f"{execution.key} {execution.attempt}\\n")
x = loopCounter
</script><multiInstanceLoopCharacteristics isSequential="true"
 camunda:outputCollection="xs" camunda:outputElement="${x}"><loopCardinality>6</loopCardinality>
</multiInstanceLoopCharacteristics></scriptTask>
<scriptTask id="b"><script>
time = __import__("time")
time.sleep(0.05)
y = 1
</script></scriptTask>
<userTask id="u"/>"""
FLOWS = "s>q q>a q>b a>j b>j j>e"


@pytest.fixture
def pipeline(tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(BODY.replace('<userTask id="u"/>', ""), FLOWS))
    return path


def mlkit(*arguments, **options):
    command = [sys.executable, "-m", "mlkit", "bpmn", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def kill_and_resume(path: Path, after: float) -> bool:
    """Kill a run so many seconds after its journal came to be; say whether it was half done."""
    state = path.parent / "state"
    command = [sys.executable, "-m", "mlkit", "bpmn", "run", path, "--state", state]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (state / "journal.sqlite").exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    journal = Journal(state)
    rows = journal.rows()
    done = [step for row in rows for _, _, trace in journal.events(row) for step in trace]
    journal.close()
    if not rows:
        return False
    mlkit("resume", "--state", state)
    journal = Journal(state)
    row = journal.rows()[0]
    after_kill = [step for _, _, trace in journal.events(row) for step in trace]
    journal.close()
    assert row.phase == "completed"
    # What was done before the kill stays the beginning of what was done at all.
    assert after_kill[: len(done)] == done
    iterations = [s.iteration for s in after_kill if s.element == "a" and s.iteration]
    assert iterations == list("012345")
    ran = (path.parent / "ran").read_text().split("\n")[:-1]
    keys = [line.split()[0] for line in ran]
    assert sorted(set(keys)) == [f"{row.id}/a/{n}" for n in range(6)]
    assert len(ran) == len(set(ran)), "one attempt number was used twice"
    return 0 < len(done) < len(after_kill)


def test_a_kill_loses_and_repeats_no_completed_task(pipeline):
    assert kill_and_resume(pipeline, 0.25) in (False, True)


@pytest.mark.slow
def test_many_kills(tmp_path, diagram):
    rng = random.Random(1)
    hits = 0
    for number in range(200):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "p.bpmn").write_text(diagram(BODY.replace('<userTask id="u"/>', ""), FLOWS))
        hits += kill_and_resume(folder / "p.bpmn", rng.uniform(0.0, 0.5))
    assert hits > 50


def test_scripts_die_with_their_engine(tmp_path, diagram):
    body = """<startEvent id="s"/><endEvent id="e"/><scriptTask id="w"><script>
import os, time
open(os.path.join(execution.folder, "pid"), "w").write(str(os.getpid()))
time.sleep(60)
</script></scriptTask>"""
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(body, "s>w w>e"))
    command = [sys.executable, "-m", "mlkit", "bpmn", "run", path, "--state", tmp_path / "st"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 30
    while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    worker = int(pid.read_text())
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[0]
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
        assert session.advance([row])[0].phase == "completed"


def test_snapshots_give_the_same_state_as_all_events(tmp_path, diagram, as_json, monkeypatch):
    monkeypatch.setattr("mlkit.bpmn.journal.SNAPSHOT_EVERY", 3)
    cycle = "<timerEventDefinition><timeCycle>R20/PT1H</timeCycle></timerEventDefinition>"
    body = f"""<startEvent id="s"/><userTask id="u"/><boundaryEvent id="b" attachedToRef="u"
    cancelActivity="false">{cycle}</boundaryEvent><endEvent id="e"/>"""
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(body, "s>u u>e b>e"))
    from mlkit.bpmn.session import Settings

    with Session(tmp_path / "st", Settings(clock=SimulatedClock(0.0)), create=True) as session:
        row = session.advance([session.begin(path, {})])[0]
        short = as_json(session.state(row))
        session.journal.connection.execute("DELETE FROM snapshots")
        assert as_json(session.state(row)) == short
        assert row.sequence == 21


def test_two_processes_never_run_one_instance(tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram('<startEvent id="s"/><userTask id="u"/><endEvent id="e"/>', "s>u u>e"))
    with Session(tmp_path / "st", create=True) as one, Session(tmp_path / "st") as two:
        row = one.advance([one.begin(path, {})])[0]
        owned, lock = one.journal.own(row)
        assert two.advance([row]) == []
        os.close(lock)
        # The epoch refuses whoever held the instance before, even without the file lock.
        assert two.journal.own(row) is not None
        from mlkit.bpmn.journal import Changes

        with pytest.raises(ConfigurationError, match="took it over"), one.journal.transaction():
            one.journal.append(owned, owned.sequence, one.state(row), Changes())


def test_a_newer_journal_is_refused(tmp_path):
    journal = Journal(tmp_path, create=True)
    journal.connection.execute("PRAGMA user_version = 99")
    journal.close()
    with pytest.raises(ConfigurationError, match="journal version 99"):
        Journal(tmp_path)


def test_a_missing_and_a_foreign_journal_are_refused(tmp_path):
    with pytest.raises(InputMissing, match="no journal"):
        Journal(tmp_path)
    (tmp_path / "journal.sqlite").write_bytes(b"no database, but long enough to look at" * 40)
    with pytest.raises(ConfigurationError, match=r"journal\.sqlite"):
        Journal(tmp_path)


def test_a_journal_that_was_deleted_in_use_stops_the_run(tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram('<startEvent id="s"/><endEvent id="e"/>', "s>e"))
    with Session(tmp_path / "st", create=True) as session:
        row = session.begin(path, {})
        (tmp_path / "st" / "journal.sqlite").unlink()
        with pytest.raises(ServiceUnavailable, match="was deleted"):
            session.advance([row])


def test_journal_bytes_grow_linearly_with_steps(tmp_path, diagram):
    sizes = []
    for steps in (100, 200):
        body = f"""<startEvent id="s"/><endEvent id="e"/><scriptTask id="w"><script>x = "v" * 50
</script><multiInstanceLoopCharacteristics isSequential="true"><loopCardinality>{steps}
</loopCardinality></multiInstanceLoopCharacteristics></scriptTask>"""
        path = tmp_path / f"{steps}.bpmn"
        path.write_text(diagram(body, "s>w w>e"))
        with Session(tmp_path / str(steps), create=True) as session:
            row = session.advance([session.begin(path, {})])[0]
            (size,) = session.journal.connection.execute(
                "SELECT sum(length(event) + length(trace)) FROM events WHERE instance = ?",
                (row.number,),
            ).fetchone()
            sizes.append(size)
    assert sizes[1] < 2.2 * sizes[0]


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
