"""Hosts with state folders of their own: what a task of one has stored, a task of another reads."""

from __future__ import annotations

import errno
import io
import itertools
import os
import threading
import time
from types import SimpleNamespace

import pytest

from mlkit.bpmn.people import attachments
from mlkit.bpmn.people.directory import Directory
from mlkit.bpmn.runtime import deployed_files, retention
from mlkit.bpmn.runtime.deployment import Request, Starter, deploy, files_of
from mlkit.bpmn.runtime.inspection import damage
from mlkit.bpmn.runtime.service import Service
from mlkit.bpmn.runtime.session import Session, Settings
from mlkit.bpmn.runtime.transfer import export, import_
from mlkit.bpmn.server.console.waits import sentence
from mlkit.errors import ConfigurationError, ServiceUnavailable, UsageError
from mlkit.storage.objects import open_objects

PIPELINE = (
    '<startEvent id="s"/><scriptTask id="make"><script>table = bytes([n]) * 100_000</script>'
    '</scriptTask><userTask id="u" mlkit:attach="table"/><scriptTask id="size">'
    "<script>size, first = len(table), table[0]</script></scriptTask>"
    '<endEvent id="e"/>'
)


@pytest.fixture(params=["file", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        return request.getfixturevalue("bucket") + "/pipelines"
    return (tmp_path / "shared").as_uri()


@pytest.fixture
def host(tmp_path, postgresql):
    """Return how to open the journal as a host does that has a state folder of its own."""

    def open_as(name, artifacts=None, journal=postgresql):
        return Session(tmp_path / name, Settings(1, journal=journal, artifacts=artifacts), True)

    return open_as


@pytest.fixture
def pipeline(tmp_path, diagram):
    path = tmp_path / "p.bpmn"
    path.write_text(diagram(PIPELINE, "s>make make>u u>size size>e"))
    return path


def begin(session, path, number=7):
    row = session.begin(path, {"n": number})
    session.advance([row])
    return row


def variables(session, row):
    return Service(session).show(row.id)["variables"]


def test_another_host_goes_on_with_what_one_has_stored(host, store, pipeline):
    with host("one", store) as session:
        row = begin(session, pipeline)
    with host("two") as session:  # The journal says where the values are.
        [task] = session.tasks(session.journal.get(row.number))
        [found] = attachments.documents(task, session.journal.folder, session.journal.artifacts)
        assert found.content == bytes([7]) * 100_000
        assert Service(session).complete(f"{row.id}/u", {}, "ann").status == "completed"
        shown = variables(session, row)
        assert (shown["size"], shown["first"]) == (100_000, 7)
        assert damage(session) == []


def test_a_script_is_not_begun_with_a_value_that_was_changed(host, store, pipeline):
    with host("one", store) as session:
        row = begin(session, pipeline)
        name = variables(session, row)["table"]["$artifact"]
    with host("two") as session:
        open_objects(store).put(name, io.BytesIO(b"another value"))
        assert Service(session).complete(f"{row.id}/u", {}, "ann").status == "incident"
        [problem] = damage(session)
        assert "is not what was stored: its hash differs" in problem


def test_what_nothing_names_any_more_goes_for_all_hosts(host, tmp_path, pipeline):
    store = (tmp_path / "shared").as_uri()
    with host("one", store) as session:
        old, kept = begin(session, pipeline, 1), begin(session, pipeline, 2)
        Service(session).complete(f"{old.id}/u", {}, "ann")
        names = [variables(session, each)["table"]["$artifact"] for each in (old, kept)]
    with host("two") as session:
        then = time.time() - 10 * 86400
        for name in names:
            session.journal.artifacts.fetch(name)
            for folder in ("shared", "one/artifacts", "two/artifacts"):
                os.utime(tmp_path / folder / name, (then, then))
        with session.journal.transaction():
            session.journal.database.execute(
                "UPDATE instances SET updated = ?, ended = ended - updated + ? WHERE number = ?",
                (then, then, old.number),
            )
        done = retention.prune(session, time.time() - 86400)
        assert (done.instances, done.artifacts) == (1, 1)
        assert [each.name for each in session.journal.artifacts.all()] == names[1:]
        assert [each.name for each in session.journal.artifacts.here()] == names[1:]
        assert Service(session).complete(f"{kept.id}/u", {}, "ann").status == "completed"


def test_a_journal_moves_with_the_values_of_its_store(host, store, tmp_path, pipeline):
    with host("one", store) as session:
        row = begin(session, pipeline)
    with host("two") as session:
        assert export(session, tmp_path / "journal.tar")["artifacts"] == 1
    with host("three", (tmp_path / "new store").as_uri(), journal=None) as session:
        assert import_(session, tmp_path / "journal.tar")["artifacts"] == 1
        assert [each.name for each in session.journal.artifacts.all()] == [
            variables(session, row)["table"]["$artifact"]
        ]
        assert Service(session).complete(f"{row.id}/u", {}, "ann").status == "completed"


def test_what_was_stored_before_there_was_a_store_is_published(host, tmp_path, pipeline):
    store = (tmp_path / "shared").as_uri()
    with host("one") as session:
        row = begin(session, pipeline)
    with host("one", store):
        pass
    with host("two") as session:
        assert Service(session).complete(f"{row.id}/u", {}, "ann").status == "completed"


def test_a_store_moves_once_it_is_copied(host, tmp_path, pipeline):
    old, new = tmp_path / "old", tmp_path / "new"
    with host("one", old.as_uri()) as session:
        row = begin(session, pipeline)
    with pytest.raises(ConfigurationError, match="not the artifact store of this journal"):
        host("one", new.as_uri())
    old.rename(new)
    with host("one", new.as_uri()):
        pass
    with host("two") as session:
        assert session.journal.artifacts.place == new.as_uri()
        assert Service(session).complete(f"{row.id}/u", {}, "ann").status == "completed"


def test_no_two_journals_share_a_store(host, tmp_path, pipeline):
    store = (tmp_path / "shared").as_uri()
    with host("one", store) as session:
        begin(session, pipeline)
    with pytest.raises(ConfigurationError, match="of another journal"):
        host("two", store, journal=None)
    with pytest.raises(UsageError):
        host("two", "ftp://somewhere", journal=None)


AWAY = ServiceUnavailable("the store is away")


class Away:
    """A place of objects that cannot be reached for the first few times."""

    def __init__(self, objects, times, error):
        self.objects, self.times, self.error = objects, times, error

    def __getattr__(self, name):
        if self.times:
            self.times -= 1
            raise self.error
        return getattr(self.objects, name)


@pytest.fixture
def away(monkeypatch):
    """Return how to let the store of a session be away for so many times."""
    monkeypatch.setattr("mlkit.bpmn.runtime.transfers._PAUSE", 0.01)

    def let(session, times, error=AWAY):
        store = session.journal.artifacts
        monkeypatch.setattr(store, "_shared", Away(store.shared, times, error))

    return let


def test_a_result_waits_for_a_store_that_is_away(host, store, pipeline, away, monkeypatch, caplog):
    minutes = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 30.0 * next(minutes))
    monkeypatch.setattr("mlkit.bpmn.runtime.transfers.time", clock)
    with host("one", store) as session:
        away(session, 30)  # However long: to give up would lose the result.
        row = begin(session, pipeline)
        assert session.journal.get(row.number).status == "waiting"
        assert len(list(session.journal.artifacts.all())) == 1
    with host("two") as session:
        away(session, 3)
        assert Service(session).complete(f"{row.id}/u", {}, "ann").status == "completed"
    said = [each for each in caplog.messages if "the store is away" in each]
    assert 2 <= len(said) <= 20  # Once a minute, not at each attempt.


@pytest.mark.parametrize("waits", ["result", "input"])
def test_an_instance_shows_that_a_task_waits_for_the_store(host, store, pipeline, away, waits):
    """Another host, whose store may be there, sees it."""
    with host("one", store) as session:
        row = session.begin(pipeline, {"n": 7}) if waits == "result" else begin(session, pipeline)

    def work():
        with host("two") as session:
            away(session, 1 << 30)
            opened.append(session.journal.artifacts)
            if waits == "result":
                session.advance([row])
            else:
                Service(session).complete(f"{row.id}/u", {}, "ann")

    opened = []
    working = threading.Thread(target=work)
    working.start()
    try:
        with host("three") as session:
            deadline = time.monotonic() + 120
            while not stalled(session, row):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            (found,) = stalled(session, row)
            assert found["element"] == ("make" if waits == "result" else "size")
            assert found["message"] == "the store is away"
            said = sentence(Service(session).show(row.id), Directory())
            assert said.startswith("It waits for the store of values and files, which is away: ")
            assert said.endswith(f"the store is away (at {found['element']}).")
    finally:
        for each in opened:
            each._shared.times = 0
        working.join()
    with host("three") as session:
        assert stalled(session, row) == []
        shown = Service(session).show(row.id)["state"]
        assert shown == ("waiting" if waits == "result" else "completed")


def stalled(session, row):
    """Return what of an instance waits for the store."""
    return [each for each in Service(session).show(row.id)["waiting"] if each["for"] == "store"]


def test_a_page_of_a_task_shows_what_it_can_while_the_store_is_away(host, store, pipeline, away):
    with host("one", store) as session:
        row = begin(session, pipeline)
    with host("two") as session:
        (task,) = Service(session).tasks()
        documents = (task, session.journal.folder, session.journal.artifacts)
        away(session, 2)
        (shown,) = attachments.documents(*documents, now=True)
        assert (shown.name, shown.content, shown.problem) == ("table", None, attachments.AWAY)
        with pytest.raises(ServiceUnavailable):  # A mail waits for them.
            attachments.documents(*documents)
        (shown,) = attachments.documents(*documents, now=True)
        assert (len(shown.content), shown.problem) == (100_000, "")
    assert row.id == task.instance


def test_a_result_is_not_committed_without_its_values(host, store, pipeline, away):
    with host("one", store) as session:
        away(session, 1, ConfigurationError("the store refuses"))
        row = begin(session, pipeline)
        assert session.journal.get(row.number).status == "incident"
        assert "table" not in variables(session, row)
        [incident] = Service(session).show(row.id)["incidents"]
        assert "the store refuses" in incident["message"]
        Service(session).retry(row.id, 0, "ann")
        assert session.journal.get(row.number).status == "waiting"
        assert "table" in variables(session, row)


CALLS = (
    '<startEvent id="s"/><userTask id="u"/><serviceTask id="c" camunda:class="own_module:double"/>'
    '<endEvent id="e"/>'
)


@pytest.mark.parametrize("how", ["another host", "another journal"])
def test_a_deployed_instance_finds_its_modules_in_another_state_folder(
    host, tmp_path, diagram, how
):
    (tmp_path / "p.bpmn").write_text(diagram(CALLS, "s>u u>c c>e"))
    (tmp_path / "own_module.py").write_text("def double(n):\n    return {'size': 2 * n}\n")
    with host("one") as session:
        deploy(session, files_of([tmp_path / "p.bpmn"]), "ann")
        (tmp_path / "own_module.py").unlink()
        starter = Starter(session.journal.folder, session.settings, session.engines)
        row = session.write(lambda journal: starter.start(journal, Request("p", None, {"n": 21})))
        session.advance([row])
        export(session, tmp_path / "journal.tar")
    (tmp_path / "one").rename(tmp_path / "gone")
    journal = {} if how == "another host" else {"journal": None}
    with host("two", **journal) as session:
        if how == "another journal":
            import_(session, tmp_path / "journal.tar")
        assert Service(session).complete(f"{row.id}/u", {}, "ann").status == "completed"
        assert variables(session, row)["size"] == 42


def test_modules_that_could_not_be_written_are_written_for_the_next_attempt(
    host, tmp_path, diagram, caplog, monkeypatch
):
    (tmp_path / "p.bpmn").write_text(diagram(CALLS, "s>u u>c c>e"))
    (tmp_path / "own_module.py").write_text("def double(n):\n    return {'size': 2 * n}\n")
    with host("one") as session:
        deploy(session, files_of([tmp_path / "p.bpmn"]), "ann")
        starter = Starter(session.journal.folder, session.settings, session.engines)
        row = session.write(lambda journal: starter.start(journal, Request("p", None, {"n": 21})))
        session.advance([row])
    (tmp_path / "own_module.py").unlink()
    (tmp_path / "one").rename(tmp_path / "gone")
    with host("two") as session:
        service = Service(session)
        with monkeypatch.context() as patch:
            patch.setattr(deployed_files, "replacing_folder", refuse)
            assert service.complete(f"{row.id}/u", {}, "ann").status == "incident"
        assert "are missing: [Errno 28] No space left on device" in caplog.text
        assert service.retry(row.id, 0, "ann").status == "completed"
        assert variables(session, row)["size"] == 42


def refuse(folder):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
