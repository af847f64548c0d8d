"""What ended long ago goes; what is kept keeps all that it was made from."""

from __future__ import annotations

import errno
import json
import os
import time

import pytest

from mlkit.bpmn.runtime.retention import AT_ONCE, RetentionThread, prune
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.errors import InputMissing
from mlkit.workers.child.artifacts import Artifacts

DAY = 86_400.0
PATIENCE = 180.0
ENDS = '<startEvent id="s"/><endEvent id="e"/>'


@pytest.fixture
def session(back_end, tmp_path):
    with Session(tmp_path / "state", create=True) as session:
        yield session


@pytest.fixture
def run(session, tmp_path, diagram):
    """Run an instance that stores a value, made of a number, and ends or waits for a person."""

    def run(number, waits=False, key=""):
        path = tmp_path / f"p{int(waits)}.bpmn"
        last = "userTask" if waits else "task"
        path.write_text(
            diagram(
                f'{ENDS}<scriptTask id="a"><script>table = bytes([n]) * 1000\n'
                "open('note.txt', 'w').write('x')</script></scriptTask>"
                '<scriptTask id="b"><script>total = table * 2\ndel table'
                f'</script></scriptTask><{last} id="u"/>',
                "s>a a>b b>u u>e",
            )
        )
        row = session.begin(path, {"n": number}, key)
        session.advance([row])
        return row

    return run


def age(session, days, *rows):
    """Let instances have ended so long ago, and stored values be as old."""
    then = time.time() - days * DAY
    with session.journal.transaction():
        for row in rows:
            session.journal.database.execute(
                "UPDATE instances SET updated = ?, ended = ended - updated + ? WHERE number = ?",
                (then, then, row.number),
            )
    for path in (session.journal.folder / "artifacts").iterdir():
        os.utime(path, (then, then))


def stored(session):
    return {each.name for each in (session.journal.folder / "artifacts").iterdir()}


def test_what_ended_long_ago_goes(session, run):
    old, new = run(1), run(2)
    waits = run(3, waits=True)
    service = Service(session)
    kept = {each["artifact"] for row in (new, waits) for each in _artifacts(session, row)}
    age(session, 100, old, waits)
    done = prune(session, time.time() - 90 * DAY)
    assert (done.instances, done.artifacts, done.definitions) == (1, 2, 0)
    assert done.bytes > 0
    assert stored(session) == kept
    assert [each.id for each in session.journal.rows()] == [new.id, waits.id]
    with pytest.raises(InputMissing):
        service.show(old.id)
    work = session.journal.folder / "work"
    assert {each.name for each in work.iterdir()} == {new.id, waits.id}
    # What waits goes on, with all that it needs; who did what stays.
    assert service.complete(f"{waits.id}/u", {}, "ann").status == "completed"
    assert session.journal.audit.entries(old.id, None, 10)
    assert prune(session, time.time() - 90 * DAY) == (0, 0, 0, 0, 0)


def _artifacts(session, row):
    from mlkit.bpmn.runtime import documents

    return documents.artifacts(session.journal, row)


def test_a_value_stays_that_something_kept_was_made_from(session, run):
    old = run(1)
    table, total = (each["artifact"] for each in _artifacts(session, old))
    service = Service(session)
    reference = service.show(old.id)["variables"]["total"]
    assert reference["from"] == [table]
    session.write(lambda journal: journal.stores.set("best", reference))
    age(session, 100, old)
    assert prune(session, time.time() - 90 * DAY)[:1] == (1,)
    assert stored(session) == {table, total}
    service.store("best", None)
    assert prune(session, time.time() - 90 * DAY).artifacts == 2


@pytest.mark.parametrize("where", ["artifacts", "shared"])
def test_what_writers_left_that_were_killed_goes(tmp_path, where):
    shared = (tmp_path / "shared").as_uri()
    with Session(tmp_path / "state", Settings(1, artifacts=shared), create=True) as session:
        folder = tmp_path / "shared" if where == "shared" else tmp_path / "state" / where
        folder.mkdir(exist_ok=True)
        left = ["tmpab_12xyz", f".{'0' * 50}.k3j_x9ab.part"]
        others = ["tmp", "notes.part", "tmpab_12xyzz"]
        for name in (*left, *others):
            (folder / name).write_bytes(b"12345")
            os.utime(folder / name, (time.time() - 7200,) * 2)
        (folder / "tmpstillopn").write_bytes(b"12345")
        done = prune(session, time.time() - 90 * DAY)
    assert (done.artifacts, done.bytes) == (2, 10)
    assert {each.name for each in folder.iterdir()} >= {*others, "tmpstillopn"}
    assert not {each.name for each in folder.iterdir()} & set(left)


def test_a_value_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path, monkeypatch):
    def refuse(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"):
        Artifacts(str(tmp_path)).store(b"x" * 1000)
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_was_stored_again_stays(session, run):
    old = run(1)
    age(session, 100, old)
    before = stored(session)
    path = session.journal.folder / "artifacts" / min(before)
    os.utime(path)  # As a task does that is about to complete.
    prune(session, time.time() - 90 * DAY)
    assert stored(session) == {path.name}


def test_a_definition_goes_with_the_last_of_its_instances(session, run):
    rows = [run(1), run(2)]
    age(session, 100, rows[0])
    assert prune(session, time.time() - 90 * DAY).definitions == 0
    age(session, 100, rows[1])
    assert prune(session, time.time() - 90 * DAY).definitions == 1


def test_many_go_in_small_steps(session, tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(ENDS, "s>e"))
    rows = [session.begin(path, {}) for _ in range(AT_ONCE + 3)]
    session.advance(rows)
    (session.journal.folder / "artifacts").mkdir(exist_ok=True)
    age(session, 2, *rows)
    steps = []
    stopped = prune(session, time.time() - DAY, lambda: len(steps) > 0 or steps.append(1))
    assert stopped.instances == AT_ONCE
    assert prune(session, time.time() - DAY).instances == 3
    assert session.journal.rows() == []


def test_a_server_prunes_by_itself(session, run):
    old = run(1)
    age(session, 2, old)

    def call(work):
        with Session(session.journal.folder) as own:
            return work(own)

    thread = RetentionThread(call, DAY)
    thread.start()
    deadline = time.monotonic() + PATIENCE
    while stored(session):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    thread.stop()
    assert session.journal.rows() == []


def test_the_command(mlkit, tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(ENDS, "s>e"))
    with Session(tmp_path / "state", create=True) as session:
        session.advance([session.begin(path, {})])
    where = ("--state", "state")
    assert mlkit("bpmn", "prune", "--older-than", "soon", *where).returncode == 2
    done = mlkit("bpmn", "prune", "--older-than", "0s", "--dry-run", "--json", *where)
    assert json.loads(done.stdout)["instances"] == 1
    done = mlkit("bpmn", "prune", "--older-than", "0s", *where)
    assert done.stdout.splitlines()[0] == "1 instance removed"
